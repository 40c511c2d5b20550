"""What the API server accepts, refuses, fills in and shows under our CRDs."""

import subprocess
from decimal import Decimal
from typing import Any

import pytest
from attrs import fields_dict

from gastown_operator.api.beadstore import BEAD_STORE
from gastown_operator.api.codec import to_json
from gastown_operator.api.common import Condition, ConditionStatus
from gastown_operator.api.conditions import set_condition
from gastown_operator.api.convoy import CONVOY
from gastown_operator.api.crd import definition
from gastown_operator.api.kinds import KINDS, Kind
from gastown_operator.api.polecat import POLECAT, PolecatPhase, PolecatStatus
from gastown_operator.api.refinery import REFINERY
from gastown_operator.api.rig import RIG
from gastown_operator.api.rig_status import MAX_COUNTED, DayBudget, DaySpending, RigStatus
from gastown_operator.api.schema import Schema
from gastown_operator.api.validation import polecat_problems
from gastown_operator.api.witness import WITNESS
from gastown_operator.runtime.objects import Resource, parse_time
from tests.apiserver.client import JSON, TABLE, Client, path_of
from tests.apiserver.schemas import at, ours, root

pytestmark = pytest.mark.usefixtures("crds")

HOSTILE_BEAD = "gt-1; $(rm -rf /) `id` && 'x' \"y\" \\ | > /dev/null # …"
LONG = "a" * 10_000
NOWHERE = "default"
"""The namespace of dry runs, which leave nothing there."""
T0 = parse_time("2026-11-24T01:02:03Z")

RIG_SPEC: JSON = {"gitURL": "git@github.com:org/repo.git", "beadsPrefix": "gt"}
OLDER_MINIMA: list[tuple[Resource[Any], JSON, JSON]] = [
    (
        RIG,
        {**RIG_SPEC, "localPath": "/town/rig"},
        {"workNamespace": "gastown-workers", "refPrefix": "refs/gastown"},
    ),
    (POLECAT, {"rig": "citadel", "desiredState": "Idle"}, {}),
    (CONVOY, {"description": "batch", "trackedBeads": ["gt-1"]}, {"parallelism": 0}),
    (
        WITNESS,
        {"rigRef": "citadel"},
        {"healthCheckInterval": "30s", "stuckThreshold": "15m", "escalationTarget": "mayor"},
    ),
    (REFINERY, {"rigRef": "citadel"}, {"targetBranch": "main", "parallelism": 1}),
    (BEAD_STORE, {"rigRef": "citadel", "prefix": "gt-"}, {"syncInterval": "5m"}),
]


def manifest(resource: Resource[Any], namespace: str, spec: JSON, name: str = "furiosa") -> JSON:
    """An object of the test's own: cluster-scoped ones are told apart by their names."""
    if resource.namespaced:
        return {"metadata": {"namespace": namespace, "name": name}, "spec": spec}
    return {"metadata": {"name": f"{name}-{namespace}"}, "spec": spec}


def polecat(namespace: str, **spec: Any) -> JSON:
    return manifest(POLECAT, namespace, {"rig": "citadel"} | spec)


@pytest.mark.parametrize(
    ("resource", "spec", "defaults"), OLDER_MINIMA, ids=lambda value: getattr(value, "plural", "")
)
def test_minimal_objects_of_the_older_api_are_accepted_and_filled_in(
    client: Client, resource: Resource[Any], spec: JSON, defaults: JSON
) -> None:
    stored = client.create(resource, manifest(resource, NOWHERE, spec), dry_run=True).object()
    assert stored["spec"] == spec | defaults
    assert resource.project(stored).metadata.generation == 1


def test_what_a_rig_can_say_has_no_default_in_a_polecat(client: Client) -> None:
    spec: JSON = {"kubernetes": {}, "agentConfig": {}, "retry": {}, "budget": {}}
    stored = client.create(POLECAT, polecat(NOWHERE, **spec), dry_run=True).object()
    assert stored["spec"] == {"rig": "citadel", "desiredState": "Idle"} | spec


