"""The cache of one kind: frozen projections by key, secondary indexes, and how far the cache has come.

Readers see immutable values, so nothing is ever copied. Each partition (a namespace, or everything) has exactly one
writer, its reflector; all of it runs on one event loop, so a reader between two awaits sees one state.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from heapq import heappop, heappush, merge
from itertools import count
from typing import Generic, TypeVar

from anyio.lowlevel import cancel_shielded_checkpoint
from attrs import define, field, frozen

from gastown_operator.runtime.objects import Object, ObjectKey, Resource

T = TypeVar("T", bound=Object)

IndexFunction = Callable[[T], Iterable[str]]

_EVENTS_PER_TURN = (
    200  # keeps one turn of the event loop in the low milliseconds while a relist is told to handlers
)


class EventType(Enum):
    """What happened to an object, as far as the cache can tell."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@frozen
class Event(Generic[T]):
    """One change of the cache.

    `initial`: the object was there when the cache first filled, nothing new happened to it.
    `final_state_unknown`: the deletion was missed and found by listing; `old` is the last state seen, not the last state.
    """

    old: T | None
    new: T | None
    initial: bool = False
    final_state_unknown: bool = False

    @property
    def type(self) -> EventType:
        """Whether the object came, changed or went."""
        if self.new is None:
            return EventType.DELETED
        return EventType.ADDED if self.old is None else EventType.MODIFIED

    @property
    def object(self) -> T:
        """The newest state known: the new one, or for a deletion the last one."""
        state = self.old if self.new is None else self.new
        if state is None:
            raise ValueError("an event needs an old or a new object")
        return state


Handler = Callable[[Event[T]], None]


@define(eq=False)
class _Bucket(Generic[T]):
    """The objects under one value of an index; sorted when read, not when written."""

    members: dict[ObjectKey, T] = field(factory=dict)
    _ordered: tuple[T, ...] | None = None

    def put(self, key: ObjectKey, value: T) -> None:
        self.members[key] = value
        self._ordered = None

    def discard(self, key: ObjectKey) -> None:
        self.members.pop(key, None)
        self._ordered = None

    def ordered(self) -> tuple[T, ...]:
        if self._ordered is None:
            self._ordered = tuple(self.members[key] for key in sorted(self.members))
        return self._ordered


@define(eq=False, repr=False)
class Table(Generic[T]):
    """Objects with their indexes: filled on the side during a relist, then swapped in whole."""

    _functions: Mapping[str, IndexFunction[T]]
    objects: dict[ObjectKey, T] = field(factory=dict)
    _indexes: dict[str, dict[str, _Bucket[T]]] = field(factory=dict)

    def put(self, value: T) -> T | None:
        """Insert or replace an object; return what was there. Raises what an index function raises, changing nothing."""
        key = value.metadata.key
        old = self.objects.get(key)
        changes = [
            (name, tuple(function(old)) if old is not None else (), tuple(function(value)))
            for name, function in self._functions.items()
        ]
        self.objects[key] = value
        for name, before, after in changes:
            if before != after:
                self._unindex(name, before, key)
            buckets = self._indexes.setdefault(name, {})
            for entry in after:
                bucket = buckets.get(entry)
                if bucket is None:
                    bucket = buckets[entry] = _Bucket()
                bucket.put(key, value)
        return old

    def remove(self, key: ObjectKey) -> T | None:
        """Drop an object; return it if it was there."""
        old = self.objects.pop(key, None)
        if old is not None:
            for name, function in self._functions.items():
                self._unindex(name, function(old), key)
        return old

    def select(self, name: str, value: str) -> tuple[T, ...]:
        """Return the objects under an index value, in key order."""
        bucket = self._indexes.get(name, {}).get(value)
        return bucket.ordered() if bucket else ()

    def reindexed(self, functions: Mapping[str, IndexFunction[T]]) -> "Table[T]":
        """Return a table of the same objects with other indexes."""
        table = Table(functions)
        for value in self.objects.values():
            table.put(value)
        return table

    def _unindex(self, name: str, values: Iterable[str], key: ObjectKey) -> None:
        buckets = self._indexes.get(name, {})
        for value in values:
            bucket = buckets.get(value)
            if bucket is not None:
                bucket.discard(key)
                if not bucket.members:
                    del buckets[value]


@define(eq=False)
class Partition(Generic[T]):
    """The writer's side of a store, for one namespace ("" for all of them)."""

    _store: "Store[T]" = field(repr=False)
    table: Table[T] = field(repr=False)
    resource_version: int = 0
    synced: bool = False
    _waiting: list[tuple[int, int, Callable[[], None]]] = field(factory=list, repr=False)
    _sequence: Iterator[int] = field(factory=count, repr=False)

    def put(self, value: T) -> None:
        """Store an added or changed object. A state not newer than the cached one (a duplicate) changes nothing."""
        metadata = value.metadata
        cached = self.table.objects.get(metadata.key)
        if cached is None or _supersedes(value, cached):
            self.table.put(value)
            self._store.dispatch(Event(cached, value))
        self.advance(metadata.resource_version)

    def remove(self, key: ObjectKey, resource_version: int) -> None:
        """Drop an object that was deleted at this resource version. A deletion older than the cached state is a repetition."""
        cached = self.table.objects.get(key)
        if cached is not None and not 0 < resource_version < cached.metadata.resource_version:
            self.table.remove(key)
            self._store.dispatch(Event(cached, None))
        self.advance(resource_version)

    def advance(self, resource_version: int) -> None:
        """Note that everything up to this version has been seen (also said by bookmarks)."""
        if resource_version > self.resource_version:
            self.resource_version = resource_version
            self._release()

    def scratch(self) -> Table[T]:
        """Return an empty table with the store's indexes, to be filled and given to `replace`."""
        return Table(self._store.functions)

    async def replace(self, table: Table[T], resource_version: int) -> None:
        """Swap in a complete new state at once, then tell the handlers what differs, tombstones included."""
        before, initial = self.table, not self.synced
        self.table = table
        self.resource_version = resource_version
        for number, event in enumerate(_differences(before, table, initial=initial), start=1):
            if event is not None:
                self._store.dispatch(event)
            if number % _EVENTS_PER_TURN == 0:
                await cancel_shielded_checkpoint()  # half of the news would leave the handlers wrong for good
        self.synced = True
        self._release()

    def when(self, resource_version: int, callback: Callable[[], None]) -> None:
        """Call back once this part of the cache has reached a version: at once if it has."""
        if self.resource_version >= resource_version:
            callback()
        else:
            heappush(self._waiting, (resource_version, next(self._sequence), callback))

    def _release(self) -> None:
        """Call back whoever waited for what has been reached."""
        while self._waiting and self._waiting[0][0] <= self.resource_version:
            heappop(self._waiting)[2]()


