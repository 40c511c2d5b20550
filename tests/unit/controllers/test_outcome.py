"""What came of an attempt: every way for a pod to end has one class, and success needs proof."""

from typing import Any

import pytest

from gastown_operator.api.common import OutcomeClass
from gastown_operator.api.core import Pod
from gastown_operator.controllers.polecat.outcome import judge
from gastown_operator.workload.message import Outcome
from tests.unit.controllers.objects import pod, terminated, word

FAILED: dict[str, Any] = {"phase": "Failed", "clone": terminated()}
DONE: dict[str, Any] = {"phase": "Succeeded", "clone": terminated(), "agent": terminated()}
DISRUPTED = [
    {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drained"}
]

CASES: dict[str, tuple[Pod, OutcomeClass, str]] = {
    "a pushed commit and exit status 0 are success": (
        pod(**DONE, keeper=terminated(message=word())),
        OutcomeClass.SUCCEEDED,
        "Succeeded",
    ),
    "success without a pushed commit is not believed": (
        pod(**DONE, keeper=terminated(message=word(pushed=False))),
        OutcomeClass.INFRASTRUCTURE,
        "ProofMissing",
    ),
    "success without commits is not believed": (
        pod(**DONE, keeper=terminated(message=word(commits=0))),
        OutcomeClass.INFRASTRUCTURE,
        "ProofMissing",
    ),
    "no message from the keeper means asking the git server": (
        pod(**DONE, keeper=terminated(137)),
        OutcomeClass.INFRASTRUCTURE,
        "KeeperMessageMissing",
    ),
    "a message cut short is none": (
        pod(**DONE, keeper=terminated(message=word()[:-20])),
        OutcomeClass.INFRASTRUCTURE,
        "KeeperMessageMissing",
    ),
    "a killed keeper that is an ordinary container fails the pod, not the agent": (
        pod(**FAILED, agent=terminated(), keeper=terminated(137)),
        OutcomeClass.INFRASTRUCTURE,
        "KeeperMessageMissing",
    ),
    "a deadline that passed after the work was proven changes nothing": (
        pod(**FAILED, reason="DeadlineExceeded", agent=terminated(), keeper=terminated(message=word())),
        OutcomeClass.SUCCEEDED,
        "Succeeded",
    ),
    "exit status 0 without a change": (
        pod(**DONE, keeper=terminated(message=word(Outcome.NO_CHANGES, pushed=False, commits=0))),
        OutcomeClass.NO_CHANGES,
        "NoChanges",
    ),
    "exit status 0 that the keeper saw as a stop is not believed": (
        pod(**DONE, keeper=terminated(message=word(Outcome.INTERRUPTED))),
        OutcomeClass.INFRASTRUCTURE,
        "Interrupted",
    ),
    "a push that the server refused": (
        pod(
            **DONE, keeper=terminated(message=word(Outcome.CONFIG_ERROR, reason="PushRejected", pushed=False))
        ),
        OutcomeClass.CONFIG_ERROR,
        "PushRejected",
    ),
    "another exit status": (
        pod(**FAILED, agent=terminated(1), keeper=terminated(message=word(Outcome.AGENT_ERROR))),
        OutcomeClass.AGENT_ERROR,
        "AgentExitCode",
    ),
    "a forged success with another exit status is a failure": (
        pod(**FAILED, agent=terminated(1), keeper=terminated(message=word())),
        OutcomeClass.AGENT_ERROR,
        "AgentExitCode",
    ),
    "a command that is not in the image": (
        pod(**FAILED, agent=terminated(127), keeper=terminated(message=word(Outcome.AGENT_ERROR))),
        OutcomeClass.CONFIG_ERROR,
        "AgentCommandNotFound",
    ),
    "an image without a shell": (
        pod(**FAILED, agent=terminated(128, 'exec: "/bin/sh": no such file', "StartError")),
        OutcomeClass.CONFIG_ERROR,
        "AgentCommandNotFound",
    ),
    "out of memory": (
        pod(**FAILED, agent=terminated(137, reason="OOMKilled")),
        OutcomeClass.RESOURCE_EXCEEDED,
        "OOMKilled",
    ),
    "stopped by the keeper at the deadline": (
        pod(**FAILED, agent=terminated(143), keeper=terminated(message=word(Outcome.DEADLINE_EXCEEDED))),
        OutcomeClass.DEADLINE_EXCEEDED,
        "DeadlineExceeded",
    ),
    "stopped by the kubelet at the backstop": (
        pod(**FAILED, agent=terminated(143), reason="DeadlineExceeded"),
        OutcomeClass.DEADLINE_EXCEEDED,
        "DeadlineExceeded",
    ),
    "drained": (
        pod(**FAILED, agent=terminated(143), conditions=DISRUPTED),
        OutcomeClass.INFRASTRUCTURE,
        "EvictionByEvictionAPI",
    ),
    "evicted because of others": (
        pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
        OutcomeClass.INFRASTRUCTURE,
        "Evicted",
    ),
    "evicted because of its own disk use": (
        pod(
            phase="Failed",
            reason="Evicted",
            message='Usage of EmptyDir volume "workspace" exceeds the limit "1Gi".',
        ),
        OutcomeClass.RESOURCE_EXCEEDED,
        "EphemeralStorageExceeded",
    ),
    "deleted by somebody": (
        pod(**FAILED, agent=terminated(143), metadata={"deletionTimestamp": "2026-11-24T12:00:00Z"}),
        OutcomeClass.INFRASTRUCTURE,
        "PodDeleted",
    ),
    "interrupted, as the keeper saw it": (
        pod(**FAILED, agent=terminated(143), keeper=terminated(message=word(Outcome.INTERRUPTED))),
        OutcomeClass.INFRASTRUCTURE,
        "PodInterrupted",
    ),
    "killed at once with its keeper, as by a power failure": (
        pod(**FAILED, agent=terminated(255), keeper=terminated(255)),
        OutcomeClass.INFRASTRUCTURE,
        "PodInterrupted",
    ),
    "out of memory together with its keeper": (
        pod(**FAILED, agent=terminated(137, reason="OOMKilled"), keeper=terminated(137)),
        OutcomeClass.RESOURCE_EXCEEDED,
        "OOMKilled",
    ),
    "the node is gone": (
        pod(phase="Failed", reason="NodeLost"),
        OutcomeClass.INFRASTRUCTURE,
        "NodeLost",
    ),
    "clone says what a person must change": (
        pod(phase="Failed", clone=terminated(1, word(Outcome.CONFIG_ERROR, reason="HostKeyMismatch"))),
        OutcomeClass.CONFIG_ERROR,
        "HostKeyMismatch",
    ),
    "clone could not reach the server": (
        pod(phase="Failed", clone=terminated(1, word(Outcome.INFRASTRUCTURE, reason="GitServerUnreachable"))),
        OutcomeClass.INFRASTRUCTURE,
        "GitServerUnreachable",
    ),
    "clone was killed": (
        pod(phase="Failed", clone=terminated(137, reason="OOMKilled")),
        OutcomeClass.INFRASTRUCTURE,
        "CloneFailed",
    ),
}


@pytest.mark.parametrize("sentence", CASES)
def test_conclusion(sentence: str) -> None:
    ended, outcome, reason = CASES[sentence]

    conclusion = judge(ended)

    assert (conclusion.outcome, conclusion.reason) == (outcome, reason)
    assert conclusion.message


def test_the_message_of_a_failed_agent_names_its_log_and_where_its_work_is() -> None:
    failed = pod(**FAILED, agent=terminated(3), keeper=terminated(message=word(Outcome.AGENT_ERROR)))

    message = judge(failed).message

    assert "exit status 3" in message
    assert "branch polecat/toast" in message
    assert "kubectl -n gastown-workers logs polecat-toast -c agent" in message
