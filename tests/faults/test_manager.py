"""The whole runtime against a server that lags, cuts and refuses (pitfalls 7, 9, 18, 19, 28)."""

import os
import signal
from collections.abc import Mapping
from typing import Any

import aiohttp
import anyio
import pytest
from attrs import define, field, frozen

from gastown_operator.runtime.clock import SystemClock
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.controller import Controller, Result, for_object, owned_by
from gastown_operator.runtime.errors import ConfigurationError, InternalError, StoppedAtOnce
from gastown_operator.runtime.execution import Executor
from gastown_operator.runtime.gate import EXPIRY
from gastown_operator.runtime.helpers import controller_reference
from gastown_operator.runtime.lifecycle import GRACE
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.objects import ObjectKey, PartialObject, Resource
from gastown_operator.runtime.plan import Create, Plan
from gastown_operator.runtime.queue import Request
from gastown_operator.runtime.server import Address
from gastown_operator.runtime.store import Store
from gastown_operator.runtime.testing import VirtualClock
from tests.faults.conftest import CONFIG_MAP, running, until
from tests.faults.scripted_server import Raw, ScriptedServer, commit_then_cut, refuse

pytestmark = pytest.mark.anyio

SECRET = Resource("", "v1", "Secret", "secrets", namespaced=True, project=PartialObject.project)
OWNERS = "/api/v1/namespaces/ns/configmaps"
CHILDREN = "/api/v1/namespaces/ns/secrets"


def owner(name: str) -> Raw:
    return {"metadata": {"name": name, "namespace": "ns"}}


@define
class ChildMaker:
    """Gives each config map a numbered child until the cache shows `wanted` of them: duplicates if it looks too early."""

    owners: Store[PartialObject]
    children: Store[PartialObject]
    executor: Executor
    wanted: int = 1
    reconciles: int = 0
    made: int = 0

    async def reconcile(self, key: ObjectKey) -> Result:
        self.reconciles += 1
        found = self.owners.get(key)
        if found is None:
            return Result()
        present = self.children.by_index("owner", key.name)
        if len(present) >= self.wanted:
            return Result()
        self.made += 1
        body = {
            "metadata": {
                "name": f"{key.name}-{self.made}",
                "namespace": key.namespace,
                "ownerReferences": [controller_reference(CONFIG_MAP, found.metadata)],
            }
        }
        execution = await self.executor.execute(CONFIG_MAP, found, Plan((Create(SECRET, body),)))
        return Result(execution.requeue_after)


def owner_name(child: PartialObject) -> tuple[str, ...]:
    controller = child.metadata.controller
    return (controller.name,) if controller else ()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def manager(server: ScriptedServer, clock: VirtualClock) -> Manager:
    return Manager(Connection(server.url), Options("tests"), clock)


def child_maker(manager: Manager, wanted: int = 1) -> ChildMaker:
    children = manager.store(SECRET, {"owner": owner_name})
    maker = ChildMaker(manager.store(CONFIG_MAP), children, manager.executor("maker"), wanted)
    watches = [for_object(CONFIG_MAP), owned_by(SECRET, CONFIG_MAP)]
    manager.add(Controller("maker", maker, watches, concurrency=8))
    return maker


async def test_a_lagging_cache_never_makes_a_second_child(server: ScriptedServer, manager: Manager) -> None:
    """Pitfall 7: 100 owners, ten wake-ups each while the watch is silent, and one child each in the end."""
    child_maker(manager)
    async with running(manager):
        for number in range(100):
            server.put(f"{OWNERS}/o-{number}", owner(f"o-{number}"))
        await until(lambda: len(manager.store(CONFIG_MAP)) == 100)
        server.hold_events()
        await until(lambda: len(server.sent(verb="POST")) == 100)
        for _ in range(10):
            for number in range(100):
                manager.queue.add(Request("maker", ObjectKey("ns", f"o-{number}")))
            await until(lambda: not manager.queue.state("maker").ready_by_priority)
        server.release_events()
        await until(lambda: len(manager.store(SECRET)) == 100)
        await until(lambda: not manager.queue.state("maker").processing)
    assert len(server.sent(verb="POST")) == 100
    assert manager.registry.get_sample_value("stale_sync_skips_total", {"controller": "maker"}) == 1000


