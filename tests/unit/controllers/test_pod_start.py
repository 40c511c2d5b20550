"""A pod that cannot start: told once, kept told while the kubelet tries again, and given up with the same words."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from gastown_operator.api.core import Pod
from gastown_operator.api.polecat import POLECAT, Polecat
from gastown_operator.controllers.polecat.admission import Verdict
from gastown_operator.controllers.polecat.observe import Observed
from gastown_operator.controllers.polecat.plan import plan
from gastown_operator.runtime.plan import Delete, Plan
from gastown_operator.workload.message import Outcome, TerminationMessage
from tests.unit.controllers.objects import NOW, SETTINGS, merged, pod, polecat, rig, terminated, waiting

MESSAGE = 'Back-off pulling image "agent:1": read udp 127.0.0.1:{port}->10.0.0.10:53: i/o timeout'


def pending(owner: Polecat, reason: str = "ImagePullBackOff", port: int = 1, **changes: Any) -> Pod:
    states = {"clone": terminated(), "agent": waiting(reason, MESSAGE.format(port=port)), **changes}
    return pod(owner=owner, phase="Pending", **states)


def decide(subject: Polecat, its: Pod | None, *, later: float = 0.0) -> Plan:
    observed = Observed(subject, rig(), its, (), None, Verdict())
    return plan(observed, SETTINGS, NOW + timedelta(seconds=later))


def told(subject: Polecat, its: Pod) -> Polecat:
    """The polecat once its state is stored."""
    return stored(subject, decide(subject, its).status)


def stored(subject: Polecat, status: Mapping[str, Any] | None, *, generation: int = 1) -> Polecat:
    assert status is not None
    spec = {"rig": "project", "desiredState": "Working", "agentConfig": {"command": ["true"]}}
    metadata = {
        "name": subject.metadata.name,
        "namespace": subject.metadata.namespace,
        "uid": subject.metadata.uid,
        "generation": generation,
        "resourceVersion": "2",
    }
    return POLECAT.project(
        {"metadata": metadata, "spec": merged(spec, {"agent": "custom"}), "status": dict(status)}
    )


def ready(decided: Plan) -> tuple[str, str]:
    assert decided.status is not None
    entry = next(entry for entry in decided.status["conditions"] if entry["type"] == "Ready")
    return decided.status["phase"], entry["reason"]


def test_the_kubelet_s_further_tries_are_no_news() -> None:
    stuck = told(polecat(), pending(polecat()))
    for reason in ("ErrImagePull", "ImagePullBackOff", "ContainerCreating"):
        again = decide(stuck, pending(stuck, reason, port=2))
        assert (again.status, again.events) == (None, ())


def test_a_pod_that_was_given_up_ends_its_attempt_with_what_was_told() -> None:
    stuck = told(polecat(), pending(polecat()))
    given_up = decide(stuck, pending(stuck), later=SETTINGS.start_timeout)
    assert [type(action) for action in given_up.actions] == [Delete]
    # What the kubelet writes for a container that never was: pkg/kubelet/status/status_manager.go, TerminatePod.
    never = terminated(137, reason="ContainerStatusUnknown")
    never["terminated"] |= {"startedAt": None, "finishedAt": None}
    deleted = pod(owner=stuck, phase="Failed", clone=terminated(), agent=never)
    ended = decide(stuck, deleted)
    assert ready(ended) == ("Stuck", "ImagePullBackOff")
    assert ended.status is not None
    assert ended.status["finishedAt"]
    assert [attempt["class"] for attempt in ended.status["attempts"]] == ["ConfigError"]
    assert ended.events == ()


def test_a_change_of_the_polecat_replaces_the_pod_that_waits() -> None:
    stuck = told(polecat(), pending(polecat()))
    changed = stored(stuck, decide(polecat(), pending(polecat())).status, generation=2)
    replaced = decide(changed, pending(changed))
    assert [type(action) for action in replaced.actions] == [Delete]
    assert replaced.status is None
    gone = decide(changed, None)
    assert ready(gone) == ("Idle", "Retrying")
    assert gone.status is not None
    assert (gone.status["round"], gone.status["attempt"]) == (2, 2)
    assert "finishedAt" not in gone.status


def test_what_was_told_of_no_pod_says_nothing_of_the_pod_that_came_later() -> None:
    taken = stored(
        polecat(),
        {
            "phase": "Stuck",
            "conditions": [
                {
                    "type": "Ready",
                    "status": "False",
                    "reason": "PodNameTaken",
                    "message": "taken",
                    "observedGeneration": 1,
                    "lastTransitionTime": "2026-11-24T11:00:00Z",
                }
            ],
        },
    )
    starting = decide(taken, pending(taken, "PodInitializing"))
    assert ready(starting) == ("Idle", "PodStarting")


def test_a_clone_that_ran_after_all_has_the_last_word() -> None:
    stuck = told(polecat(), pending(polecat(), clone=waiting("ImagePullBackOff")))
    message = TerminationMessage(Outcome.CONFIG_ERROR, "BaseBranchMissing", "no branch").encode().decode()
    failed = pod(owner=stuck, phase="Failed", clone=terminated(1, message))
    assert ready(decide(stuck, failed)) == ("Stuck", "BaseBranchMissing")
