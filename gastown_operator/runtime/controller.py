"""What a controller is: a reconciler, the watches that wake it, and how it may run."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from attrs import field, frozen
from attrs.validators import ge, matches_re

from gastown_operator.runtime.objects import Object, ObjectKey, OwnerReference, Resource
from gastown_operator.runtime.store import Event, EventType

T = TypeVar("T", bound=Object)

Predicate = Callable[[Event[T]], bool]
KeyMap = Callable[[Event[T]], Iterable[ObjectKey]]


@frozen
class Result:
    """What a reconcile asks for: another look after some seconds, and at which priority (None: as before)."""

    requeue_after: float | None = None
    priority: int | None = None


class Reconciler(Protocol):
    """The one thing a controller must be able to do."""

    async def reconcile(self, key: ObjectKey) -> Result:
        """Bring the world nearer to what the object at `key` asks for; the object may be gone.

        Never called twice at once for one key. Any exception means: again, after the key's exponential delay;
        TerminalError and ApiErrors that are not retryable mean: not before something changes.
        """
        ...


@frozen
class Watch(Generic[T]):
    """Which changes of a kind wake the controller, and for which of its objects.

    `map` returns the keys to look at; it must be pure and quick. `predicate` may rule an event out beforehand.
    """

    resource: Resource[T]
    map: KeyMap[T]
    predicate: Predicate[T] | None = None

    def keys(self, event: Event[T]) -> frozenset[ObjectKey]:
        """Return the keys that an event concerns, each once."""
        if self.predicate is not None and not self.predicate(event):
            return frozenset()
        return frozenset(self.map(event))


def _as_tuple(watches: Iterable[Watch[Any]]) -> tuple[Watch[Any], ...]:
    """Freeze the watches; mypy cannot type the class `tuple` itself as a converter."""
    return tuple(watches)


@frozen
class Controller:
    """A named reconciler with its watches. The first watch should be that of its own kind.

    `concurrency`: workers, at most one per key. `reconcile_deadline` in seconds (None: no limit) ends a reconcile that hangs.
    """

    name: str = field(validator=matches_re(r"[a-z]([-a-z0-9]*[a-z0-9])?"))
    reconciler: Reconciler
    watches: Sequence[Watch[Any]] = field(converter=_as_tuple)
    concurrency: int = field(default=4, validator=ge(1))
    reconcile_deadline: float | None = 60.0


def for_object(resource: Resource[T], predicate: Predicate[T] | None = None) -> Watch[T]:
    """Wake for the changed object itself: the controller's own kind."""
    return Watch(resource, lambda event: (event.object.metadata.key,), predicate)


def owned_by(resource: Resource[T], owner: Resource[Any], predicate: Predicate[T] | None = None) -> Watch[T]:
    """Wake the object of kind `owner` that controls (or controlled) the changed object."""

    def owners(event: Event[T]) -> Iterable[ObjectKey]:
        for state in (event.old, event.new):
            reference = state.metadata.controller if state is not None else None
            if state is not None and reference is not None and _refers_to(reference, owner):
                yield ObjectKey(state.metadata.namespace if owner.namespaced else "", reference.name)

    return Watch(resource, owners, predicate)


def mapped(resource: Resource[T], function: KeyMap[T], predicate: Predicate[T] | None = None) -> Watch[T]:
    """Wake whatever `function` makes of the event; it sees the old and the new state."""
    return Watch(resource, function, predicate)


def generation_changed(event: Event[Any]) -> bool:
    """Rule out changes of status alone: let through spec, labels, annotations, finalizers, owners and deletion."""
    if event.type is not EventType.MODIFIED or event.old is None or event.new is None:
        return True
    old, new = event.old.metadata, event.new.metadata
    return (
        (old.uid, old.generation, old.deletion_timestamp, old.finalizers, old.owner_references)
        != (new.uid, new.generation, new.deletion_timestamp, new.finalizers, new.owner_references)
        or old.labels != new.labels
        or old.annotations != new.annotations
    )


def _refers_to(reference: OwnerReference, owner: Resource[Any]) -> bool:
    """Compare group and kind: an owner reference may name another version of the API."""
    group, _, _ = reference.api_version.rpartition("/")
    return reference.kind == owner.kind and group == owner.group
