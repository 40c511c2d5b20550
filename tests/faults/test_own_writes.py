"""A thousand creations under a watch that lags by two seconds, with a restart in their midst (pitfall 7)."""

from collections.abc import Iterator
from itertools import count

import anyio
import pytest
from attrs import define, field

from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.controller import Controller, Result, for_object, owned_by
from gastown_operator.runtime.execution import Executor
from gastown_operator.runtime.helpers import controller_reference
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.objects import ObjectKey, PartialObject, Resource
from gastown_operator.runtime.plan import Create, Plan
from gastown_operator.runtime.queue import Request
from gastown_operator.runtime.store import Store
from gastown_operator.runtime.testing import VirtualClock
from tests.faults.conftest import CONFIG_MAP, running, until
from tests.faults.scripted_server import ScriptedServer

pytestmark = pytest.mark.anyio

SECRET = Resource("", "v1", "Secret", "secrets", namespaced=True, project=PartialObject.project)
OWNERS = "/api/v1/namespaces/ns/configmaps"
LAG = 2.0
OWNED = 10
OWNER_COUNT = 100


@define
class Parent:
    """Gives each owner the children that the cache does not show, one at a time and under names that nobody has used."""

    owners: Store[PartialObject]
    children: Store[PartialObject]
    executor: Executor
    names: Iterator[int]
    reconciles: int = 0
    wanted: int = OWNED

    async def reconcile(self, key: ObjectKey) -> Result:
        self.reconciles += 1
        found = self.owners.get(key)
        if found is None or len(self.children.by_index("owner", key.name)) >= self.wanted:
            return Result()
        reference = controller_reference(CONFIG_MAP, found.metadata)
        metadata = {
            "name": f"child-{next(self.names)}",
            "namespace": key.namespace,
            "ownerReferences": [reference],
        }
        await self.executor.execute(CONFIG_MAP, found, Plan((Create(SECRET, {"metadata": metadata}),)))
        return Result()


def owner_name(child: PartialObject) -> tuple[str, ...]:
    controller = child.metadata.controller
    return (controller.name,) if controller else ()


@define
class Replica:
    """One run of the process."""

    server: ScriptedServer
    clock: VirtualClock
    names: Iterator[int]
    rounds: int = 0
    manager: Manager = field(init=False)
    parent: Parent = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.manager = Manager(Connection(self.server.url), Options("tests"), self.clock)
        children = self.manager.store(SECRET, {"owner": owner_name})
        executor = self.manager.executor("parent")
        self.parent = Parent(self.manager.store(CONFIG_MAP), children, executor, self.names)
        watches = [for_object(CONFIG_MAP), owned_by(SECRET, CONFIG_MAP)]
        self.manager.add(Controller("parent", self.parent, watches, concurrency=8))

    def idle(self) -> bool:
        state = self.manager.queue.state("parent")
        return not state.processing and not state.ready_by_priority

    def wake_all(self) -> None:
        for number in range(OWNER_COUNT):
            self.manager.queue.add(Request("parent", ObjectKey("ns", f"o-{number}")))

    async def give_each_one_more(self) -> None:
        """Let every owner get a child, and be woken again and again while the cache does not show it."""
        self.rounds += 1
        created = self.rounds * OWNER_COUNT
        await until(lambda: len(children(self.server)) >= created and self.idle())
        for _ in range(2):
            self.wake_all()
            await until(self.idle)

    async def catch_up(self) -> None:
        """Let the time of the lag pass."""
        created = len(children(self.server))
        await self.clock.advance(LAG)
        await until(lambda: len(self.manager.store(SECRET)) >= created)


def children(server: ScriptedServer) -> list[str]:
    return [path for path in server.objects if "/secrets/" in path]


async def test_a_thousand_reconciles_under_lag_and_a_restart_make_exactly_the_children_that_were_wanted(
    server: ScriptedServer,
) -> None:
    clock, names = VirtualClock(), count()
    server.clock, server.lag = clock, LAG
    for number in range(OWNER_COUNT):
        server.put(f"{OWNERS}/o-{number}", {"metadata": {"name": f"o-{number}", "namespace": "ns"}})
    first, second = Replica(server, clock, names), Replica(server, clock, names, OWNED // 2)
    async with running(first.manager):
        for _ in range(OWNED // 2 - 1):
            await first.give_each_one_more()
            await first.catch_up()
        await first.give_each_one_more()  # and it ends before its cache shows them
    async with running(second.manager):
        for _ in range(OWNED // 2):
            await second.give_each_one_more()
            await second.catch_up()
        second.wake_all()
        await until(second.idle)
        await anyio.wait_all_tasks_blocked()
    assert len(children(server)) == len(server.sent(verb="POST")) == OWNER_COUNT * OWNED
    assert first.parent.reconciles + second.parent.reconciles >= 1000
