"""The cache against a model of plain dictionaries: changes, duplicates, relists, bookmarks, indexes and who waits (pitfalls 1, 23)."""

from collections.abc import Coroutine
from typing import Any

from attrs import define, evolve, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gastown_operator.runtime.objects import ObjectKey, ObjectMeta, PartialObject, Resource
from gastown_operator.runtime.store import Event, EventType, Store

THING = Resource("example.com", "v1", "Thing", "things", namespaced=True, project=PartialObject.project)
NAMESPACES = ("one", "two")
COLORS = ("red", "blue")
namespaces = st.sampled_from(NAMESPACES)
names = st.sampled_from("abcd")
colors = st.sampled_from(["", *COLORS])


def by_color(value: PartialObject) -> tuple[str, ...]:
    color = value.metadata.labels.get("color")
    return (color,) if color else ()


def by_name(value: PartialObject) -> tuple[str, ...]:
    return (value.metadata.name,)


def at_once(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that has no reason to wait."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise AssertionError("it waited")


@define
class Namespace:
    """The model of a partition: what the server has there, what the cache shows, and how far that has come."""

    server: dict[str, PartialObject] = field(factory=dict)
    shown: dict[str, PartialObject] = field(factory=dict)
    version: int = 0
    synced: bool = False
    waiting: list[int] = field(factory=list)
    reached: list[int] = field(factory=list)

    def came_to(self, version: int) -> None:
        """Move on, and let go who waited for that."""
        self.version = max(self.version, version)
        self.release()

    def release(self) -> None:
        self.reached += sorted(each for each in self.waiting if each <= self.version)
        self.waiting = [each for each in self.waiting if each > self.version]


class StoreMachine(RuleBasedStateMachine):
    """A server changes; its watches tell of it, repeat themselves, break off and list. Store and model must read the same."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(THING)
        self.store.add_index("color", by_color)
        for namespace in NAMESPACES:
            self.store.partition(namespace)
        self.model = {namespace: Namespace() for namespace in NAMESPACES}
        self.reached: dict[str, list[int]] = {namespace: [] for namespace in NAMESPACES}
        self.told: dict[ObjectKey, PartialObject] = {}
        self.events: list[Event[PartialObject]] = []
        self.version = self.uids = 0
        self.indexed = False
        self.store.add_handler(self.hear)

    def hear(self, event: Event[PartialObject]) -> None:
        """Build the state from the events alone: it must come out the same, and each event must fit the one before."""
        self.events.append(event)
        key = event.object.metadata.key
        assert event.old == self.told.get(key)
        if event.new is None:
            del self.told[key]
            return
        if event.old is not None:
            assert event.old.metadata.uid == event.new.metadata.uid
            assert event.old != event.new
        self.told[key] = event.new

    def changed(self, namespace: str, name: str, color: str) -> PartialObject:
        """Create an object on the server, or change it."""
        self.version += 1
        known = self.model[namespace].server.get(name)
        if known is None:
            self.uids += 1
        uid = known.metadata.uid if known is not None else f"uid-{self.uids}"
        labels = {"color": color} if color else {}
        value = PartialObject(ObjectMeta(name, namespace, uid, self.version, labels=labels))
        self.model[namespace].server[name] = value
        return value

    def gone(self, namespace: str, name: str) -> bool:
        """Delete an object from the server; tell whether it was there."""
        self.version += 1
        return self.model[namespace].server.pop(name, None) is not None

    @rule(namespace=namespaces, name=names, color=colors, copies=st.integers(1, 2))
    def a_watch_tells_of_a_change(self, namespace: str, name: str, color: str, copies: int) -> None:
        model, partition = self.model[namespace], self.store.partition(namespace)
        if self.missed(namespace, name):
            return
        value = self.changed(namespace, name, color)
        for _ in range(copies):
            partition.put(value)
        model.shown[name] = value
        model.came_to(self.version)

    def missed(self, namespace: str, name: str) -> bool:
        """Whether the cache lacks a deletion of this name: a watch tells in order, so no change can come before a relist."""
        model = self.model[namespace]
        shown, present = model.shown.get(name), model.server.get(name)
        return shown is not None and (present is None or present.metadata.uid != shown.metadata.uid)

    @rule(namespace=namespaces, name=names, copies=st.integers(1, 2))
    def a_watch_tells_of_a_deletion(self, namespace: str, name: str, copies: int) -> None:
        model, partition = self.model[namespace], self.store.partition(namespace)
        self.gone(namespace, name)
        for _ in range(copies):
            partition.remove(ObjectKey(namespace, name), self.version)
        model.shown.pop(name, None)
        model.came_to(self.version)

    @rule(namespace=namespaces, name=names, color=colors)
    def a_change_is_missed(self, namespace: str, name: str, color: str) -> None:
        self.changed(namespace, name, color)

    @rule(namespace=namespaces, name=names)
    def a_deletion_is_missed(self, namespace: str, name: str) -> None:
        self.gone(namespace, name)

    @rule(namespace=namespaces, name=names, color=colors)
    def a_recreation_is_missed(self, namespace: str, name: str, color: str) -> None:
        self.gone(namespace, name)
        self.changed(namespace, name, color)

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def an_old_state_comes_late(self, data: st.DataObject) -> None:
        """What came before is told again, as it was or with an older version: nothing changes."""
        value = self.told[data.draw(st.sampled_from(sorted(self.told)))]
        version = data.draw(st.integers(0, value.metadata.resource_version))
        before = len(self.events)
        old = evolve(
            value, metadata=evolve(value.metadata, resource_version=version, labels={"color": "old"})
        )
        self.store.partition(value.metadata.namespace).put(old)
        self.model[value.metadata.namespace].came_to(version)
        assert len(self.events) == before

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def an_old_deletion_comes_late(self, data: st.DataObject) -> None:
        """The deletion of a predecessor is told again: the present object stays."""
        value = self.told[data.draw(st.sampled_from(sorted(self.told)))]
        version = data.draw(st.integers(1, max(1, value.metadata.resource_version - 1)))
        if version < value.metadata.resource_version:
            self.store.partition(value.metadata.namespace).remove(value.metadata.key, version)
            self.model[value.metadata.namespace].came_to(version)

    @rule(namespace=namespaces, by=st.integers(0, 3))
    def a_bookmark_comes(self, namespace: str, by: int) -> None:
        self.version += by
        self.store.partition(namespace).advance(self.version)
        self.model[namespace].came_to(self.version)

    @rule(namespace=namespaces, back=st.sampled_from([0, 0, 0, 2]))
    def everything_is_listed(self, namespace: str, back: int) -> None:
        """The cache takes over what the server has, be its version older than ours (it was restored from a backup)."""
        model, partition = self.model[namespace], self.store.partition(namespace)
        version = max(0, self.version - back)
        model.server = {
            name: value for name, value in model.server.items() if value.metadata.resource_version <= version
        }
        table = partition.scratch()
        for value in model.server.values():
            table.put(value)
        before, self.events[:] = dict(model.shown), []
        at_once(partition.replace(table, version))
        assert self.differences(before, model.server, initial=not model.synced) == sorted(
            map(_summary, self.events)
        )
        model.shown, model.version, model.synced = dict(model.server), version, True
        model.release()

    def differences(
        self, before: dict[str, PartialObject], after: dict[str, PartialObject], *, initial: bool
    ) -> list[tuple[str, str, bool, bool]]:
        """What a relist has to tell: kind, name, whether it is initial, whether the last state is unknown."""
        found = []
        for name in before.keys() | after.keys():
            old, new = before.get(name), after.get(name)
            if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
                found.append((EventType.DELETED.value, name, False, True))
                old = None
            if new is not None and old is None:
                found.append((EventType.ADDED.value, name, initial, False))
            elif new is not None and new != old:
                found.append((EventType.MODIFIED.value, name, False, False))
        return sorted(found)

    @rule(namespace=namespaces, ahead=st.integers(-2, 4))
    def somebody_waits_for_a_version(self, namespace: str, ahead: int) -> None:
        version = max(0, self.version + ahead)
        self.store.when(namespace, version, lambda: self.reached[namespace].append(version))
        self.model[namespace].waiting.append(version)
        self.model[namespace].release()

    @rule()
    def an_index_is_added(self) -> None:
        self.store.add_index("name", by_name)
        self.indexed = True

    @invariant()
    def reads_like_the_model(self) -> None:
        shown = {
            ObjectKey(namespace, name): value
            for namespace, model in self.model.items()
            for name, value in model.shown.items()
        }
        assert self.told == shown
        assert self.store.values() == tuple(shown[key] for key in sorted(shown))
        assert len(self.store) == len(shown)
        for key in (ObjectKey(namespace, name) for namespace in NAMESPACES for name in "abcd"):
            assert self.store.get(key) == shown.get(key)
        for color in COLORS:
            expected = [value for _, value in sorted(shown.items()) if by_color(value) == (color,)]
            assert list(self.store.by_index("color", color)) == expected
        if self.indexed:
            for name in "abcd":
                named = [value for _, value in sorted(shown.items()) if value.metadata.name == name]
                assert list(self.store.by_index("name", name)) == named

    @invariant()
    def has_come_as_far_as_the_model(self) -> None:
        for namespace, model in self.model.items():
            assert self.store.resource_version_of(namespace) == model.version
            assert self.reached[namespace] == model.reached
        assert self.store.resource_version == min(model.version for model in self.model.values())
        assert self.store.synced == all(model.synced for model in self.model.values())


def _summary(event: Event[PartialObject]) -> tuple[str, str, bool, bool]:
    return event.type.value, event.object.metadata.name, event.initial, event.final_state_unknown


TestStoreModel = StoreMachine.TestCase
TestStoreModel.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
