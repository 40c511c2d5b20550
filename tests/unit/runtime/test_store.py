"""What the cache promises its readers."""

from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from attrs.exceptions import FrozenInstanceError

from gastown_operator.runtime.objects import ObjectKey, ObjectMeta, PartialObject, Resource
from gastown_operator.runtime.store import Event, EventType, Partition, Store

THING = Resource("example.com", "v1", "Thing", "things", namespaced=True, project=PartialObject.project)


def thing(name: str, version: int, uid: str = "", namespace: str = "ns", **labels: str) -> PartialObject:
    return PartialObject(
        ObjectMeta(name, namespace, uid or f"uid-{name}", resource_version=version, labels=labels)
    )


def by_color(value: PartialObject) -> tuple[str, ...]:
    color = value.metadata.labels.get("color")
    return (color,) if color else ()


def told(store: Store[PartialObject]) -> list[Event[PartialObject]]:
    events: list[Event[PartialObject]] = []
    store.add_handler(events.append)
    return events


async def replace(partition: Partition[PartialObject], version: int, *values: PartialObject) -> None:
    table = partition.scratch()
    for value in values:
        table.put(value)
    await partition.replace(table, version)


@pytest.mark.anyio
async def test_a_relist_tells_what_vanished_what_came_and_what_changed() -> None:
    store = Store(THING)
    store.add_index("color", by_color)
    partition = store.partition()
    await replace(partition, 10, thing("a", 1, color="red"), thing("b", 2, color="red"), thing("c", 3))
    events = told(store)
    await replace(partition, 20, thing("b", 2, color="red"), thing("c", 15), thing("d", 16))
    assert [(event.type, event.object.metadata.name) for event in events] == [
        (EventType.DELETED, "a"),
        (EventType.MODIFIED, "c"),
        (EventType.ADDED, "d"),
    ]
    assert events[0].final_state_unknown
    assert events[0].old == thing("a", 1, color="red")
    assert [value.metadata.name for value in store.by_index("color", "red")] == ["b"]


@pytest.mark.anyio
async def test_a_namesake_with_another_uid_is_a_deletion_and_an_addition() -> None:
    """Pitfall 23."""
    store = Store(THING)
    await replace(store.partition(), 10, thing("a", 1, uid="first"))
    events = told(store)
    await replace(store.partition(), 20, thing("a", 12, uid="second"))
    assert [event.type for event in events] == [EventType.DELETED, EventType.ADDED]


@pytest.mark.anyio
async def test_only_the_first_filling_is_initial() -> None:
    store = Store(THING)
    events = told(store)
    await replace(store.partition(), 10, thing("a", 1))
    await replace(store.partition(), 20, thing("a", 1), thing("b", 15))
    store.partition().put(thing("c", 21))
    assert [(event.object.metadata.name, event.initial) for event in events] == [
        ("a", True),
        ("b", False),
        ("c", False),
    ]


@pytest.mark.anyio
async def test_readers_never_see_half_a_relist() -> None:
    store = Store(THING)
    partition = store.partition()
    await replace(partition, 10, *[thing(f"old-{number}", 1) for number in range(1000)])
    sizes: set[tuple[int, int]] = set()
    store.add_handler(lambda _: sizes.add((len(store), store.resource_version)))
    await replace(partition, 20, *[thing(f"new-{number}", 12) for number in range(700)])
    assert sizes == {(700, 20)}


@pytest.mark.anyio
async def test_a_relist_of_many_leaves_the_event_loop_to_others_even_where_nothing_differs() -> None:
    partition = Store(THING).partition()
    values = [thing(f"t-{number}", 1) for number in range(2000)]
    await replace(partition, 10, *values)
    table, turns = partition.scratch(), 0
    for value in values:
        table.put(value)

    async def others() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as group:
        group.start_soon(others)
        await partition.replace(table, 20)
        group.cancel_scope.cancel()
    assert turns >= 10


def test_waiting_for_a_version_ends_with_an_event_or_a_bookmark_beyond_it() -> None:
    store = Store(THING)
    partition = store.partition()
    reached: list[int] = []
    for version in (8, 5, 12):
        store.when("one", version, partial(reached.append, version))
    partition.put(thing("a", 5))
    assert reached == [5]
    partition.advance(20)
    assert reached == [5, 8, 12]
    store.when("one", 20, lambda: reached.append(20))
    assert reached == [5, 8, 12, 20]


