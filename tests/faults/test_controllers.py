"""Our controllers on the whole runtime: what wakes them, and what they write."""

from typing import Any

import pytest
from aiohttp import web
from attrs import frozen

from gastown_operator.api import labels
from gastown_operator.api.core import NAMESPACE, POD
from gastown_operator.api.polecat import POLECAT
from gastown_operator.api.refinery import REFINERY
from gastown_operator.api.rig import RIG
from gastown_operator.api.witness import WITNESS
from gastown_operator.controllers.credential.problem import Credentials
from gastown_operator.controllers.credential.settings import CredentialSettings
from gastown_operator.controllers.network.fence import Fence
from gastown_operator.controllers.polecat import reconciler as polecats
from gastown_operator.controllers.rig import reconciler as rigs
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.testing import VirtualClock
from tests.faults.conftest import running, until
from tests.faults.scripted_server import Raw, ScriptedServer, refusal, refuse
from tests.unit.controllers.objects import SETTINGS, WORKERS, polecat_body, rig_body, terminated, word
from tests.unit.controllers.objects import running as agent_running

pytestmark = pytest.mark.anyio

ENDED: Raw = {
    "phase": "Succeeded",
    "initContainerStatuses": [
        {"name": "clone", "state": terminated()},
        {"name": "keeper", "state": terminated(message=word())},
    ],
    "containerStatuses": [{"name": "agent", "state": terminated()}],
}
WORKING: Raw = {"phase": "Running", "containerStatuses": [{"name": "agent", "state": agent_running()}]}


@frozen
class Cluster:
    """A server, the operator on it, and what a user does."""

    server: ScriptedServer
    clock: VirtualClock
    manager: Manager

    def rig(self, **spec: Any) -> None:
        """Create a rig, or change it."""
        self.server.put(RIG.path("", "project"), rig_body(**spec))

    def polecat(self, name: str, **changes: Any) -> None:
        """Create a polecat; the server chooses its UID."""
        self.server.put(POLECAT.path(WORKERS, name), polecat_body(name, **changes))

    def namespace(self) -> None:
        """Create the work namespace."""
        body = {"metadata": {"name": WORKERS}, "status": {"phase": "Active"}}
        self.server.put(NAMESPACE.path("", WORKERS), body)

    def pods(self) -> list[str]:
        """Names of the pods that were created, in that order."""
        created = self.server.sent(verb="POST", path=POD.path(WORKERS))
        return [request.body["metadata"]["name"] for request in created]

    def has(self, name: str) -> bool:
        """Whether a pod is there."""
        return POD.path(WORKERS, name) in self.server.objects

    def change_pod(self, name: str, status: Raw) -> None:
        """Do what the kubelet does."""
        path = POD.path(WORKERS, name)
        self.server.put(path, {**self.server.objects[path], "status": status})

    def ready(self, path: str) -> str:
        """Reason of an object's Ready condition; empty where it has none."""
        conditions = self.server.objects[path].get("status", {}).get("conditions", [])
        return next((it["reason"] for it in conditions if it["type"] == "Ready"), "")

    def says(self, name: str) -> str:
        """Reason of a polecat's Ready condition."""
        return self.ready(POLECAT.path(WORKERS, name))

    def generations(self, name: str) -> set[int]:
        """Generations of a polecat from which its conditions were made."""
        conditions = self.server.objects[POLECAT.path(WORKERS, name)].get("status", {}).get("conditions", [])
        return {condition["observedGeneration"] for condition in conditions}


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def cluster(server: ScriptedServer, clock: VirtualClock) -> Cluster:
    return Cluster(server, clock, Manager(Connection(server.url), Options("tests"), clock))


@pytest.fixture
def with_polecats(cluster: Cluster) -> Cluster:
    polecats.register(cluster.manager, SETTINGS, cluster.clock, Credentials(CredentialSettings()), Fence())
    return cluster


@pytest.fixture
def with_rigs(cluster: Cluster) -> Cluster:
    rigs.register(cluster.manager, cluster.clock, Credentials(CredentialSettings()), Fence())
    return cluster


async def test_a_polecat_waits_for_its_rig_runs_and_ends(with_polecats: Cluster) -> None:
    cluster = with_polecats
    async with running(cluster.manager):
        cluster.polecat("a")
        await until(lambda: cluster.says("a") == "RigNotFound")
        cluster.rig()
        await until(lambda: cluster.has("polecat-a"))
        cluster.change_pod("polecat-a", ENDED)
        await until(lambda: cluster.says("a") == "Done")
    assert cluster.pods() == ["polecat-a"]


async def test_a_status_carries_the_generation_that_it_was_made_from(with_polecats: Cluster) -> None:
    """Pitfall 11: the polecat changes while its status is on the way."""
    cluster, path = with_polecats, POLECAT.path(WORKERS, "a")

    async def changed_meanwhile(request: web.Request) -> web.StreamResponse:
        cluster.polecat("a", desiredState="Idle", metadata={"generation": 2})
        return await cluster.server.api(request)

    cluster.server.script("PATCH", changed_meanwhile)
    cluster.polecat("a", desiredState="Terminated")
    async with running(cluster.manager):
        await until(lambda: cluster.generations("a") == {2})
    first = cluster.server.sent(verb="PATCH", path=f"{path}/status")[0].body["status"]
    assert {condition["observedGeneration"] for condition in first["conditions"]} == {1}


