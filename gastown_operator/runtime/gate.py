"""Read your own writes: a key is not reconciled before the caches show what its last reconcile wrote.

Without this, a controller that created a pod and looks again at once sees no pod and creates another. Resource versions are
comparable within a kind, so a cache that has come as far as our write (by that event, a later one, or a bookmark) shows it;
where a cache has one watch for each namespace, it is the written object's that counts.
(KEP-5647; agent-sandbox had about 10 times too many creations without.)
"""

from collections.abc import Mapping
from typing import Any

from attrs import define, field
from prometheus_client import Histogram

from gastown_operator.runtime.clock import Clock
from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.objects import ObjectKey, Resource
from gastown_operator.runtime.queue import Request, WorkQueue
from gastown_operator.runtime.store import Store

EXPIRY = 300.0  # seconds, as in the ReplicaSet controller's expectations: a lost version must not stop an object for good


@define
class _Writes:
    """The newest version that one key wrote of each kind in each namespace, and until when to wait for them (monotonic)."""

    expires: float
    versions: dict[tuple[Resource[Any], str], int] = field(factory=dict)
    awaited: tuple[Resource[Any], str, int] | None = None


@define(eq=False, repr=False)
class WriteGate:
    """What every key wrote last, against how far the caches have come. What is not cached does not count."""

    _clock: Clock
    _stores: Mapping[Resource[Any], Store[Any]]
    _metrics: Metrics
    _writes: dict[Request, _Writes] = field(factory=dict)
    _lags: dict[Resource[Any], Histogram] = field(factory=dict)

    def record(
        self, request: Request, resource: Resource[Any], namespace: str, resource_version: int
    ) -> None:
        """Remember that this key wrote an object in a namespace."""
        store = self._stores.get(resource)
        if store is None or not store.covers(namespace):
            return
        written = self._clock.monotonic()
        store.when(namespace, resource_version, lambda: self._caught_up(resource, written))
        writes = self._writes.setdefault(request, _Writes(0.0))
        writes.expires = written + EXPIRY
        where = (resource, namespace)
        writes.versions[where] = max(resource_version, writes.versions.get(where, 0))

    def forget(self, request: Request) -> None:
        """Drop what is known of a key, because its object is gone."""
        self._writes.pop(request, None)

    def hold(self, request: Request, queue: WorkQueue, *, priority: int) -> bool:
        """Tell whether the key must wait; if so, it is added again when the cache has come far enough, or at expiry."""
        behind = self._behind(request)
        if behind is None:
            self._writes.pop(request, None)
            return False
        store, namespace, version, seconds = behind
        awaited, writes = (store.resource, namespace, version), self._writes[request]
        if writes.awaited != awaited:  # else every wake-up until then would leave another callback
            writes.awaited = awaited
            store.when(namespace, version, lambda: queue.add(request, priority=priority))
        queue.add(request, priority=priority, after=seconds)
        return True

    def bound(self, controller: str) -> "ControllerGate":
        """Return the gate as an executor of one controller sees it."""
        return ControllerGate(self, controller)

    def _caught_up(self, resource: Resource[Any], written: float) -> None:
        lag = self._lags.get(resource)
        if lag is None:
            lag = self._lags[resource] = self._metrics.informer(str(resource)).lag
        lag.observe(self._clock.monotonic() - written)

    def _behind(self, request: Request) -> tuple[Store[Any], str, int, float] | None:
        writes = self._writes.get(request)
        if writes is None:
            return None
        seconds = writes.expires - self._clock.monotonic()
        if seconds <= 0:
            return None
        for (resource, namespace), version in writes.versions.items():
            store = self._stores[resource]
            if store.resource_version_of(namespace) < version:
                return store, namespace, version, seconds
        return None


@define(eq=False)
class ControllerGate:
    """The write side of the gate, for one controller."""

    _gate: WriteGate
    _controller: str

    def record(self, key: ObjectKey, resource: Resource[Any], namespace: str, resource_version: int) -> None:
        """Remember that the reconcile of `key` wrote this version of an object of this kind in `namespace`."""
        self._gate.record(Request(self._controller, key), resource, namespace, resource_version)