def test_defaults_of_a_rig_appear_in_the_blocks_that_it_has(client: Client) -> None:
    blocks: JSON = {"settings": {}, "town": {}, "defaults": {}, "checkpoint": {}, "provision": {}}
    stored = client.create(RIG, manifest(RIG, NOWHERE, RIG_SPEC | blocks), dry_run=True).object()
    assert {block: stored["spec"][block] for block in blocks} == {
        "settings": {"maxPolecats": 8},
        "town": {"mode": "None"},
        "defaults": {
            "gitSecretRef": {"name": "git-credentials"},
            "providerSecretRef": {"name": "claude-credentials", "key": "api-key"},
        },
        "checkpoint": {"interval": "2m"},
        "provision": {"witness": True, "refinery": True},
    }


@pytest.mark.parametrize(
    "spec",
    [
        {"beadID": HOSTILE_BEAD},
        {"taskDescription": LONG},
        {"executionMode": "local", "agent": "custom"},
        {"kubernetes": {"sshStrictHostKeyChecking": "accept-new"}},
        {"kubernetes": {"gitRepository": "ssh://git@git.lab:2222/srv/r.git"}},
        {
            "kubernetes": {
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
                "affinity": {"nodeAffinity": {"a": [1]}},
            }
        },
        {"kubernetes": {"workspace": {"size": "10Gi"}, "podLabels": {"team": "a"}}},
        {"budget": {"maxTokens": 100_000, "maxCostUSD": 5}},
        {"budget": {"maxCostUSD": "2.50"}},
        {"retry": {"maxAttempts": 5, "classes": ["AgentError", "Stalled"]}},
        {
            "dependsOn": ["nux", "slit"],
            "priority": -5,
            "allowNoChanges": True,
            "gateway": "Disabled",
            "convoy": "war",
        },
        {
            "agentConfig": {
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "newer": 1}}}]
            }
        },
        {"resources": {"limits": {"cpu": 2, "memory": "4Gi"}, "claims": [{"name": "gpu"}]}},
    ],
    ids=str,
)
def test_a_good_polecat_comes_back_exactly_as_it_was_written(
    client: Client, namespace: str, spec: JSON
) -> None:
    stored = client.create(POLECAT, polecat(namespace, **spec)).object()
    again = client.get(POLECAT, stored)
    assert again["spec"] == {"rig": "citadel", "desiredState": "Idle"} | spec
    assert polecat_problems(POLECAT.project(again)) == ()


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"desiredState": "Sleeping"}, "spec.desiredState", "Unsupported value"),
        ({"executionMode": "vm"}, "spec.executionMode", "Unsupported value"),
        ({"agent": "cursor"}, "spec.agent", "Unsupported value"),
        ({"agentConfig": {"provider": "bedrock"}}, "spec.agentConfig.provider", "Unsupported value"),
        ({"gateway": "Sometimes"}, "spec.gateway", "Unsupported value"),
        ({"retry": {"classes": ["Infrastructure"]}}, "spec.retry.classes[0]", "Unsupported value"),
        ({"retry": {"classes": ["Stalled", "Stalled"]}}, "spec.retry.classes[1]", "Duplicate value"),
        ({"retry": {"maxAttempts": 0}}, "spec.retry.maxAttempts", "greater than or equal to 1"),
        ({"priority": 1001}, "spec.priority", "less than or equal to 1000"),
        ({"budget": {"maxCostUSD": -1}}, "spec.budget.maxCostUSD", "must not be negative"),
        ({"budget": {"maxCostUSD": "-1"}}, "spec.budget.maxCostUSD", "should match"),
        ({"budget": {"maxCostUSD": "5 dollars"}}, "spec.budget.maxCostUSD", "with quotes around a decimal"),
        ({"budget": {"maxCostUSD": 2.5}}, "spec.budget.maxCostUSD", "integer,string"),
        ({"dependsOn": ["furiosa"]}, "", "cannot depend on itself"),
        ({"dependsOn": ["Not A Name"]}, "spec.dependsOn[0]", "should match"),
        ({"dependsOn": [f"p{n}" for n in range(33)]}, "spec.dependsOn", "at most 32"),
        ({"kubernetes": {"gitBranch": "a b"}}, "spec.kubernetes.gitBranch", "should match"),
        ({"kubernetes": {"gitRepository": "ext::sh -c id"}}, "spec.kubernetes.gitRepository", "should match"),
        ({"kubernetes": {"gitRepository": "file:///etc"}}, "spec.kubernetes.gitRepository", "should match"),
        ({"kubernetes": {"gitRepository": "-x"}}, "spec.kubernetes.gitRepository", "should match"),
        (
            {"kubernetes": {"podLabels": {"gastown.io/rig": "x"}}},
            "spec.kubernetes.podLabels",
            "are the operator's",
        ),
        ({"kubernetes": {"podLabels": {"a": "not a value"}}}, "spec.kubernetes.podLabels.a", "should match"),
        (
            {"kubernetes": {"podAnnotations": {"app.kubernetes.io/name": "x"}}},
            "spec.kubernetes.podAnnotations",
            "are the operator's",
        ),
        ({"kubernetes": {"workspace": {"size": "much"}}}, "spec.kubernetes.workspace.size", "should match"),
        ({"kubernetes": {"gitSecretRef": {}}}, "spec.kubernetes.gitSecretRef.name", "Required value"),
        ({"rig": None}, "spec.rig", "Required value"),
    ],
    ids=str,
)
def test_a_bad_polecat_is_refused_with_the_field_named(
    client: Client, spec: JSON, field: str, message: str
) -> None:
    answer = client.create(POLECAT, polecat(NOWHERE, **spec), dry_run=True)
    assert answer.status == 422
    assert [cause for cause in answer.causes if cause[0].startswith(field) and message in cause[1]], (
        answer.causes
    )


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"settings": {"maxPolecats": 0}}, "spec.settings.maxPolecats", "greater than or equal to 1"),
        ({"settings": {"maxPolecats": 101}}, "spec.settings.maxPolecats", "less than or equal to 100"),
        ({"beadsPrefix": "GT"}, "spec.beadsPrefix", "should match"),
        ({"workNamespace": "Not.A.Namespace"}, "spec.workNamespace", "should match"),
        ({"town": {"mode": "Tmux"}}, "spec.town.mode", "Unsupported value"),
        ({"town": {"mode": "Webhook"}}, "spec.town", "needs webhook.url"),
        ({"policy": {"allow": ["Everything"]}}, "spec.policy.allow[0]", "Unsupported value"),
        ({"checkpoint": {"interval": "5s"}}, "spec.checkpoint.interval", "at least 10s"),
        ({"checkpoint": {"interval": "soon"}}, "spec.checkpoint.interval", "should match"),
        ({"refPrefix": "refs/heads/gastown"}, "spec.refPrefix", "must not be where git"),
        ({"refPrefix": "heads"}, "spec.refPrefix", "should match"),
        ({"refPrefix": "refs/-x"}, "spec.refPrefix", "should match"),
        (
            {"defaults": {"kubernetes": {"gitBranch": "-x"}}},
            "spec.defaults.kubernetes",
            "branch name that git allows",
        ),
        (
            {"providers": [{"name": "a", "endpoint": "file:///etc"}]},
            "spec.providers[0].endpoint",
            "should match",
        ),
        (
            {"providers": [{"name": "a", "endpoint": "https://a"}, {"name": "a", "endpoint": "https://b"}]},
            "spec.providers[1]",
            "Duplicate value",
        ),
        ({"allowedNamespaces": ["a", "a"]}, "spec.allowedNamespaces[1]", "Duplicate value"),
    ],
    ids=str,
)
def test_a_bad_rig_is_refused_with_the_field_named(
    client: Client, spec: JSON, field: str, message: str
) -> None:
    answer = client.create(RIG, manifest(RIG, NOWHERE, RIG_SPEC | spec), dry_run=True)
    assert answer.status == 422
    assert [cause for cause in answer.causes if cause[0].startswith(field) and message in cause[1]], (
        answer.causes
    )


