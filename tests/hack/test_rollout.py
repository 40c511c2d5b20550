"""What is said of a Deployment that does not become available, by the objects that the API server has of it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from hack.demo_run.machine import PROGRAMS
from hack.lab.packages import Apt
from hack.lab.progress import Progress
from hack.rollout import REVISION, CannotStartError, available, check, last_words, present

JSON = dict[str, Any]


def deployment(*, generation: int = 2, updated: int = 2, ready: int = 2, observed: int = 2) -> JSON:
    status = {
        "observedGeneration": observed,
        "replicas": 2,
        "updatedReplicas": updated,
        "availableReplicas": ready,
    }
    metadata = {"uid": "d", "generation": generation, "annotations": {REVISION: "2"}}
    return {"metadata": metadata, "spec": {"replicas": 2}, "status": status}


def replica_set(revision: str) -> JSON:
    metadata = {
        "uid": f"set-{revision}",
        "annotations": {REVISION: revision},
        "ownerReferences": [{"uid": "d"}],
    }
    return {"metadata": metadata}


def pod(revision: str, reason: str = "", message: str = "") -> JSON:
    waiting = {"state": {"waiting": {"reason": reason, "message": message}}} if reason else {"state": {}}
    status = {"phase": "Pending", "containerStatuses": [{"name": "operator", **waiting}]}
    metadata = {
        "name": f"pod-{revision}",
        "uid": f"pod-{revision}",
        "ownerReferences": [{"uid": f"set-{revision}"}],
    }
    return {"metadata": metadata, "status": status}


SETS = [replica_set("1"), replica_set("2")]


def test_it_is_available_when_all_replicas_of_the_present_revision_are() -> None:
    assert available(deployment())
    assert not available(deployment(updated=1))
    assert not available(deployment(ready=1))
    assert not available(deployment(observed=1))


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("ImagePullBackOff", "IMG=…"),
        ("ErrImageNeverPull", "IMG=…"),
        ("CrashLoopBackOff", "logs pod-2 --previous"),
        ("CreateContainerConfigError", "describe pod pod-2"),
    ],
)
def test_a_pod_that_cannot_start_is_named_with_what_to_do(reason: str, hint: str) -> None:
    with pytest.raises(CannotStartError) as raised:
        check(deployment(ready=0), SETS, [pod("2", reason, "Back-off pulling")])
    assert f'container "operator" of pod pod-2 cannot start: {reason}: Back-off pulling; ' in str(
        raised.value
    )
    assert hint in str(raised.value)


def test_what_passes_by_itself_is_waited_for() -> None:
    check(deployment(ready=0), SETS, [pod("2", "ContainerCreating"), pod("2", "ErrImagePull"), pod("2")])


def test_pods_of_a_former_revision_do_not_count() -> None:
    old = pod("1", "ImagePullBackOff")
    check(deployment(ready=0), SETS, [old])
    assert present(deployment(observed=1), SETS, [old, pod("2")]) == []


def test_the_last_words_are_the_newest_warning_of_each_pod_that_is_not_ready() -> None:
    ready = pod("1")
    ready["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    events = [
        {"involvedObject": {"uid": "pod-2"}, "type": kind, "message": message}
        for kind, message in (
            ("Warning", "older"),
            ("Warning", 'secret "tls" not found'),
            ("Normal", "pulled"),
        )
    ]
    told = last_words(deployment(), [ready, pod("2", "ContainerCreating")], events)
    assert told.startswith('pod pod-2: ContainerCreating: secret "tls" not found; see kubectl')


def test_the_last_words_tell_why_there_is_no_pod() -> None:
    """A quota or an admission policy that refuses the pods is told of in the Deployment alone."""
    refused = deployment(ready=0)
    text = 'pods "gastown-operator-x" is forbidden: exceeded quota: none'
    refused["status"]["conditions"] = [
        {"type": "ReplicaFailure", "status": "True", "message": text},
        {"type": "Progressing", "status": "True", "message": "more to come"},
    ]
    assert last_words(refused, [], []).startswith(f"{text}; see kubectl")


def test_make_deploy_asks_why_an_operator_does_not_start() -> None:
    Apt(Progress("make")).ensure(PROGRAMS)
    ran = subprocess.run(
        ["make", "--dry-run", "deploy", "KUBECTL=kubectl --context x"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "hack/rollout.py --kubectl 'kubectl --context x'" in ran.stdout
