"""An agent that forges what speaks of its end: each time also in its own pod without the one thing that is in the way."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from gastown_operator.api.core import POD
from gastown_operator.controllers.polecat.containers import AGENT, GATEWAY, KEEPER
from gastown_operator.controllers.polecat.outcome import judge
from gastown_operator.workload.message import Outcome, TerminationMessage, decode
from hack.model_server.script import load_script
from hack.model_server.server import ModelServer
from tests.apiserver.client import JSON
from tests.escape import pods
from tests.escape.attempts import attempts
from tests.support.polecats import PolecatHandle, condition
from tests.support.site import WORKLOAD_IMAGE, RigHandle, Site
from tests.support.waiting import eventually

PROGRAM = (Path(__file__).parent / "forger.py").read_text()
CLAIM = TerminationMessage(
    Outcome.SUCCEEDED, "Done", branch="polecat/liar", head="0" * 40, base="1" * 40, commits=3, pushed=True
)
CLAIMING = f"printf '%s' '{CLAIM.encode().decode()}' > /dev/termination-log"
SECRET = {"name": "claude-credentials", "key": "api-key"}
Change = Callable[[JSON], None]


@frozen
class Ended:
    """How a changed copy of a polecat's pod ended: in the keeper's words, and as the operator judges it."""

    keeper: Outcome
    pushed: bool
    judged: str


def command(*arguments: str) -> list[str]:
    return ["python3", "-c", PROGRAM, *arguments]


@frozen
class Forged:
    """One polecat that fails and forges, and copies of its pod without what is in its way."""

    rig: RigHandle
    polecat: PolecatHandle
    copies: Sequence[str]

    def stuck(self, reason: str, said: str) -> JSON:
        """Wait until the polecat is stuck for its honest reason, though it forged; return its pod."""
        rig, name = self.rig, self.polecat.name
        status = self.polecat.until("Stuck", reason, seconds=150)
        assert said in rig.site.cluster.log(rig.namespace, f"polecat-{name}", AGENT)
        assert condition(status, "Pushed").get("status") != "True"
        assert f"refs/heads/polecat/{name}" not in rig.refs
        return self.polecat.pods()[0]

    def ended(self, copy: str) -> Ended:
        """Wait for the end of a copy."""
        assert copy in self.copies
        pod = pods.ended(self.rig, copy)
        word = decode(pods.said_by(pod, KEEPER))
        assert word is not None
        assert word.pushed == (f"refs/heads/{copy}" in self.rig.refs)
        return Ended(word.outcome, word.pushed, judge(POD.project(pod)).outcome.value)


def bare(*arguments: str) -> Change:
    """No wrapper that writes the report, and ends whoever would overwrite it."""

    def change(spec: JSON) -> None:
        pods.agent_of(spec).update(command=command(*arguments, "bare"), args=[])

    return change


def writable_control(spec: JSON) -> None:
    """The volume with the gateway's record, as every other."""
    for mount in pods.agent_of(spec)["volumeMounts"]:
        if mount["name"] == "control":
            del mount["readOnly"]


#: By what is forged: the copies of the pod in which more is possible.
COPIES: Mapping[str, Mapping[str, Change]] = {
    "exit": {"no-wrapper": bare("exit", "exit")},
    "transcript": {
        "both-forged": bare("transcript", "transcript", "exit"),
        "honest-words": bare("transcript", "exit"),
    },
    "record": {"writable-control": writable_control},
}


def sling(site: Site, what: str, endpoint: str) -> Forged:
    """Start the polecat, and with it its copies."""
    provider = {"name": "anthropic", "endpoint": endpoint, "secretRef": SECRET}
    rig = site.rig(f"forged-{what}", spec={"providers": [provider]})
    rig.secret(SECRET["name"], {SECRET["key"]: "sk-ant-wrong"})
    config = {"image": WORKLOAD_IMAGE, "command": command(what, what), "provider": "anthropic"}
    polecat = rig.sling(what, agent="claude-code", agentConfig=config)
    (pod,) = eventually(polecat.pods, f"{what} has a pod")
    for name, change in COPIES[what].items():
        site.cluster.create(POD, pods.copy_of(pod, name, change))
    return Forged(rig, polecat, tuple(COPIES[what]))


@pytest.fixture(scope="module")
def forged(site: Site) -> Iterator[Mapping[str, Forged]]:
    """All of them at once; the provider refuses the credential that their rigs lend."""
    with ModelServer(load_script("success"), site.address, key="sk-ant-right") as models:
        yield {what: sling(site, what, models.url) for what in COPIES}


@attempts("forged-exit")
def test_a_forged_report_of_the_end_is_not_believed(forged: Mapping[str, Forged]) -> None:
    found = forged["exit"]
    found.stuck("AgentExitCode", "forged the report")
    assert found.ended("no-wrapper") == Ended(Outcome.SUCCEEDED, pushed=True, judged="AgentError")


@attempts("forged-transcript")
def test_a_forged_transcript_does_not_outweigh_the_exit_status(forged: Mapping[str, Forged]) -> None:
    found = forged["transcript"]
    found.stuck("AgentExitCode", "forged the transcript")
    assert found.ended("both-forged") == Ended(Outcome.SUCCEEDED, pushed=True, judged="AgentError")
    assert found.ended("honest-words").keeper is Outcome.AGENT_ERROR


@attempts("forged-record")
def test_a_forged_record_of_the_gateway_is_not_there_to_be_believed(forged: Mapping[str, Forged]) -> None:
    found = forged["record"]
    pod = found.stuck("RigCredentialRejected", "no record forged: [Errno 30]")
    assert '"status":401' in pods.said_by(pod, GATEWAY)
    assert found.ended("writable-control") == Ended(Outcome.SUCCEEDED, pushed=True, judged="Succeeded")


@attempts("termination-message")
def test_a_termination_message_of_the_agents_container_is_read_by_nobody(site: Site) -> None:
    rig = site.rig("liar")
    polecat = rig.sling("liar", CLAIMING)
    status = polecat.until("Stuck", "NoChanges")
    assert status.get("headCommit") != CLAIM.head
    assert condition(status, "Pushed").get("status") != "True"
    assert {name for name in rig.refs if name.startswith("refs/heads/")} == {"refs/heads/main"}
    (pod,) = polecat.pods()
    assert judge(POD.project(pod)).outcome.value == "NoChanges"
    # The control: an operator that read the agent's message where it reads the keeper's.
    assert judge(POD.project(_swapped(pod))).outcome.value == "Succeeded"


def _swapped(pod: JSON) -> JSON:
    """The pod as if its agent had said what its keeper says."""
    statuses: list[dict[str, Any]] = pod["status"]["initContainerStatuses"]
    claim = pods.said_by(pod, AGENT)
    return {
        **pod,
        "status": {
            **pod["status"],
            "initContainerStatuses": [
                {**each, "state": {"terminated": {**each["state"]["terminated"], "message": claim}}}
                if each["name"] == KEEPER
                else each
                for each in statuses
            ],
        },
    }