async def test_without_the_gate_the_same_lag_makes_duplicates(
    server: ScriptedServer, clock: VirtualClock, manager: Manager
) -> None:
    """The gate opens when its time is over: what the test above proves is the gate's doing."""
    maker = child_maker(manager)
    async with running(manager):
        server.put(f"{OWNERS}/o", owner("o"))
        await until(lambda: len(manager.store(CONFIG_MAP)) == 1)
        server.hold_events()
        await until(lambda: maker.made == 1)
        await until(lambda: not manager.queue.state("maker").processing)
        clock.move(EXPIRY)
        manager.queue.add(Request("maker", ObjectKey("ns", "o")))
        await until(lambda: maker.made == 2)


async def test_a_deleted_owner_forgets_what_it_wrote(server: ScriptedServer, manager: Manager) -> None:
    maker = child_maker(manager)
    async with running(manager):
        server.put(f"{OWNERS}/o", owner("o"))
        await until(lambda: maker.made == 1)
        await until(lambda: len(manager.store(SECRET)) == 1)
        before = maker.reconciles
        server.drop(f"{OWNERS}/o")
        await until(lambda: maker.reconciles > before)
    assert len(server.sent(verb="POST")) == 1


async def test_a_creation_cut_off_after_it_happened_is_one_child(
    server: ScriptedServer, manager: Manager
) -> None:
    """Pitfall 13, end to end."""
    server.script("POST", *[commit_then_cut(server)] * 5)
    child_maker(manager)
    async with running(manager):
        for number in range(5):
            server.put(f"{OWNERS}/o-{number}", owner(f"o-{number}"))
        await until(lambda: len(manager.store(SECRET)) == 5)
    assert len(server.sent(verb="POST")) == 5


async def test_conflicts_are_no_errors_and_do_not_escalate(
    server: ScriptedServer, clock: VirtualClock, manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    """Pitfall 8."""
    server.script("POST", *[refuse(409, "Conflict")] * 3)
    child_maker(manager)
    async with running(manager):
        server.put(f"{OWNERS}/o", owner("o"))
        for _ in range(3):
            await until(lambda: manager.queue.state("maker").delayed)
            await clock.advance(1)
        await until(lambda: len(manager.store(SECRET)) == 1)
    sample = manager.registry.get_sample_value
    assert sample("api_conflicts_total", {"controller": "maker"}) == 3
    assert sample("controller_runtime_reconcile_errors_total", {"controller": "maker"}) == 0
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@define
class Slow:
    """Waits in each reconcile until it may end; notices a second worker on its key."""

    gate: anyio.Event = field(factory=anyio.Event)
    inside: set[ObjectKey] = field(factory=set)
    finished: int = 0

    async def reconcile(self, key: ObjectKey) -> Result:
        assert key not in self.inside
        self.inside.add(key)
        try:
            await self.gate.wait()
            self.finished += 1
        finally:
            self.inside.remove(key)
        return Result()


async def test_a_key_is_never_in_two_hands_and_never_forgotten(
    server: ScriptedServer, manager: Manager
) -> None:
    """Pitfall 19, end to end."""
    slow = Slow()
    manager.add(Controller("slow", slow, [for_object(CONFIG_MAP)], concurrency=4))
    async with running(manager):
        server.put(f"{OWNERS}/o", owner("o"))
        await until(lambda: slow.inside)
        server.put(f"{OWNERS}/o", owner("o"))
        await until(lambda: manager.queue.state("slow").ready_by_priority)
        slow.gate.set()
        await until(lambda: slow.finished == 2)


async def test_stopping_lets_reconciles_end_and_starts_no_more(
    server: ScriptedServer, manager: Manager
) -> None:
    """Pitfall 28."""
    slow = Slow()
    manager.add(Controller("slow", slow, [for_object(CONFIG_MAP)], concurrency=1))
    server.put(f"{OWNERS}/a", owner("a"))
    server.put(f"{OWNERS}/b", owner("b"))
    async with anyio.create_task_group() as group:
        group.start_soon(manager.run)
        await until(lambda: slow.inside)
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: manager.queue.state("slow").ready_by_priority == {})
        slow.gate.set()
    assert slow.finished == 1


