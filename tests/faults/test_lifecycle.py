"""How a process begins to act, and how it ends, when not everything goes as it should."""

import asyncio
import threading

import anyio
import pytest
from anyio.to_thread import run_sync
from attrs import define, field

from gastown_operator.runtime.clock import SystemClock
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.controller import Controller, Result, for_object
from gastown_operator.runtime.errors import LeadershipLost
from gastown_operator.runtime.lease import LeaseOptions
from gastown_operator.runtime.lifecycle import GRACE
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.queue import LOW_PRIORITY
from gastown_operator.runtime.testing import VirtualClock
from gastown_operator.runtime.watchdog import Watchdog
from tests.faults.conftest import CONFIG_MAP, running, until
from tests.faults.scripted_server import Raw, ScriptedServer, refuse

pytestmark = pytest.mark.anyio

OBJECTS = "/api/v1/namespaces/ns/configmaps"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/ns/leases/election"


def config_map(name: str) -> Raw:
    return {"metadata": {"name": name, "namespace": "ns"}}


def held_by(holder: str) -> Raw:
    metadata = {"name": "election", "namespace": "ns"}
    return {"metadata": metadata, "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15}}


@define
class Journal:
    """Notes what it is asked to look at; `hangs` names the one on which it does not return, and cannot be cancelled."""

    seen: list[str] = field(factory=list)
    hangs: str = ""
    cancelled: str = ""
    go_on: threading.Event = field(factory=threading.Event)

    async def reconcile(self, key: ObjectKey) -> Result:
        self.seen.append(key.name)
        if key.name == self.hangs:
            await run_sync(self.go_on.wait)
        if key.name == self.cancelled:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        return Result()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def manager_of(server: ScriptedServer, clock: VirtualClock, *, elected: bool = False) -> Manager:
    lease = LeaseOptions("election", "ns", "me") if elected else None
    return Manager(Connection(server.url), Options("tests", lease=lease), clock)


def journal(manager: Manager, *, hangs: str = "", cancelled: str = "") -> Journal:
    made = Journal(hangs=hangs, cancelled=cancelled)
    manager.add(Controller("journal", made, [for_object(CONFIG_MAP)], concurrency=1, reconcile_deadline=None))
    return made


async def test_a_standby_fills_its_caches_and_not_its_queue_and_then_looks_at_what_is_there(
    server: ScriptedServer, clock: VirtualClock
) -> None:
    server.put(LEASE, held_by("other"))
    manager = manager_of(server, clock, elected=True)
    made = journal(manager)
    async with running(manager):
        for number in range(50):
            server.put(f"{OBJECTS}/o-{number}", config_map(f"o-{number}"))
        await until(lambda: len(manager.store(CONFIG_MAP)) == 50)
        for number in range(49):
            server.drop(f"{OBJECTS}/o-{number}")
        await until(lambda: len(manager.store(CONFIG_MAP)) == 1)
        assert manager.queue.state("journal").ready_by_priority == {}
        assert manager.readyz.run().healthy
        server.put(LEASE, held_by(""))
        await until(lambda: made.seen)
        assert made.seen == ["o-49"]
    relists = manager.registry.get_sample_value(
        "informer_relists_total", {"resource": "configmaps", "reason": "election"}
    )
    assert relists == 1


async def test_what_was_there_is_looked_at_after_what_happens_now(
    server: ScriptedServer, clock: VirtualClock
) -> None:
    manager = manager_of(server, clock)
    for number in range(3):
        server.put(f"{OBJECTS}/o-{number}", config_map(f"o-{number}"))
    made = journal(manager, hangs="o-0")
    async with running(manager):
        await until(lambda: manager.queue.state("journal").ready_by_priority == {LOW_PRIORITY: 2})
        server.put(f"{OBJECTS}/new", config_map("new"))
        await until(lambda: 0 in manager.queue.state("journal").ready_by_priority)
        made.go_on.set()
        await until(lambda: len(made.seen) == 4)
    assert made.seen[:2] == ["o-0", "new"]


async def test_a_cancellation_from_elsewhere_ends_neither_the_worker_nor_the_controller(
    server: ScriptedServer, clock: VirtualClock
) -> None:
    manager = manager_of(server, clock)
    made = journal(manager, cancelled="bad")
    async with running(manager):
        server.put(f"{OBJECTS}/bad", config_map("bad"))
        await until(lambda: made.seen == ["bad"])
        server.put(f"{OBJECTS}/good", config_map("good"))
        await until(lambda: "good" in made.seen)
    panics = manager.registry.get_sample_value(
        "controller_runtime_reconcile_panics_total", {"controller": "journal"}
    )
    assert panics == 1


async def test_a_lost_lease_is_said_at_once_and_ends_even_what_cannot_be_cancelled(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()
    clock = SystemClock()
    options = Options("tests", lease=LeaseOptions("election", "ns", "me", 4.0, 1.0, 0.2))
    manager = Manager(Connection(server.url), options, clock, watchdog=Watchdog(clock, ended.set))
    made = journal(manager, hangs="o")
    server.put(f"{OBJECTS}/o", config_map("o"))
    lost: list[str] = []

    async def run() -> None:
        try:
            await manager.run()
        except LeadershipLost as error:
            lost.append(str(error))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await until(lambda: made.seen)
        server.put(LEASE, held_by("usurper"))
        await until(lambda: "lost the lease" in caplog.text)
        assert await run_sync(ended.wait, 15.0)  # what ends the process in earnest
        made.go_on.set()
    assert lost == ["lost the lease: it is held by usurper"]


async def test_a_lease_is_not_given_away_while_work_goes_on(
    server: ScriptedServer, clock: VirtualClock
) -> None:
    manager = manager_of(server, clock, elected=True)
    made = journal(manager, hangs="o")
    server.put(f"{OBJECTS}/o", config_map("o"))
    async with anyio.create_task_group() as group:
        group.start_soon(manager.run)
        await until(lambda: made.seen)
        manager.stop()
        while clock.monotonic() < GRACE:
            await clock.advance(1.0)
        made.go_on.set()
    assert server.objects[LEASE]["spec"]["holderIdentity"] == "me"


async def test_a_lease_is_given_away_when_everything_has_ended(
    server: ScriptedServer, clock: VirtualClock
) -> None:
    manager = manager_of(server, clock, elected=True)
    made = journal(manager)
    server.put(f"{OBJECTS}/o", config_map("o"))
    async with running(manager):
        await until(lambda: made.seen)
    assert server.objects[LEASE]["spec"]["holderIdentity"] == ""


async def test_a_stop_is_heard_before_the_first_answer(server: ScriptedServer, clock: VirtualClock) -> None:
    server.script("GET", *[refuse(503, "ServiceUnavailable")] * 50)
    manager = manager_of(server, clock, elected=True)
    journal(manager)
    async with running(manager):
        await server.received(1)
    assert manager.stopping
