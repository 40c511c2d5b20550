"""Many real pods on one rig: never more than it allows, no slot left idle, urgent work first, and the API server is spared."""

import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from attrs import field, frozen

from gastown_operator.api.networkpolicy import NETWORK_POLICY
from gastown_operator.api.polecat import POLECAT
from gastown_operator.api.rig import RIG
from tests.apiserver.client import JSON
from tests.support.active_pods import ActivePods, Moment
from tests.support.audit import AuditLog, Write
from tests.support.cluster import environment
from tests.support.site import RigHandle, Site
from tests.support.waiting import eventually

HOW = "hack/cluster exec --name node -- .venv/bin/pytest tests/node"
POLECATS = 50 if os.environ.get("GASTOWN_FULL") else 20
MAXIMUM = 8
#: The last ones to come.
URGENT = [f"p{number}" for number in range(POLECATS - POLECATS // 5, POLECATS)]
#: Over its whole life: issue 5.
WRITES_PER_POLECAT = 7
#: A slot that stays free for longer, while somebody waits, was forgotten; on a quiet machine it is a tenth of a second.
IDLE_SECONDS = 10.0
#: Within this time the operator knows of a new polecat, on a busy machine too.
SEEN_SECONDS = 3.0
LIMIT_SECONDS = 480.0
#: What the API server notes of a request whose client was killed; the next operator makes it again if it was not carried out.
CUT_OFF = 504

patient = pytest.mark.timeout(2 * LIMIT_SECONDS)


@frozen
class Crowd:
    """What came of all of them.

    Attributes:
        most: how many were active at once.
        idle: seconds for which a slot was free while somebody waited, each time; without those in which there was no operator.
        writes: all writes since the first was created, in the order in which the API server answered.
    """

    rig: RigHandle
    polecats: Sequence[JSON]
    most: int
    idle: Sequence[float]
    writes: Sequence[Write]
    starts: Sequence[str] = field()

    @starts.default
    def _pods(self) -> Sequence[str]:
        """Names of the polecats in the order in which their pods were created."""
        return [
            _polecat(write) for write in self.writes if write.what == "create pods" and write.status == 201
        ]

    @property
    def operators(self) -> Sequence[Write]:
        """What the operator wrote for this rig, refused writes included, but for what its end by SIGKILL cut off."""
        return [
            write
            for write in self.writes
            if write.user_agent.startswith("gastown-operator/")
            and write.status != CUT_OFF
            and self.rig.name in (write.namespace, write.name)
        ]


@pytest.fixture(scope="module")
def crowd(site: Site) -> Crowd:
    """Run all of them; the operator is killed when a third has ended."""
    audit = AuditLog(Path(environment("GASTOWN_LAB_AUDIT_LOG", HOW)))
    rig = site.rig("fifty", spec={"settings": {"maxPolecats": MAXIMUM}})
    eventually(lambda: _ready(site, rig), "the rig is ready")
    position = audit.end()
    with ActivePods(site.cluster) as pods:
        for number in range(POLECATS):
            name = f"p{number}"
            rig.sling(name, priority=100 if name in URGENT else 0)
        eventually(lambda: _done(site, rig) >= POLECATS // 3, "a third has ended", LIMIT_SECONDS)
        killed = time.monotonic()
        site.operator.kill()
        site.operator.start()
        restarted = time.monotonic()
        eventually(lambda: _done(site, rig) == POLECATS, "all are done", LIMIT_SECONDS)
        idle = list(_idle(pods.moments(rig.name), killed, restarted))
        most = pods.most(rig.name)
    site.operator.stop()  # with its last Events
    writes = [write for write in audit.since(position) if rig.name in (write.namespace, write.name)]
    site.operator.start()
    found = Crowd(rig, site.cluster.objects(POLECAT, rig.namespace), most, idle, writes)
    print(json.dumps(_report(found)))  # noqa: T201 - the figures are what this test is for
    return found


@patient
def test_never_more_are_active_than_the_rig_allows_and_all_finish(crowd: Crowd) -> None:
    assert crowd.most == MAXIMUM
    assert [polecat["status"]["phase"] for polecat in crowd.polecats] == ["Done"] * POLECATS
    assert sorted(crowd.starts) == sorted(polecat["metadata"]["name"] for polecat in crowd.polecats)
    heads = {
        name: polecat["status"]["headCommit"]
        for polecat in crowd.polecats
        if (name := polecat["status"]["branch"])
    }
    refs = crowd.rig.refs
    assert {name: refs[f"refs/heads/{name}"] for name in heads} == heads


@patient
def test_a_freed_slot_is_taken_at_once(crowd: Crowd) -> None:
    assert max(crowd.idle, default=0.0) < IDLE_SECONDS


@patient
def test_urgent_work_that_comes_last_does_not_wait_for_what_came_before(crowd: Crowd) -> None:
    """Those that start while it comes are not stopped; of those that wait, none goes before it."""
    assert _overtaking(crowd) == []


@patient
def test_the_operator_writes_no_more_per_polecat_than_it_may(crowd: Crowd) -> None:
    of_polecats = Counter(_polecat(write) for write in crowd.operators)
    assert max(of_polecats[polecat["metadata"]["name"]] for polecat in crowd.polecats) <= WRITES_PER_POLECAT
    assert len(crowd.operators) / POLECATS <= WRITES_PER_POLECAT


def _ready(site: Site, rig: RigHandle) -> bool:
    """Whether its pods may start: what the first polecats of a new rig wait for is not what is measured here."""
    stored = site.cluster.get(RIG, "", rig.name) or {}
    policies = site.cluster.objects(NETWORK_POLICY, rig.namespace)
    return bool(policies) and stored.get("status", {}).get("phase") == "Ready"


def _done(site: Site, rig: RigHandle) -> int:
    phases = [
        polecat.get("status", {}).get("phase") for polecat in site.cluster.objects(POLECAT, rig.namespace)
    ]
    assert "Stuck" not in phases
    return phases.count("Done")


def _idle(moments: Sequence[Moment], killed: float, restarted: float) -> Iterator[float]:
    """Seconds from each time at which not all slots were taken, though somebody waited, until they were."""
    since: float | None = None
    full_once = False
    for moment in moments:
        full_once = full_once or moment.active == MAXIMUM
        if moment.active < MAXIMUM and full_once and moment.seen < POLECATS:
            since = since or moment.at
        elif since is not None:
            if moment.at < killed or since > restarted:
                yield moment.at - since
            since = None


def _overtaking(crowd: Crowd) -> list[str]:
    """Who was started before the last urgent one, though that one was there and the operator had had the time to see it."""
    created = {write.name: write.began for write in crowd.writes if write.what == "create polecats"}
    started = {
        _polecat(write): write.began
        for write in crowd.writes
        if write.what == "create pods" and write.status == 201
    }
    known = max(created[name] for name in URGENT)
    last = max(started[name] for name in URGENT)
    return [
        name
        for name, moment in started.items()
        if name not in URGENT and moment < last and (moment - known).total_seconds() > SEEN_SECONDS
    ]


def _polecat(write: Write) -> str:
    """Name of the polecat that a write is about, or of another object."""
    if write.resource == "pods":
        return write.name.removeprefix("polecat-")
    return write.name.split(".")[0] if write.resource == "events" else write.name


def _report(crowd: Crowd) -> JSON:
    names = {polecat["metadata"]["name"] for polecat in crowd.polecats}
    of_polecats = Counter(_polecat(write) for write in crowd.operators)
    kinds = Counter(write.what for write in crowd.operators if _polecat(write) in names)
    others = Counter(write.what for write in crowd.operators if _polecat(write) not in names)
    refused = Counter(f"{write.what} {write.status}" for write in crowd.operators if write.status >= 400)
    return {
        "polecats": POLECATS,
        "mostActive": crowd.most,
        "idleSeconds": {
            "median": round(statistics.median(crowd.idle or [0.0]), 2),
            "longest": round(max(crowd.idle, default=0.0), 2),
        },
        "writesPerPolecat": dict(sorted(Counter(of_polecats[name] for name in names).items())),
        "ofPolecats": dict(kinds.most_common()),
        "ofTheRig": dict(others.most_common()),
        "refused": dict(refused),
    }