@define(eq=False, repr=False)
class Store(Generic[T]):
    """The reader's side. Everything returned is immutable and shared."""

    resource: Resource[T]
    functions: dict[str, IndexFunction[T]] = field(factory=dict)
    _partitions: dict[str, Partition[T]] = field(factory=dict)
    _handlers: list[Handler[T]] = field(factory=list)

    def get(self, key: ObjectKey) -> T | None:
        """Return the object, or None."""
        partition = self._holding(key.namespace)
        return partition.table.objects.get(key) if partition else None

    def values(self) -> tuple[T, ...]:
        """Return all objects in key order."""
        objects = {
            key: value for part in self._partitions.values() for key, value in part.table.objects.items()
        }
        return tuple(objects[key] for key in sorted(objects))

    def by_index(self, name: str, value: str) -> tuple[T, ...]:
        """Return the objects that the index puts under `value`, in key order. Raises KeyError for no such index."""
        if name not in self.functions:
            raise KeyError(f"{self.resource} has no index {name!r}")
        selected = [part.table.select(name, value) for part in self._partitions.values()]
        if len(selected) == 1:
            return selected[0]
        return tuple(merge(*selected, key=lambda found: found.metadata.key))

    def add_index(self, name: str, function: IndexFunction[T]) -> None:
        """Index all objects, present and future, by the values that a pure function gives."""
        if self.functions.get(name, function) is not function:
            raise ValueError(f"{self.resource} already has another index {name!r}")
        self.functions[name] = function
        for partition in self._partitions.values():
            partition.table = partition.table.reindexed(self.functions)

    def add_handler(self, handler: Handler[T]) -> None:
        """Call `handler` for every change from now on; it must not raise and not block."""
        self._handlers.append(handler)

    def partition(self, namespace: str = "") -> Partition[T]:
        """Return the writer's side for a namespace, made on first use."""
        if namespace not in self._partitions:
            self._partitions[namespace] = Partition(self, Table(self.functions))
        return self._partitions[namespace]

    def __repr__(self) -> str:
        return f"Store({self.resource}, {len(self)} objects, version {self.resource_version})"

    def __len__(self) -> int:
        return sum(len(partition.table.objects) for partition in self._partitions.values())

    @property
    def synced(self) -> bool:
        """Whether every partition has been filled and its initial events were told."""
        return bool(self._partitions) and all(part.synced for part in self._partitions.values())

    @property
    def resource_version(self) -> int:
        """The version up to which the whole cache is known to be complete."""
        return min((part.resource_version for part in self._partitions.values()), default=0)

    def covers(self, namespace: str) -> bool:
        """Whether the objects of a namespace are cached."""
        return self._holding(namespace) is not None

    def resource_version_of(self, namespace: str) -> int:
        """The version up to which the objects of a namespace are known to be complete; 0 where they are not cached.

        Each namespace has a watch of its own where only some are cached, and a quiet one says nothing of the others.
        """
        partition = self._holding(namespace)
        return partition.resource_version if partition else 0

    def when(self, namespace: str, resource_version: int, callback: Callable[[], None]) -> None:
        """Call back once the cache has reached a version in a namespace: at once if it has.

        Raises KeyError if the namespace is not cached.
        """
        partition = self._holding(namespace)
        if partition is None:
            raise KeyError(f"{self.resource} of namespace {namespace!r} are not cached")
        partition.when(resource_version, callback)

    def dispatch(self, event: Event[T]) -> None:
        """Tell the handlers. For partitions."""
        for handler in self._handlers:
            handler(event)

    def _holding(self, namespace: str) -> Partition[T] | None:
        """The partition that has the objects of a namespace ("": cluster-scoped ones)."""
        return self._partitions.get("") or self._partitions.get(namespace)


def _supersedes(value: Object, cached: Object) -> bool:
    """Versions of one object only grow; another UID is another object."""
    return (
        value.metadata.uid != cached.metadata.uid
        or value.metadata.resource_version > cached.metadata.resource_version
    )


def _differences(before: Table[T], after: Table[T], *, initial: bool) -> Iterator[Event[T] | None]:
    """Tell for each key of both tables what differs, if anything does.

    `before` is used up on the way: to free all that it holds at the end would stop the event loop.
    """
    for key, old in list(before.objects.items()):
        new = after.objects.get(key)
        if new is not None and new.metadata.uid == old.metadata.uid:
            yield None
        else:
            before.remove(key)
            yield Event(old, None, final_state_unknown=True)
    for key, new in after.objects.items():
        cached = before.remove(key)
        if cached is None:
            yield Event(None, new, initial=initial)
        elif cached.metadata.resource_version != new.metadata.resource_version:
            yield Event(cached, new)
        else:
            yield None
