"""Who may start: one polecat per bead, and no more at once than the rig allows."""

from collections.abc import Iterator

import pytest
from attrs import define

from gastown_operator.api.core import POD
from tests.support.active_pods import ActivePods
from tests.support.cluster import kubectl
from tests.support.polecats import PolecatHandle, condition
from tests.support.site import WORKLOAD_IMAGE, RigHandle, Site

ENOUGH = "/gastown/home/enough"
#: Works until it is told that it has been seen at it.
HELD = f"echo busy; until [ -e {ENOUGH} ]; do sleep 1; done; date > work.txt"
BUSY = "sleep 4; date > work.txt"


def _occupied(site: Site, namespace: str, name: str) -> str:
    """A pod of somebody else's under the name that a polecat's would get; returns its UID."""
    container = {
        "name": "theirs",
        "image": WORKLOAD_IMAGE,
        "command": ["sleep", "600"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    body = {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    uid: str = site.cluster.create(POD, body)["metadata"]["uid"]
    return uid


def _release(polecat: PolecatHandle) -> None:
    """Let it go on."""
    polecat.until_agent_says("busy")
    pod = ("--namespace", polecat.namespace, f"polecat-{polecat.name}", "--container", "agent")
    kubectl("exec", *pod, "--", "touch", ENOUGH)


@define
class Queues:
    """Three rigs with something to wait for, all at once."""

    bead: RigHandle
    older: PolecatHandle
    younger: PolecatHandle
    narrow: RigHandle
    crowd: list[PolecatHandle]
    taken: RigHandle
    theirs: str
    pods: ActivePods


@pytest.fixture(scope="module")
def queues(site: Site) -> Iterator[Queues]:
    bead, taken = site.rig("bead"), site.rig("taken")
    narrow = site.rig("narrow", spec={"settings": {"maxPolecats": 2}})
    with ActivePods(site.cluster) as pods:
        yield Queues(
            bead=bead,
            older=bead.sling("older", HELD, beadID="gt-1"),
            younger=bead.sling("younger", BUSY, beadID="gt-1"),
            narrow=narrow,
            crowd=[narrow.sling(f"narrow-{number}", HELD if number < 2 else BUSY) for number in range(5)],
            taken=taken,
            theirs=_occupied(site, taken.namespace, "polecat-taken"),
            pods=pods,
        )


def test_of_two_polecats_with_one_bead_the_younger_waits(queues: Queues) -> None:
    older, younger = queues.older, queues.younger
    status = younger.tells("Idle", "BeadInUse", '"older"', '"gt-1"')
    assert condition(status, "Queued")["status"] == "True"
    _release(older)
    older.until("Done")
    assert younger.until("Done")["startedAt"] >= older.status["finishedAt"]
    assert queues.bead.refs["refs/heads/polecat/younger"] == younger.status["headCommit"]


def test_no_more_polecats_work_at_once_than_the_rig_allows(queues: Queues) -> None:
    first, others = queues.crowd[:2], queues.crowd[2:]
    for polecat in others:
        polecat.until_event("RigAtCapacity")
    for polecat in first:
        _release(polecat)
    for polecat in queues.crowd:
        polecat.until("Done", seconds=120)
    assert queues.pods.most(queues.narrow.name) == 2
    assert [polecat.events("RigAtCapacity") for polecat in first] == [[], []]
    starts = [polecat.status["startedAt"] for polecat in queues.crowd]
    assert max(starts[:2]) <= min(starts[2:])
    assert max(starts[2:4]) <= starts[4]


def test_a_pod_that_is_not_ours_is_neither_adopted_nor_deleted(site: Site, queues: Queues) -> None:
    rig = queues.taken
    polecat = rig.sling("taken")
    polecat.tells("Stuck", "PodNameTaken", f"{rig.namespace}/polecat-taken", "neither used nor deleted")
    found = site.cluster.get(POD, rig.namespace, "polecat-taken")
    assert found is not None
    assert found["metadata"]["uid"] == queues.theirs
    assert "ownerReferences" not in found["metadata"]
    assert "deletionTimestamp" not in found["metadata"]

    site.cluster.delete(POD, rig.namespace, "polecat-taken")
    polecat.until_gone(POD, "polecat-taken")
    polecat.patch({"taskDescription": "Try again."})
    status = polecat.until("Done")
    assert rig.refs["refs/heads/polecat/taken"] == status["headCommit"]