def strings_of_ours() -> list[Any]:
    """Every string in the specs that the older operator did not have; enumerations and times aside."""
    found = []
    for kind in KINDS:
        spec = root(definition(kind))["properties"]["spec"]
        for path, schema in ours(fields_dict(kind.model)["spec"].type, spec, "spec"):
            text = schema.get("type") == "string" or schema.get("x-kubernetes-int-or-string")
            if text and not {"enum"} & schema.keys():
                found.append(pytest.param(kind, path, id=f"{kind.resource.kind}.{path}"))
    return found


@pytest.mark.parametrize(("kind", "path"), strings_of_ours())
def test_ten_thousand_characters_are_too_long_for_a_field_of_ours(
    client: Client, kind: Kind, path: str
) -> None:
    answer = client.create(
        kind.resource, manifest(kind.resource, NOWHERE, at(path, LONG)["spec"]), dry_run=True
    )
    concrete = path.replace("[]", "[0]").replace("{}", ".key")
    too_long = [field for field, message in answer.causes if "Too long" in message]
    assert answer.status == 422
    assert concrete in too_long, answer.causes


def test_a_branch_that_begins_with_a_dash_is_stored_and_refused_by_a_condition(
    client: Client, namespace: str
) -> None:
    """The older schema allowed it, so it may be stored already; the controllers put the problem into a condition."""
    stored = client.create(POLECAT, polecat(namespace, kubernetes={"gitBranch": "--upload"})).object()
    (problem,) = polecat_problems(POLECAT.project(stored))
    assert (problem.reason, problem.field) == ("InvalidGitBranch", "spec.kubernetes.gitBranch")


