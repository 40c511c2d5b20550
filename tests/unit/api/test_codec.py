"""JSON ↔ classes: names, omissions, exactness, and errors that name the field."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from gastown_operator.api.agentconfig import Agent, AgentConfig, ModelProvider, Provider
from gastown_operator.api.codec import ProjectionError, format_duration, from_json, parse_duration, to_json
from gastown_operator.api.common import Condition, ConditionStatus, OutcomeClass, Usage
from gastown_operator.api.fields import camel_case
from gastown_operator.api.kinds import KINDS
from gastown_operator.api.polecat import (
    POLECAT,
    Attempt,
    DesiredState,
    PolecatPhase,
    PolecatSpec,
    PolecatStatus,
)
from gastown_operator.api.rig import RIG, RigSpec
from gastown_operator.runtime.objects import MalformedObjectError

METADATA = {"name": "furiosa", "namespace": "work", "uid": "u", "resourceVersion": "7", "generation": 2}

seconds = st.integers(0, 2**32).map(lambda number: datetime.fromtimestamp(number, UTC))
conditions = st.builds(
    Condition,
    type=st.text(max_size=5),
    status=st.sampled_from(ConditionStatus),
    reason=st.text(max_size=5),
    message=st.text(max_size=5),
    last_transition_time=seconds,
    observed_generation=st.none() | st.integers(0, 9),
)
statuses = st.builds(
    PolecatStatus,
    phase=st.sampled_from(PolecatPhase),
    branch=st.text(max_size=5),
    pod_active=st.booleans(),
    agent=st.none() | st.sampled_from(Agent),
    session_active=st.none() | st.booleans(),
    last_activity=st.none() | seconds,
    attempt=st.none() | st.integers(0, 9),
    attempts=st.lists(
        st.builds(
            Attempt, pod_uid=st.text(max_size=5), outcome=st.sampled_from(OutcomeClass), started_at=seconds
        ),
        max_size=3,
    ).map(tuple),
    usage=st.none()
    | st.builds(Usage, cost_usd=st.decimals(0, 999, places=6), input_tokens=st.integers(0, 9)),
    conditions=st.lists(conditions, max_size=3).map(tuple),
)


@given(statuses)
def test_a_status_comes_back_from_the_api_as_it_was_written(status: PolecatStatus) -> None:
    stored = orjson.loads(orjson.dumps(to_json(status)))
    assert from_json(PolecatStatus, stored) == status
    assert to_json(from_json(PolecatStatus, stored)) == stored


def test_what_is_unset_is_not_written() -> None:
    assert to_json(PolecatStatus()) == {"phase": "Idle", "podActive": False}


def test_names_follow_kubernetes_conventions() -> None:
    status = PolecatStatus(
        usage=Usage(input_tokens=1, cost_usd=Decimal("0.10")),
        started_at=datetime(2026, 11, 24, 1, 2, 3, 999, tzinfo=UTC),
        attempts=(Attempt(pod_uid="u", number=3, outcome=OutcomeClass.STALLED),),
    )
    written = to_json(status)
    assert written["usage"] == {"inputTokens": 1, "outputTokens": 0, "costUSD": "0.10"}
    assert written["startedAt"] == "2026-11-24T01:02:03Z"
    assert written["attempts"] == [{"podUID": "u", "number": 3, "class": "Stalled"}]
    assert camel_case("beads_convoy_id") == "beadsConvoyID"


def test_a_minimal_polecat_is_read_with_the_defaults_of_the_schema() -> None:
    polecat = POLECAT.project({"metadata": METADATA, "spec": {"rig": "citadel"}})
    assert polecat.metadata.generation == 2
    assert polecat.spec == PolecatSpec(rig="citadel", desired_state=DesiredState.IDLE)
    assert polecat.status.phase is PolecatPhase.IDLE


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.resource))
def test_an_object_without_spec_and_status_can_be_read(kind: Any) -> None:
    assert kind.resource.project({"metadata": METADATA}).metadata.name == "furiosa"


def test_fields_that_we_do_not_know_are_ignored() -> None:
    raw = {"metadata": METADATA, "spec": {"rig": "r", "newer": {"a": 1}}, "more": 1}
    assert POLECAT.project(raw).spec.rig == "r"


def test_quantities_and_amounts_may_be_integers_or_strings() -> None:
    spec = from_json(
        PolecatSpec,
        {"rig": "r", "resources": {"limits": {"cpu": 2, "memory": "1Gi"}}, "budget": {"maxCostUSD": 5}},
    )
    assert dict(spec.resources.limits) == {"cpu": "2", "memory": "1Gi"}
    assert spec.budget.max_cost_usd == Decimal(5)


def test_types_of_kubernetes_are_passed_on_unread() -> None:
    affinity = {"nodeAffinity": {"x": [1, {"y": None}]}}
    spec = from_json(PolecatSpec, {"rig": "r", "kubernetes": {"affinity": affinity}})
    assert spec.kubernetes.affinity == affinity
    assert to_json(spec)["kubernetes"] == {"affinity": affinity}


def test_the_providers_default_of_the_older_operator_counts_as_unset() -> None:
    stored = AgentConfig(provider=Provider.LITELLM)
    assert stored.chosen_provider is None
    chosen = evolve(stored, model_provider=ModelProvider(endpoint="https://llm.example/v1"))
    assert chosen.chosen_provider is Provider.LITELLM
    assert AgentConfig(provider=Provider.OLLAMA).chosen_provider is Provider.OLLAMA


@pytest.mark.parametrize(
    ("part", "path", "problem"),
    [
        ({"status": {"phase": "Zombie"}}, "status.phase", "is 'Zombie', not one of Idle, Working"),
        ({"status": {"phase": ["Idle"]}}, "status.phase", "is ['Idle'], not one of"),
        ({"spec": {"rig": 5}}, "spec.rig", "is an integer, not a string"),
        ({"spec": {"rig": None}}, "spec.rig", "is null, not a string"),
        ({"spec": []}, "spec", "is a list, not an object"),
        ({"spec": {"allowNoChanges": "false"}}, "spec.allowNoChanges", "is a string, not a boolean"),
        ({"spec": {"maxIdleSeconds": True}}, "spec.maxIdleSeconds", "is a boolean, not an integer"),
        ({"spec": {"budget": {"maxCostUSD": 2.5}}}, "spec.budget.maxCostUSD", "is a number, not a decimal"),
        ({"spec": {"budget": {"maxCostUSD": "much"}}}, "spec.budget.maxCostUSD", "not a decimal number"),
        (
            {"spec": {"agentConfig": {"env": [{"name": "A"}, {"value": "1"}]}}},
            "spec.agentConfig.env[1].name",
            "required",
        ),
        (
            {"spec": {"agentConfig": {"args": ["a", 1]}}},
            "spec.agentConfig.args[1]",
            "is an integer, not a string",
        ),
        (
            {"spec": {"resources": {"limits": {"cpu": []}}}},
            "spec.resources.limits",
            "is a list, not a quantity",
        ),
        ({"status": {"startedAt": "yesterday"}}, "status.startedAt", "yesterday"),
        (
            {"status": {"attempts": [{"podUID": "u", "class": "?"}]}},
            "status.attempts[0].class",
            "is '?', not one of",
        ),
    ],
)
def test_an_object_that_does_not_fit_is_named_with_its_field(
    part: dict[str, Any], path: str, problem: str
) -> None:
    with pytest.raises(ProjectionError) as caught:
        POLECAT.project({"metadata": METADATA, "spec": {"rig": "r"}} | part)
    error = caught.value
    assert (error.kind, error.namespace, error.name) == ("Polecat", "work", "furiosa")
    assert error.path.startswith(path)
    assert problem in error.problem
    assert str(error).startswith("Polecat work/furiosa: ")


def test_an_object_without_metadata_does_not_fit_either() -> None:
    with pytest.raises(ProjectionError, match="metadata"):
        RIG.project({"spec": {}})


def test_a_part_that_does_not_fit_names_its_field() -> None:
    with pytest.raises(MalformedObjectError, match=r"^checkpoint\.interval: 'soon' is not a duration"):
        from_json(RigSpec, {"checkpoint": {"interval": "soon"}})


@given(st.integers(0, 9999 * 3600))
def test_durations_come_back_as_they_were_written(number: int) -> None:
    duration = timedelta(seconds=number)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize("text", ["", "5", "1d", "-1s", "1s1m", "1.5h", " 1s"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)