def test_each_namespace_with_a_watch_of_its_own_has_come_as_far_as_that() -> None:
    store = Store(THING)
    first, _ = store.partition("one"), store.partition("two")
    reached: list[str] = []
    store.when("two", 5, lambda: reached.append("two"))
    store.when("one", 5, lambda: reached.append("one"))
    first.advance(7)
    assert reached == ["one"]
    assert [store.resource_version_of(name) for name in ("one", "two", "three")] == [7, 0, 0]
    assert [store.covers(name) for name in ("one", "two", "three")] == [True, True, False]
    with pytest.raises(KeyError, match="three"):
        store.when("three", 5, lambda: None)


def test_the_version_of_several_namespaces_is_the_least() -> None:
    store = Store(THING)
    first, second = store.partition("one"), store.partition("two")
    first.put(thing("a", 10, namespace="one"))
    assert store.resource_version == 0
    second.advance(7)
    assert store.resource_version == 7
    second.put(thing("a", 12, namespace="two"))
    assert store.get(ObjectKey("two", "a")) == thing("a", 12, namespace="two")
    assert store.get(ObjectKey("three", "a")) is None
    assert len(store.values()) == len(store) == 2
    assert repr(store) == "Store(things.example.com, 2 objects, version 10)"


def test_an_index_spans_namespaces_in_key_order() -> None:
    store = Store(THING)
    store.add_index("color", by_color)
    store.partition("two").put(thing("a", 1, namespace="two", color="red"))
    store.partition("one").put(thing("b", 2, namespace="one", color="red"))
    assert [str(value.metadata.key) for value in store.by_index("color", "red")] == ["one/b", "two/a"]


def test_a_missing_index_is_an_error_not_an_empty_answer() -> None:
    with pytest.raises(KeyError, match="no index"):
        Store(THING).by_index("shade", "red")


def test_an_index_added_later_covers_what_is_there() -> None:
    store = Store(THING)
    store.partition().put(thing("a", 1, color="red"))
    store.add_index("color", by_color)
    store.add_index("color", by_color)
    assert store.by_index("color", "red") == (thing("a", 1, color="red"),)
    with pytest.raises(ValueError, match="another index"):
        store.add_index("color", lambda _: ())


def test_an_index_function_that_fails_changes_nothing() -> None:
    store = Store(THING)
    store.add_index("color", lambda value: (value.metadata.labels["color"],))
    store.partition().put(thing("a", 1, color="red"))
    with pytest.raises(KeyError):
        store.partition().put(thing("a", 2))
    assert store.by_index("color", "red") == (thing("a", 1, color="red"),)


def test_an_older_state_never_replaces_a_newer_one() -> None:
    store = Store(THING)
    store.partition().put(thing("a", 9))
    events = told(store)
    store.partition().put(thing("a", 4))
    store.partition().put(thing("a", 9))
    assert events == []
    assert store.get(ObjectKey("ns", "a")) == thing("a", 9)


def test_a_deletion_that_is_told_again_does_not_take_the_successor() -> None:
    """Pitfall 23."""
    store = Store(THING)
    store.partition().put(thing("a", 9, uid="second"))
    events = told(store)
    store.partition().remove(ObjectKey("ns", "a"), 5)
    assert events == []
    store.partition().remove(ObjectKey("ns", "a"), 12)
    assert [event.type for event in events] == [EventType.DELETED]


def test_cached_values_cannot_be_changed() -> None:
    """Pitfall 24."""
    value: Any = PartialObject.project({"metadata": {"name": "a", "labels": {"x": "y"}, "finalizers": ["f"]}})
    with pytest.raises(FrozenInstanceError):
        value.metadata = None
    with pytest.raises(FrozenInstanceError):
        value.metadata.name = "b"
    with pytest.raises(TypeError):
        value.metadata.labels["x"] = "z"
    with pytest.raises(AttributeError):
        value.metadata.finalizers.append("g")
