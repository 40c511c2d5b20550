"""What is fresh, and what is well, does not wait for what is old, and what is not (pitfalls 17, 18)."""

from collections.abc import Callable

import anyio
import pytest
from attrs import define, field

from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.controller import Controller, Reconciler, Result, for_object
from gastown_operator.runtime.lifecycle import GRACE
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.testing import VirtualClock
from tests.faults.conftest import CONFIG_MAP, running, until
from tests.faults.scripted_server import ScriptedServer

pytestmark = pytest.mark.anyio

PATH = "/api/v1/namespaces/ns/configmaps"
WORKERS = 4
DEADLINE = 60.0
Controlled = Callable[[Reconciler], Manager]


def put(server: ScriptedServer, name: str) -> None:
    server.put(f"{PATH}/{name}", {"metadata": {"name": name, "namespace": "ns"}})


@define
class Attentive:
    """Notes whom it was given, in that order; waits at the first ones until it may go on."""

    gate: anyio.Event = field(factory=anyio.Event)
    seen: list[str] = field(factory=list)

    async def reconcile(self, key: ObjectKey) -> Result:
        self.seen.append(key.name)
        await self.gate.wait()
        return Result()


@define
class Fragile:
    """Notes who was done; hangs at some and fails at others, however often it is asked."""

    done: list[str] = field(factory=list)
    asked: list[str] = field(factory=list)

    async def reconcile(self, key: ObjectKey) -> Result:
        self.asked.append(key.name)
        if key.name.startswith("hangs"):
            await anyio.sleep_forever()
        if key.name.startswith("fails"):
            raise RuntimeError(key.name)
        self.done.append(key.name)
        return Result()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def controlled(server: ScriptedServer, clock: VirtualClock) -> Controlled:
    def made(reconciler: Reconciler) -> Manager:
        manager = Manager(Connection(server.url), Options("tests"), clock)
        watches = [for_object(CONFIG_MAP)]
        manager.add(Controller("one", reconciler, watches, concurrency=WORKERS, reconcile_deadline=DEADLINE))
        return manager

    return made


async def test_a_fresh_edit_is_next_however_many_objects_were_there_at_the_start(
    server: ScriptedServer, controlled: Controlled
) -> None:
    """Pitfall 17: the workers have one old object each when the edit comes; the next one is the edited."""
    for number in range(5000):
        put(server, f"old-{number:04}")
    attentive = Attentive()
    manager = controlled(attentive)
    async with running(manager):
        await until(lambda: len(attentive.seen) == WORKERS)
        put(server, "old-4999")
        await until(lambda: manager.queue.state("one").ready_by_priority.get(0))
        attentive.gate.set()
        await until(lambda: "old-4999" in attentive.seen)
        manager.stop()
    assert attentive.seen.index("old-4999") == WORKERS


async def test_objects_at_which_every_worker_hangs_hold_up_the_others_for_one_deadline_only(
    server: ScriptedServer, clock: VirtualClock, controlled: Controlled
) -> None:
    """Pitfall 18, at its worst: as many of them as there are workers, and all of them first."""
    fragile = Fragile()
    manager = controlled(fragile)
    async with running(manager):
        for number in range(WORKERS):
            put(server, f"hangs-{number}")
        await until(lambda: len(fragile.asked) == WORKERS)
        for number in range(200):
            put(server, f"well-{number}")
        await until(lambda: len(manager.store(CONFIG_MAP)) == WORKERS + 200)
        assert fragile.done == []
        await clock.advance(DEADLINE - 1)
        assert fragile.done == []
        await clock.advance(1)
        await until(lambda: len(fragile.done) == 200)
        assert clock.monotonic() == DEADLINE
    assert (
        manager.registry.get_sample_value(
            "controller_runtime_reconcile_timeouts_total", {"controller": "one"}
        )
        == WORKERS
    )


async def test_one_object_that_always_hangs_delays_nobody(
    server: ScriptedServer, clock: VirtualClock, controlled: Controlled
) -> None:
    """Pitfall 18: its worker comes back with the deadline, and its own delay keeps it from the next for longer and longer."""
    fragile = Fragile()
    manager = controlled(fragile)
    put(server, "hangs")
    async with running(manager):
        await until(lambda: fragile.asked)
        for minute in range(1, 5):
            put(server, f"well-{minute}")
            await until(lambda: f"well-{minute}" in fragile.done)  # noqa: B023 - asked within this turn
            assert manager.queue.state("one").ready_by_priority == {}
            await clock.advance(DEADLINE + 1)
        manager.stop()
        await clock.advance(GRACE)
    assert fragile.asked.count("hangs") >= 4
    assert sorted(fragile.done) == sorted(f"well-{minute}" for minute in range(1, 5))


async def test_one_object_that_always_fails_delays_nobody_and_is_asked_less_and_less(
    server: ScriptedServer, clock: VirtualClock, controlled: Controlled
) -> None:
    fragile = Fragile()
    manager = controlled(fragile)
    put(server, "fails")
    async with running(manager):
        await until(lambda: fragile.asked)
        for second in range(1, 11):
            await clock.advance(1)
            put(server, f"well-{second}")
            await until(lambda: f"well-{second}" in fragile.done)  # noqa: B023 - asked within this turn
    assert 10 <= fragile.asked.count("fails") <= 13  # 5 ms, doubled each time
