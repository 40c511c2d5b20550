"""Who may start: one polecat per bead, and no more at once than the rig allows."""

from gastown_operator.api.core import POD
from tests.support.active_pods import ActivePods
from tests.support.polecats import condition
from tests.support.site import Site

#: Works for long enough to be seen at it.
BUSY = "echo busy; sleep 4; date > work.txt"


def _occupied(site: Site, namespace: str, name: str) -> str:
    """A pod of somebody else's under the name that a polecat's would get; returns its UID."""
    container = {
        "name": "theirs",
        "image": "localhost/gastown-workload:dev",
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


def test_of_two_polecats_with_one_bead_the_younger_waits(site: Site) -> None:
    rig = site.rig("bead")
    older = rig.sling("older", BUSY, beadID="gt-1")
    younger = rig.sling("younger", BUSY, beadID="gt-1")
    status = younger.tells("Idle", "BeadInUse", '"older"', '"gt-1"')
    assert condition(status, "Queued")["status"] == "True"
    older.until("Done")
    assert younger.until("Done")["startedAt"] >= older.status["finishedAt"]
    assert rig.refs["refs/heads/polecat/younger"] == younger.status["headCommit"]


def test_no_more_polecats_work_at_once_than_the_rig_allows(site: Site) -> None:
    rig = site.rig("narrow", spec={"settings": {"maxPolecats": 2}})
    with ActivePods(site.cluster) as pods:
        polecats = [rig.sling(f"narrow-{number}", BUSY) for number in range(5)]
        for polecat in polecats:
            polecat.until("Done", seconds=120)
        assert pods.most(rig.name) == 2
    assert sum(bool(polecat.events("RigAtCapacity")) for polecat in polecats) == 3
    starts = [polecat.status["startedAt"] for polecat in polecats]
    assert max(starts[:2]) <= min(starts[2:])
    assert max(starts[2:4]) <= starts[4]


def test_a_pod_that_is_not_ours_is_neither_adopted_nor_deleted(site: Site) -> None:
    rig = site.rig("taken")
    theirs = _occupied(site, rig.namespace, "polecat-taken")
    polecat = rig.sling("taken")
    polecat.tells("Stuck", "PodNameTaken", f"{rig.namespace}/polecat-taken", "neither used nor deleted")
    found = site.cluster.get(POD, rig.namespace, "polecat-taken")
    assert found is not None
    assert found["metadata"]["uid"] == theirs
    assert "ownerReferences" not in found["metadata"]
    assert "deletionTimestamp" not in found["metadata"]

    site.cluster.delete(POD, rig.namespace, "polecat-taken")
    polecat.until_gone(POD, "polecat-taken")
    polecat.patch({"taskDescription": "Try again."})
    status = polecat.until("Done")
    assert rig.refs["refs/heads/polecat/taken"] == status["headCommit"]