def test_a_polecat_does_not_move_to_another_rig(client: Client, namespace: str) -> None:
    stored = client.create(POLECAT, polecat(namespace)).object()
    answer = client.patch(POLECAT, stored, {"spec": {"rig": "bullet-farm"}})
    assert answer.status == 422
    assert answer.causes == [
        ("spec.rig", 'Invalid value: "bullet-farm": is immutable; delete the object and create it anew')
    ]
    client.patch(POLECAT, stored, {"spec": {"rig": "citadel", "desiredState": "Working"}}).object()


def test_a_rig_does_not_move_to_another_namespace(client: Client, namespace: str) -> None:
    stored = client.create(RIG, manifest(RIG, namespace, RIG_SPEC)).object()
    try:
        answer = client.patch(RIG, stored, {"spec": {"workNamespace": "elsewhere"}})
        assert answer.status == 422
        assert [field for field, _ in answer.causes] == ["spec.workNamespace"]
        assert client.patch(RIG, stored, {"spec": {"workNamespace": None}}).object()["spec"] == stored["spec"]
    finally:
        client.request("DELETE", path_of(RIG, stored)).object()


def status_with(*, ready: ConditionStatus) -> PolecatStatus:
    conditions: tuple[Condition, ...] = set_condition(
        (), "Ready", ready, "AgentRunning", "The agent is at work.", observed_generation=1, now=T0
    )
    return PolecatStatus(
        phase=PolecatPhase.WORKING,
        assigned_bead=HOSTILE_BEAD,
        pod_name="polecat-furiosa",
        pod_active=True,
        branch="polecat/furiosa",
        attempt=2,
        round=1,
        started_at=T0,
        conditions=conditions,
    )


def test_a_status_is_applied_once_and_then_changes_nothing(client: Client, namespace: str) -> None:
    stored = client.create(POLECAT, polecat(namespace)).object()
    status = to_json(status_with(ready=ConditionStatus.TRUE))
    first = client.apply_status(POLECAT, stored, status, "gastown-polecat").object()
    second = client.apply_status(POLECAT, stored, status, "gastown-polecat").object()
    assert first["status"] == status
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert to_json(POLECAT.project(second).status) == status


def test_the_day_of_a_rigs_budget_is_stored_as_it_is_written_and_shown(
    client: Client, namespace: str
) -> None:
    stored = client.create(RIG, manifest(RIG, namespace, RIG_SPEC | {"budget": {"maxCostUSD": 5}})).object()
    try:
        used = DayBudget(
            day="2026-11-24",
            spent_tokens=10,
            spent_cost_usd=Decimal("1.5"),
            cost_is_lower_bound=True,
            reserved_cost_usd=Decimal("0.25"),
            left_cost_usd=Decimal("3.25"),
            resets_at=parse_time("2026-11-25T00:00:00Z"),
        )
        gone = DaySpending(day="2026-11-24", tokens=10, counted=tuple(f"u{n}" for n in range(MAX_COUNTED)))
        status = to_json(RigStatus(day_budget=used, spent=gone))
        first = client.apply_status(RIG, stored, status, "gastown-rig").object()
        second = client.apply_status(RIG, stored, status, "gastown-rig").object()
        table = client.request("GET", path_of(RIG, stored), accept=TABLE).object()
        names = [column["name"] for column in table["columnDefinitions"]]
        row = dict(zip(names, table["rows"][0]["cells"], strict=True))
    finally:
        client.request("DELETE", path_of(RIG, stored)).object()
    assert first["status"] == status
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert (row["SpentUSD"], row["AtLeast"], row["LeftUSD"]) == ("1.5", True, "3.25")
    assert row["Resets"] == "2026-11-25T00:00:00Z"


