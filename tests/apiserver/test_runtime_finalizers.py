"""A finalizer flow that crashes before or after any of its writes, and in a namespace that is being deleted (pitfall 21)."""

from collections.abc import AsyncIterator, Iterable
from uuid import uuid4

import pytest
from attrs import define, field, frozen

from gastown_operator.runtime.client import Client
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.controller import Controller, Result, for_object, mapped
from gastown_operator.runtime.errors import Forbidden
from gastown_operator.runtime.execution import Executor
from gastown_operator.runtime.helpers import add_finalizer, has_finalizer, remove_finalizer
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.objects import ObjectKey, PartialObject, Resource
from gastown_operator.runtime.plan import Action, Create, Delete, Plan
from gastown_operator.runtime.store import Event, Store
from tests.apiserver.copier import live, running, until
from tests.support.cluster import CONFIG_MAP

pytestmark = pytest.mark.anyio

NAMESPACE = Resource("", "v1", "Namespace", "namespaces", namespaced=False, project=PartialObject.project)
FINALIZER = "runtime-test.example/effect"
OBJECT = "runtime-test.example/object"
EFFECT_OF = "runtime-test.example/effect-of"
STEPS = ("add", "create", "delete", "remove")


class Crash(Exception):  # noqa: N818 - what happens, not what is wrong
    """The process ends here."""


@frozen
class Point:
    """A moment at which a process crashes, in the name of the object that it works on: `before-add` to `after-remove`."""

    when: str
    step: str

    def __str__(self) -> str:
        return f"{self.when}-{self.step}"


POINTS = [str(Point(when, step)) for step in STEPS for when in ("before", "after")]


@define
class Cleaner:
    """Gives each object an effect in another place, and takes that away before the object may go. One write at a time."""

    objects: Store[PartialObject]
    executor: Executor
    namespace: str
    effects: str
    crashes: bool
    dead: set[str] = field(factory=set)
    refused: int = 0

    async def reconcile(self, key: ObjectKey) -> Result:
        each = self.objects.get(key)
        if each is None or OBJECT not in each.metadata.labels:
            return Result()
        step, action = self._next(each)
        if action is None:
            return Result()
        self._pass(Point("before", step), key)
        execution = await self.executor.execute(CONFIG_MAP, each, Plan((action,)))
        if execution.refusal is not None:
            assert isinstance(execution.refusal.error, Forbidden)
            self.refused += 1
            return Result()
        self._pass(Point("after", step), key)
        return Result()

    def _next(self, each: PartialObject) -> tuple[str, Action | None]:
        metadata = each.metadata
        key = ObjectKey(self.effects, f"effect-{metadata.uid}")
        effect = self.objects.get(key)
        if metadata.deletion_timestamp is None:
            if not has_finalizer(metadata, FINALIZER):
                return "add", add_finalizer(CONFIG_MAP, metadata, FINALIZER)
            labels = {EFFECT_OF: metadata.name}
            body = {"metadata": {"name": key.name, "namespace": key.namespace, "labels": labels}}
            return "create", Create(CONFIG_MAP, body) if effect is None else None
        if effect is not None:
            return "delete", Delete(CONFIG_MAP, key, effect.metadata.uid)
        done = not has_finalizer(metadata, FINALIZER)
        return "remove", None if done else remove_finalizer(CONFIG_MAP, metadata, FINALIZER)

    def _pass(self, point: Point, key: ObjectKey) -> None:
        """End the work on an object for good, if this is the moment that its name says."""
        if self.crashes and (key.name in self.dead or key.name == str(point)):
            self.dead.add(key.name)
            raise Crash(str(point))

    def of_effect(self, event: Event[PartialObject]) -> Iterable[ObjectKey]:
        name = event.object.metadata.labels.get(EFFECT_OF)
        return [ObjectKey(self.namespace, name)] if name else []


@define
class Place:
    """Where the objects are, and where their effects."""

    objects: str
    effects: str

    @property
    def certain(self) -> set[str]:
        """The points that are reached; in a namespace that goes, others may take an effect away before we do."""
        alone = self.objects != self.effects
        return {point for point in POINTS if alone or not point.endswith("delete")}


@pytest.fixture(params=["object", "namespace"])
async def place(request: pytest.FixtureRequest, admin: Client) -> AsyncIterator[Place]:
    """Objects and effects in two namespaces, or, where the namespace is what is deleted, all of them in it."""
    names = [f"test-{uuid4().hex[:12]}" for _ in range(2)]
    for name in names:
        await admin.create(NAMESPACE, {"metadata": {"name": name}}, "test")
    yield Place(names[0], names[0] if request.param == "namespace" else names[1])
    for name in names:
        await admin.delete(NAMESPACE, ObjectKey("", name))


def managed(connection: Connection, place: Place, *, crashes: bool) -> tuple[Manager, Cleaner]:
    namespaces = tuple({place.objects, place.effects})
    manager = Manager(connection, Options("runtime-test", namespaces=namespaces))
    executor = manager.executor("cleaner")
    cleaner = Cleaner(manager.store(CONFIG_MAP), executor, place.objects, place.effects, crashes)
    watches = [for_object(CONFIG_MAP), mapped(CONFIG_MAP, cleaner.of_effect)]
    manager.add(Controller("cleaner", cleaner, watches))
    return manager, cleaner


async def test_whenever_the_process_crashes_the_object_can_go_and_takes_its_effect_along(
    connection: Connection, admin: Client, place: Place
) -> None:
    for name in [*POINTS, "healthy"]:
        metadata = {"name": name, "namespace": place.objects, "labels": {OBJECT: "yes"}}
        await admin.create(CONFIG_MAP, {"metadata": metadata}, "test")
    manager, cleaner = managed(connection, place, crashes=True)
    async with running(manager):
        await until(lambda: len(cleaner.dead) == 4, "crashes while objects come")
        await until(lambda: effects_of(cleaner) >= {"healthy", "before-delete", "after-create"}, "effects")
        await delete(admin, place)
        await until(lambda: cleaner.dead >= place.certain, "crashes while objects go")
    manager, cleaner = managed(connection, place, crashes=False)
    async with running(manager):
        await until(lambda: manager.readyz.run().healthy, "ready")
        await until(lambda: not objects(cleaner), "all objects are gone")
        await until(lambda: not effects_of(cleaner), "all effects are gone")
    left = {key.name for key in await live(admin, CONFIG_MAP, place.effects)}
    assert [name for name in left if name.startswith("effect-")] == []


def objects(cleaner: Cleaner) -> set[str]:
    """Return the names of the objects that there are still."""
    return {each.metadata.name for each in cleaner.objects.values() if OBJECT in each.metadata.labels}


def effects_of(cleaner: Cleaner) -> set[str]:
    """Return the names of the objects that have an effect."""
    return {
        each.metadata.labels[EFFECT_OF]
        for each in cleaner.objects.values()
        if EFFECT_OF in each.metadata.labels
    }


async def delete(admin: Client, place: Place) -> None:
    """Delete every object, or the namespace that they are in."""
    if place.objects == place.effects:
        await admin.delete(NAMESPACE, ObjectKey("", place.objects))
        return
    for name in [*POINTS, "healthy"]:
        await admin.delete(CONFIG_MAP, ObjectKey(place.objects, name))