async def test_a_reconcile_that_will_not_end_is_cancelled_after_the_grace(
    server: ScriptedServer, clock: VirtualClock, manager: Manager
) -> None:
    slow = Slow()
    manager.add(Controller("slow", slow, [for_object(CONFIG_MAP)], concurrency=1, reconcile_deadline=None))
    server.put(f"{OWNERS}/a", owner("a"))
    async with anyio.create_task_group() as group:
        group.start_soon(manager.run)
        await until(lambda: slow.inside)
        manager.stop()
        await clock.advance(GRACE - 1)
        assert slow.inside
        await clock.advance(1)
    assert slow.finished == 0
    assert not slow.inside


async def test_a_second_signal_stops_at_once(server: ScriptedServer, manager: Manager) -> None:
    slow = Slow()
    manager.add(Controller("slow", slow, [for_object(CONFIG_MAP)], concurrency=1))
    server.put(f"{OWNERS}/a", owner("a"))
    ended: list[Exception] = []

    async def run() -> None:
        try:
            await manager.run()
        except StoppedAtOnce as error:
            ended.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await until(lambda: slow.inside)
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: manager.queue.state("slow").processing and manager.stopping)
        os.kill(os.getpid(), signal.SIGINT)
    assert slow.finished == 0
    assert len(ended) == 1


async def test_no_controller_runs_before_every_cache_is_complete(
    server: ScriptedServer, clock: VirtualClock, manager: Manager
) -> None:
    server.script("GET", refuse(503, "ServiceUnavailable"), watches=True)
    maker = child_maker(manager)
    server.put(f"{OWNERS}/o", owner("o"))
    async with running(manager):
        await until(lambda: len(manager.store(CONFIG_MAP)) + len(manager.store(SECRET)) == 1)
        await anyio.wait_all_tasks_blocked()
        assert maker.reconciles == 0
        problem = manager.readyz.run()
        assert not problem.healthy
        assert "Backoff (GET" in problem.text
        await clock.advance(2)
        await until(lambda: maker.made == 1)
        assert manager.readyz.run().healthy


async def test_steady_state_writes_nothing(server: ScriptedServer, manager: Manager) -> None:
    """Pitfall 9: waking everybody again changes nothing."""
    maker = child_maker(manager)
    async with running(manager):
        for number in range(20):
            server.put(f"{OWNERS}/o-{number}", owner(f"o-{number}"))
        await until(lambda: len(manager.store(SECRET)) == 20)
        await until(lambda: not manager.queue.state("maker").processing)
        writes, reconciles = len(server.sent(verb="POST")), maker.reconciles
        for _ in range(3):
            for value in manager.store(CONFIG_MAP).values():
                manager.queue.add(Request("maker", value.metadata.key))
            await until(lambda: not manager.queue.state("maker").ready_by_priority)
        await until(lambda: maker.reconciles == reconciles + 60)
    assert len(server.sent(verb="POST")) == writes
    assert len(server.sent(verb="PATCH")) == 0


async def test_serves_metrics_and_health_while_it_runs(server: ScriptedServer) -> None:
    with_ports = Options(
        "tests",
        metrics_address=Address("127.0.0.1", 0),
        health_address=Address("127.0.0.1", 0),
    )
    manager = Manager(Connection(server.url), with_ports, SystemClock())
    child_maker(manager)
    async with running(manager), aiohttp.ClientSession() as session:
        await until(lambda: manager.readyz.run().healthy)
        metrics_port, health_port = manager.ports
        async with session.get(f"http://127.0.0.1:{health_port}/readyz?verbose") as response:
            assert response.status == 200
            assert await response.text() == "[+]caches ok\nreadyz check passed\n"
        async with session.get(f"http://127.0.0.1:{metrics_port}/metrics") as response:
            text = await response.text()
    assert 'controller_runtime_reconcile_total{controller="maker",result="success"} 0.0' in text
    assert 'informer_objects{resource="secrets"} 0.0' in text


