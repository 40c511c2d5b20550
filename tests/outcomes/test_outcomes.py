"""Every agent, every way to end: the cells of docs/outcomes.md, each run on a real node with the real program.

The polecats of one agent run side by side, each row in a rig of its own; then those of the next agent: more at once than the
machine has cores would show how a machine behaves that is short of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from attrs import define

from gastown_operator.api.agentconfig import Agent
from hack.model_server.server import ModelServer
from tests.outcomes import table
from tests.outcomes.cells import SCENARIOS, Disturbance, Ending, Kept, Scenario
from tests.outcomes.conftest import KEY, custom_agent
from tests.support.cluster import kubectl
from tests.support.polecats import PolecatHandle, condition
from tests.support.site import RigHandle, Site
from tests.support.waiting import eventually

SECRET = "model-key"
PREPARED = "begun.txt"
#: Of the rows in which a polecat is found at work.
PATIENT_MODEL = "patient"
#: Two agents of the heavier kind on two cores take their time.
SECONDS = 420.0


@define
class Column:
    """All cells of one agent, begun: a rig and a polecat for each row."""

    agent: Agent
    rigs: Mapping[str, RigHandle]
    polecats: Mapping[str, PolecatHandle]


@pytest.fixture(scope="module", params=Agent)
def column(request: pytest.FixtureRequest, site: Site, models: ModelServer) -> Column:
    """Start every polecat of an agent, and disturb those that are to be disturbed once it works: they get no answer before."""
    agent: Agent = request.param
    models.hold(PATIENT_MODEL)
    rigs = {scenario.title: _rig(site, models, scenario) for scenario in SCENARIOS}
    polecats = {
        scenario.title: _sling(rigs[scenario.title], scenario, agent)
        for scenario in sorted(SCENARIOS, key=lambda scenario: not scenario.disturbance)
    }
    begun = Column(agent, rigs, polecats)
    _drain(begun)
    _restart(site, begun)
    models.release(PATIENT_MODEL)
    return begun


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.title)
def test_ends_as_the_table_says(site: Site, column: Column, scenario: Scenario) -> None:
    expected = scenario.ending_of(column.agent)
    polecat = column.polecats[scenario.title]
    polecat.touched = site.touched

    polecat.until(expected.phase, expected.reason, seconds=SECONDS)

    found = _ending(column.rigs[scenario.title], polecat)
    assert found == expected


def test_the_document_is_what_was_run() -> None:
    assert table.DOCUMENT.read_text() == table.document(), "run: python -m tests.outcomes.table"


def _rig(site: Site, models: ModelServer, scenario: Scenario) -> RigHandle:
    name = scenario.title.split(" (")[0].replace(" ", "-")
    providers = [
        {"name": provider, "endpoint": models.url, "secretRef": {"name": SECRET, "key": "key"}}
        for provider in ("anthropic", "openai")
    ]
    rig = site.rig(f"row-{name}", spec={"providers": providers, "checkpoint": {"interval": "10s"}})
    rig.secret(SECRET, {"key": KEY})
    return rig


def _sling(rig: RigHandle, scenario: Scenario, agent: Agent) -> PolecatHandle:
    config: dict[str, Any] = {
        "model": scenario.model,
        "provider": "anthropic" if agent is Agent.CLAUDE_CODE else "openai",
    }
    if agent is Agent.CUSTOM:
        config["command"] = ["sh", "-c", "exit 1"] if scenario.model == "exit_1" else custom_agent()
    setup = {"setupCommand": f"echo begun >{PREPARED}"} if scenario.prepares else {}
    return rig.sling(f"{agent}", agent=str(agent), agentConfig=config, **setup, **scenario.spec)


def _of(column: Column, disturbance: Disturbance) -> Sequence[tuple[RigHandle, PolecatHandle]]:
    titles = [scenario.title for scenario in SCENARIOS if scenario.disturbance is disturbance]
    return [(column.rigs[title], column.polecats[title]) for title in titles]


def _drain(column: Column) -> None:
    """`kubectl drain` of these pods, once their un-pushed work has been there long enough to be seen on the remote."""
    disturbed = _of(column, Disturbance.DRAIN)
    for rig, polecat in disturbed:
        _until_saved(rig, polecat)
    rigs = sorted(rig.name for rig, _ in disturbed)
    node = kubectl("get", "nodes", "--output=name").split("/")[1].strip()
    kubectl(
        *("drain", node, "--force", "--ignore-daemonsets", "--delete-emptydir-data"),
        *("--pod-selector", f"gastown.io/rig in ({','.join(rigs)})", "--timeout", "120s"),
    )
    kubectl("uncordon", node)


def _restart(site: Site, column: Column) -> None:
    for _, polecat in _of(column, Disturbance.RESTART):
        _until_working(polecat)
    site.operator.kill()
    site.operator.start()


def _until_working(polecat: PolecatHandle) -> None:
    eventually(lambda: polecat.status.get("phase") == "Working", f"{polecat.name} works", SECONDS)


def _until_saved(rig: RigHandle, polecat: PolecatHandle) -> None:
    eventually(
        lambda: PREPARED in _files(rig, polecat.ref("wip")), f"{polecat.name} has a checkpoint", SECONDS
    )


def _files(rig: RigHandle, ref: str) -> set[str]:
    return rig.files(ref) if ref in rig.refs else set()


def _ending(rig: RigHandle, polecat: PolecatHandle) -> Ending:
    status = polecat.status
    return Ending(
        phase=status["phase"],
        reason=condition(status, "Ready")["reason"],
        attempts=tuple(attempt["class"] for attempt in status["attempts"]),
        kept=_kept(rig, polecat, status),
    )


def _kept(rig: RigHandle, polecat: PolecatHandle, status: Mapping[str, Any]) -> Kept:
    """Where its work is on the git server, whatever its status says."""
    branch = f"refs/heads/{status.get('branch', '')}"
    if "outcome.txt" in _files(rig, branch):
        return Kept.BRANCH
    if PREPARED in _files(rig, polecat.ref("wip")):
        return Kept.CHECKPOINT
    return Kept.NOTHING
