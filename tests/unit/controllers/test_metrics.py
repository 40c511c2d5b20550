"""What a scrape tells of the polecats."""

from functools import partial

from prometheus_client import CollectorRegistry

from gastown_operator.api.core import POD
from gastown_operator.api.polecat import POLECAT
from gastown_operator.api.rig import RIG
from gastown_operator.controllers.housekeeping.metrics import HousekeepingCollector
from gastown_operator.controllers.metrics import OfLeader, PolecatCollector
from gastown_operator.controllers.polecat import admission
from gastown_operator.runtime.store import Store
from gastown_operator.runtime.testing import VirtualClock
from tests.unit.controllers.objects import pod, polecat

READY = {
    "type": "Ready",
    "status": "False",
    "reason": "AgentFailed",
    "message": "exit status 1",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


def test_of_several_replicas_only_the_one_that_leads_exports_gauges_about_objects() -> None:
    rigs, leaders = Store(RIG), {"first"}
    registries = {name: CollectorRegistry() for name in ("first", "second")}
    for name, registry in registries.items():
        registry.register(OfLeader(HousekeepingCollector(rigs), partial(leaders.__contains__, name)))

    def exporting() -> list[str]:
        return [name for name, registry in registries.items() if list(registry.collect())]

    assert exporting() == ["first"]
    leaders.symmetric_difference_update(registries)
    assert exporting() == ["second"]


def test_a_scrape_is_read_off_the_caches() -> None:
    polecats = Store(POLECAT, {admission.POLECATS_BY_RIG: admission.polecats_by_rig})
    pods = Store(
        POD,
        {
            admission.PODS_BY_OWNER: admission.pods_by_owner,
            admission.ACTIVE_PODS_BY_RIG: admission.active_pods_by_rig,
        },
    )
    registry = CollectorRegistry()
    registry.register(PolecatCollector(admission.Admission(polecats, pods, VirtualClock())))
    ended = [{"podUID": str(number), "class": "AgentError", "reason": "AgentFailed"} for number in range(2)]
    stuck = polecat("a", status={"phase": "Stuck", "conditions": [READY], "attempts": ended})
    working = polecat("b")
    for subject in (stuck, working):
        polecats.partition().put(subject)
    pods.partition().put(pod("polecat-b", owner=working))

    of_rig = {"rig": "project"}
    told = {**of_rig, "phase": "Stuck", "reason": "AgentFailed"}
    assert registry.get_sample_value("gastown_polecats", told) == 1
    assert registry.get_sample_value("gastown_polecats", {**of_rig, "phase": "Idle", "reason": ""}) == 1
    assert registry.get_sample_value("gastown_rig_active_pods", of_rig) == 1
    attempts = {**of_rig, "class": "AgentError"}
    assert registry.get_sample_value("gastown_polecat_attempts", attempts) == 2

    polecats.partition().remove(stuck.metadata.key, 9)

    assert registry.get_sample_value("gastown_polecat_attempts", attempts) is None