async def test_the_time_until_a_polecat_works_is_measured_once(with_polecats: Cluster) -> None:
    cluster = with_polecats
    cluster.rig()
    name = "gastown_polecat_time_to_working_seconds"
    async with running(cluster.manager):
        cluster.polecat("a", age=3)
        await until(lambda: cluster.has("polecat-a"))
        cluster.change_pod("polecat-a", WORKING)
        await until(lambda: cluster.says("a") == "Working")
        cluster.change_pod("polecat-a", ENDED)
        await until(lambda: cluster.says("a") == "Done")
    assert cluster.manager.registry.get_sample_value(f"{name}_count") == 1


async def test_the_end_of_a_pod_wakes_the_next_in_line(with_polecats: Cluster) -> None:
    cluster = with_polecats
    cluster.rig(settings={"maxPolecats": 1})
    async with running(cluster.manager):
        cluster.polecat("a", age=2)
        await until(lambda: cluster.has("polecat-a"))
        cluster.polecat("b", age=1)
        await until(lambda: cluster.says("b") == "RigAtCapacity")
        cluster.change_pod("polecat-a", ENDED)
        await until(lambda: cluster.has("polecat-b"))


async def test_the_end_of_a_pod_wakes_who_waits_for_its_bead(with_polecats: Cluster) -> None:
    cluster = with_polecats
    cluster.rig()
    async with running(cluster.manager):
        cluster.polecat("a", age=2, beadID="gt-1")
        await until(lambda: cluster.has("polecat-a"))
        cluster.polecat("b", age=1, beadID="gt-1")
        await until(lambda: cluster.says("b") == "BeadInUse")
        cluster.change_pod("polecat-a", ENDED)
        await until(lambda: cluster.has("polecat-b"))


async def test_a_full_quota_keeps_nobody_else_waiting(with_polecats: Cluster) -> None:
    cluster = with_polecats
    cluster.rig(settings={"maxPolecats": 1})
    refused = ["polecat-a", "polecat-a"]  # the second try follows the polecat's own status

    async def quota(request: web.Request) -> web.StreamResponse:
        if request.path == POD.path(WORKERS) and cluster.pods() == refused[: len(cluster.pods())]:
            return refusal(403, "Forbidden", "exceeded quota: pods")
        return await cluster.server.api(request)

    cluster.server.script("POST", *[quota] * 20)
    cluster.polecat("a", age=2)
    async with running(cluster.manager):
        await until(lambda: cluster.says("a") == "QuotaExceeded" and len(cluster.pods()) == 2)
        cluster.polecat("b", age=1)
        await until(lambda: cluster.has("polecat-b"))
    assert cluster.pods() == ["polecat-a", "polecat-a", "polecat-b"]


async def test_the_end_of_a_polecat_wakes_who_wants_its_checkpoints(with_polecats: Cluster) -> None:
    cluster = with_polecats
    cluster.rig()
    async with running(cluster.manager):
        cluster.polecat("a")
        victim = cluster.server.objects[POLECAT.path(WORKERS, "a")]["metadata"]["uid"]
        await until(lambda: cluster.has("polecat-a"))
        cluster.polecat("b", metadata={"annotations": {labels.RECOVERY_KEY: victim}})
        await until(lambda: cluster.says("b") == "RecoveryKeyInUse")
        cluster.server.drop(POLECAT.path(WORKERS, "a"))
        await until(lambda: cluster.has("polecat-b"))


async def test_a_rig_gets_its_children_and_follows_its_namespace(with_rigs: Cluster) -> None:
    cluster, path = with_rigs, RIG.path("", "project")
    async with running(cluster.manager):
        cluster.rig()
        await until(lambda: cluster.ready(path) == "WorkNamespaceMissing")
        cluster.namespace()
        await until(lambda: cluster.ready(path) == "Ready")
        children = {WITNESS.path(WORKERS, "project-witness"), REFINERY.path(WORKERS, "project-refinery")}
        assert children <= cluster.server.objects.keys()
        await until(lambda: cluster.server.objects[path]["status"]["refineryCreated"])
        cluster.server.drop(NAMESPACE.path("", WORKERS))
        await until(lambda: cluster.ready(path) == "WorkNamespaceMissing")


async def test_a_burst_of_polecats_is_counted_at_intervals(with_rigs: Cluster) -> None:
    cluster, path = with_rigs, RIG.path("", "project")
    cluster.namespace()
    async with running(cluster.manager):
        cluster.rig(provision={"witness": False, "refinery": False})
        await until(lambda: cluster.ready(path) == "Ready")
        for number in range(20):
            cluster.polecat(f"p-{number}")
        await until(lambda: len(cluster.manager.store(POLECAT)) == 20)
        await cluster.clock.advance(rigs.COUNT_INTERVAL)
        await until(lambda: cluster.server.objects[path]["status"]["polecatCount"] == 20)
    written = cluster.server.sent(verb="PATCH", path=f"{path}/status")
    assert len(written) <= 3


async def test_a_child_that_is_refused_is_the_rigs_trouble(with_rigs: Cluster) -> None:
    cluster, path = with_rigs, RIG.path("", "project")
    cluster.namespace()
    cluster.server.script("POST", *[refuse(403, "Forbidden", "no witnesses here")] * 9)
    async with running(cluster.manager):
        cluster.rig(provision={"refinery": False})
        await until(lambda: cluster.ready(path) == "ChildRefused")