async def test_an_address_that_is_taken_is_one_clear_error(server: ScriptedServer) -> None:
    port = int(server.url.rpartition(":")[2])
    manager = Manager(
        Connection(server.url), Options("tests", metrics_address=Address("127.0.0.1", port)), SystemClock()
    )
    with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}: "):
        await manager.run()


async def test_namespaces_are_watched_one_by_one_and_cluster_kinds_once(server: ScriptedServer) -> None:
    node = Resource("", "v1", "Node", "nodes", namespaced=False, project=PartialObject.project)
    manager = Manager(Connection(server.url), Options("tests", namespaces=("one", "two")), VirtualClock())
    manager.store(CONFIG_MAP, label_selector="app=x")
    manager.store(node)
    with pytest.raises(ValueError, match="other selectors"):
        manager.store(CONFIG_MAP, label_selector="app=y")
    async with running(manager):
        await until(lambda: manager.readyz.run().healthy)
    paths = sorted((request.path, request.query.get("labelSelector")) for request in server.requests)
    assert paths == [
        ("/api/v1/namespaces/one/configmaps", "app=x"),
        ("/api/v1/namespaces/two/configmaps", "app=x"),
        ("/api/v1/nodes", None),
    ]


async def test_an_object_that_does_not_fit_becomes_an_event(server: ScriptedServer, manager: Manager) -> None:
    server.put(f"{OWNERS}/bad", {"metadata": {"name": "bad", "namespace": "ns", "finalizers": 3}})
    server.put(f"{OWNERS}/good", owner("good"))
    maker = child_maker(manager)
    async with running(manager):
        await until(lambda: maker.made == 1)
        await until(lambda: server.sent(verb="POST", path="/apis/events.k8s.io/v1/namespaces/ns/events"))
    event = server.sent(path="/apis/events.k8s.io/v1/namespaces/ns/events")[0].body
    assert event["reason"] == "MalformedObject"
    assert event["regarding"]["name"] == "bad"


async def test_a_kind_can_be_watched_by_name_and_in_a_namespace_beyond_those_of_the_manager(
    server: ScriptedServer, clock: VirtualClock
) -> None:
    """RBAC can allow a watch of one name only (`resourceNames`), and only with this field selector."""
    manager = Manager(Connection(server.url), Options("tests", namespaces=("ns",)), clock)
    cache = manager.store(SECRET, field_selector="metadata.name=o", also_in=["system", "ns"])
    async with running(manager):
        await until(lambda: cache.synced)
    watches = {
        (request.path, request.query.get("fieldSelector"))
        for request in server.sent(verb="GET", watches=True)
    }
    assert watches == {
        ("/api/v1/namespaces/ns/secrets", "metadata.name=o"),
        ("/api/v1/namespaces/system/secrets", "metadata.name=o"),
    }
    assert cache.covers("system")


async def test_caches_of_one_kind_are_added_up_in_the_metrics(
    server: ScriptedServer, manager: Manager
) -> None:
    first, second = (
        Resource("", "v1", "Secret", "secrets", namespaced=True, project=Named(name)) for name in ("a", "b")
    )
    stores = [manager.store(first), manager.store(second)]
    server.put(f"{CHILDREN}/a", {"metadata": {"name": "a", "namespace": "ns"}})
    async with running(manager):
        await until(lambda: all(len(store) == 1 for store in stores))
    assert manager.registry.get_sample_value("informer_objects", {"resource": "secrets"}) == 2


@frozen
class Named:
    """A projection that differs from another of its class."""

    name: str

    def __call__(self, raw: Mapping[str, Any]) -> PartialObject:
        return PartialObject.project(raw)


async def test_a_client_of_its_own_repeats_nothing_and_asks_no_lease(
    server: ScriptedServer, manager: Manager
) -> None:
    server.script("PATCH", refuse(500, "InternalError"))
    server.put(f"{CHILDREN}/a", {"metadata": {"name": "a", "namespace": "ns"}})
    client = manager.unfenced_client("tests", 5.0)
    with pytest.raises(InternalError):
        await client.merge_patch(SECRET, ObjectKey("ns", "a"), {}, "tests")
    assert len(server.sent(verb="PATCH")) == 1
    assert manager.may_write()
    await manager.close()