def test_two_writers_of_a_status_keep_to_their_own_fields(client: Client, namespace: str) -> None:
    stored = client.create(POLECAT, polecat(namespace)).object()
    claim = {"claim": {"holder": "citadel/pods/furiosa", "state": "Claimed", "time": "2026-11-24T01:02:03Z"}}
    ours_status = to_json(status_with(ready=ConditionStatus.FALSE))
    client.apply_status(POLECAT, stored, claim, "gastown-town").object()
    both = client.apply_status(POLECAT, stored, ours_status, "gastown-polecat").object()
    assert both["status"] == claim | ours_status


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ({"phase": "Zombie"}, "Unsupported value"),
        ({"headCommit": "HEAD"}, "should match"),
        ({"attempts": [{"podUID": "u", "class": "Whatever"}]}, "Unsupported value"),
        ({"attempts": [{"podUID": "u", "class": "Stalled"}] * 21}, "at most 20"),
    ],
    ids=str,
)
def test_a_bad_status_is_refused(client: Client, namespace: str, status: JSON, message: str) -> None:
    stored = client.create(POLECAT, polecat(namespace)).object()
    answer = client.patch(POLECAT, stored, {"status": status}, "status")
    assert answer.status == 422
    assert message in answer.message


def columns(client: Client, resource: Resource[Any], namespace: str) -> tuple[list[str], list[str], JSON]:
    """Names of the columns shown always, of those shown with `-o wide`, and the first row by name."""
    table = client.request("GET", resource.path(namespace), accept=TABLE).object()
    shown = [column["name"] for column in table["columnDefinitions"] if not column["priority"]]
    wide = [column["name"] for column in table["columnDefinitions"] if column["priority"]]
    cells = table["rows"][0]["cells"] if table["rows"] else []
    return (
        shown,
        wide,
        dict(zip([column["name"] for column in table["columnDefinitions"]], cells, strict=False)),
    )


def test_kubectl_get_polecats_shows_what_people_ask_for(client: Client, namespace: str) -> None:
    stored = client.create(POLECAT, polecat(namespace, executionMode="kubernetes")).object()
    client.apply_status(
        POLECAT, stored, to_json(status_with(ready=ConditionStatus.TRUE)), "gastown-polecat"
    ).object()
    shown, wide, row = columns(client, POLECAT, namespace)
    assert shown == ["Name", "Rig", "Phase", "Reason", "Bead", "Pod", "Active", "Age"]
    assert wide == ["Mode", "Agent", "Model", "Session", "Branch", "Attempt"]
    assert {
        name: row[name] for name in ("Name", "Rig", "Phase", "Bead", "Pod", "Active", "Attempt", "Reason")
    } == {
        "Name": "furiosa",
        "Rig": "citadel",
        "Phase": "Working",
        "Bead": HOSTILE_BEAD,
        "Pod": "polecat-furiosa",
        "Active": True,
        "Attempt": 2,
        "Reason": "AgentRunning",
    }


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (RIG, ["Name", "Phase", "Reason", "Polecats", "Convoys", "Age"]),
        (CONVOY, ["Name", "Phase", "Progress", "Age"]),
        (WITNESS, ["Name", "Rig", "Phase", "Running", "Stuck", "Age"]),
        (REFINERY, ["Name", "Rig", "Phase", "Queue", "Current", "Age"]),
        (BEAD_STORE, ["Name", "Rig", "Prefix", "Phase", "Issues", "Age"]),
    ],
    ids=str,
)
def test_the_other_kinds_show_the_columns_of_the_older_operator(
    client: Client, namespace: str, resource: Resource[Any], expected: list[str]
) -> None:
    assert columns(client, resource, namespace)[0] == expected


@pytest.mark.parametrize(
    "path",
    [
        "rig.spec.policy.allow",
        "polecat.spec.kubernetes.gitBranch",
        "convoy.spec",
        "witness",
        "refinery",
        "beadstore",
    ],
)
def test_kubectl_explains_the_fields(path: str) -> None:
    explained = subprocess.run(
        ["kubectl", "explain", path], check=True, capture_output=True, text=True
    ).stdout
    assert "<empty>" not in explained
    assert "DESCRIPTION:" in explained


def test_kubectl_get_gastown_lists_every_kind(crds: list[Schema]) -> None:
    command = ["kubectl", "api-resources", "--categories=gastown", "--output=name"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert {crd["metadata"]["name"] for crd in crds} <= set(listed)
