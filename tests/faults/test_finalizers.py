"""A thing outside of the cluster and the finalizer that guards it, with a death or a deletion at every step (pitfall 21)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest
from aiohttp import web
from attrs import define, field, frozen

from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.controller import Controller, Result, for_object
from gastown_operator.runtime.execution import Executor
from gastown_operator.runtime.helpers import add_finalizer, has_finalizer, remove_finalizer
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.objects import ObjectKey, PartialObject, Resource
from gastown_operator.runtime.plan import Apply, Delete, Plan
from gastown_operator.runtime.store import Store
from gastown_operator.runtime.testing import VirtualClock
from tests.faults.conftest import CONFIG_MAP
from tests.faults.scripted_server import Raw, ScriptedServer, cut, cut_off, refuse

pytestmark = pytest.mark.anyio

SECRET = Resource("", "v1", "Secret", "secrets", namespaced=True, project=PartialObject.project)
OBJECT = "/api/v1/namespaces/ns/configmaps/o"
THING = "/api/v1/namespaces/outside/secrets/o"
FINALIZER = "tests.example.com/thing"
THEIRS = "somebody.example.com/else"
WRITES = 4  # add the finalizer, make the thing, unmake it, remove the finalizer


@define
class Guardian:
    """Makes a thing for each object, and takes it away before the object goes."""

    objects: Store[PartialObject]
    things: Store[PartialObject]
    executor: Executor

    async def reconcile(self, key: ObjectKey) -> Result:
        found = self.objects.get(key)
        if found is not None:
            execution = await self.executor.execute(CONFIG_MAP, found, self.plan(found))
            return Result(5.0 if execution.refusal is not None else None)
        return Result()

    def plan(self, found: PartialObject) -> Plan:
        metadata, where = found.metadata, ObjectKey("outside", found.metadata.name)
        thing = self.things.get(where)
        if metadata.deletion_timestamp is not None:
            if not has_finalizer(metadata, FINALIZER):
                return Plan()
            unmake = [Delete(SECRET, where, thing.metadata.uid)] if thing is not None else []
            return Plan((*unmake, remove_finalizer(CONFIG_MAP, metadata, FINALIZER)))
        if not has_finalizer(metadata, FINALIZER):
            return Plan((add_finalizer(CONFIG_MAP, metadata, FINALIZER),))
        return Plan((Apply(SECRET, where, {"data": {}}),)) if thing is None else Plan()


@define
class Accident:
    """Does something at one of the writes, before or after it is done; `deadly`: the process dies of it."""

    server: ScriptedServer
    step: int
    before: bool
    event: Callable[[], Any]
    deadly: bool
    writes: int = 0
    happened: bool = False

    def __attrs_post_init__(self) -> None:
        for verb in ("POST", "PATCH", "DELETE"):
            self.server.script(verb, *[self.answer] * 50)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.writes += 1
        if self.writes != self.step:
            return await self.server.api(request)
        if self.before:
            self.event()
            self.happened = True
            return await (cut(request) if self.deadly else self.server.api(request))
        response = await self.server.api(request)
        self.event()
        self.happened = True
        if self.deadly:
            cut_off(request)
        return response


@frozen
class World:
    """The server, the time, and one process after another."""

    server: ScriptedServer
    clock: VirtualClock = field(factory=VirtualClock)

    async def run(self, end: Callable[[], Any], death: Callable[[], Any] = lambda: False) -> None:
        """Let a process work until something is so, or until it dies."""
        manager = Manager(Connection(self.server.url), Options("tests"), self.clock)
        stores = manager.store(CONFIG_MAP), manager.store(SECRET)
        guardian = Guardian(*stores, manager.executor("guardian"))
        manager.add(Controller("guardian", guardian, [for_object(CONFIG_MAP)], concurrency=2))
        async with anyio.create_task_group() as group:
            group.start_soon(manager.run)
            with anyio.fail_after(20):
                while not (end() or death()):
                    await self.clock.advance(0.05)
            if death():
                group.cancel_scope.cancel()
            manager.stop()

    def made(self) -> bool:
        return THING in self.server.objects

    def gone(self) -> bool:
        return OBJECT not in self.server.objects

    def delete(self) -> None:
        """Delete the object, as its user does; not twice."""
        if not self.gone():
            self.server.delete(OBJECT)


@pytest.fixture
def world(server: ScriptedServer) -> World:
    server.put(OBJECT, {"metadata": {"name": "o", "namespace": "ns"}})
    return World(server)


def nothing() -> None:
    """Happen, and do no more than that."""


@pytest.mark.parametrize("before", [True, False], ids=["before it is done", "after it was done"])
@pytest.mark.parametrize("step", range(1, WRITES + 1))
async def test_whichever_write_the_process_dies_at_the_object_and_its_thing_are_gone_in_the_end(
    world: World, step: int, before: bool
) -> None:
    accident = Accident(world.server, step, before, nothing, deadly=True)
    await world.run(world.made, lambda: accident.happened)
    if step <= 2:
        assert accident.happened
        await world.run(world.made)
    world.delete()
    await world.run(world.gone, lambda: step > 2 and accident.happened)
    assert accident.happened
    await world.run(world.gone)
    assert not world.made()


@pytest.mark.parametrize("before", [True, False], ids=["before it is done", "after it was done"])
@pytest.mark.parametrize("step", [1, 2])
async def test_an_object_that_is_deleted_while_it_is_set_up_is_gone_in_the_end(
    world: World, step: int, before: bool
) -> None:
    Accident(world.server, step, before, world.delete, deadly=False)
    await world.run(world.gone)
    assert not world.made()


async def test_a_thing_that_somebody_else_took_away_does_not_keep_the_object(world: World) -> None:
    await world.run(world.made)
    Accident(world.server, 1, before=True, event=partial(world.server.drop, THING), deadly=False)
    world.delete()
    await world.run(world.gone)


async def test_an_object_goes_while_nothing_may_be_created_any_more(world: World) -> None:
    """A namespace that is being deleted takes no new objects."""
    world.server.script("PATCH", world.server.api)
    world.server.script("PATCH", *[refuse(403, "Forbidden", "ns is being terminated")] * 3)
    await world.run(lambda: len(world.server.sent(verb="PATCH")) == 3)
    world.delete()
    await world.run(world.gone)
    assert not world.made()


async def test_a_finalizer_that_another_adds_meanwhile_is_kept(world: World) -> None:
    def theirs() -> None:
        known: Raw = world.server.objects[OBJECT]
        metadata = {**known["metadata"], "finalizers": [*known["metadata"]["finalizers"], THEIRS]}
        world.server.put(OBJECT, {**known, "metadata": metadata})

    await world.run(world.made)
    Accident(world.server, 2, before=True, event=theirs, deadly=False)
    world.delete()
    await world.run(lambda: world.server.objects[OBJECT]["metadata"]["finalizers"] == [THEIRS])
    assert not world.gone()
