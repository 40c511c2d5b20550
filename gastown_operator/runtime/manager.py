"""Wires the runtime together and owns its life: what starts before what, and how it stops.

Start: servers, caches, (lease), controllers; no controller runs before every cache is complete. Stop: the reverse, within
`GRACE` seconds; a second signal stops at once.
"""

import logging
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from random import Random
from typing import Any, TypeVar

import anyio
from attrs import define, field, frozen
from prometheus_client import CollectorRegistry

from gastown_operator.runtime.client import Client, RetryPolicy
from gastown_operator.runtime.clock import Clock, SystemClock
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.controller import Controller, Watch
from gastown_operator.runtime.events import EventRecorder
from gastown_operator.runtime.execution import Executor, regarding_raw
from gastown_operator.runtime.gate import WriteGate
from gastown_operator.runtime.health import Checks
from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.objects import Object, Raw, Resource
from gastown_operator.runtime.plan import EventNote
from gastown_operator.runtime.queue import LOW_PRIORITY, Request, WorkQueue
from gastown_operator.runtime.reflector import Reflector, Selection
from gastown_operator.runtime.server import Address, health_application, metrics_application, serve
from gastown_operator.runtime.store import Event, EventType, IndexFunction, Store
from gastown_operator.runtime.transport import Transport
from gastown_operator.runtime.vitals import Vitals, collection_paused
from gastown_operator.runtime.worker import ControllerWorkers

T = TypeVar("T", bound=Object)

logger = logging.getLogger(__name__)

GRACE = 30.0  # seconds for reconciles to end; keep terminationGracePeriodSeconds above it
FLUSH_LIMIT = 5.0  # seconds for events that still wait
PAUSE_LIMIT = 60.0  # seconds without garbage collection, should the caches take longer to fill


@frozen
class Options:
    """How a manager runs.

    `name` is the process in User-Agent, Events and field managers (`<name>-<controller>`). `namespaces` to watch: none means
    all of them. An address of None is not served.
    """

    name: str
    user_agent: str = ""
    namespaces: tuple[str, ...] = ()
    metrics_address: Address | None = None
    health_address: Address | None = None


@define(eq=False, repr=False)
class Manager:
    """One process: its caches, its queue, its controllers."""

    _connection: Connection
    _options: Options
    _clock: Clock = field(factory=SystemClock)
    _random: Random = field(factory=Random)
    registry: CollectorRegistry = field(factory=CollectorRegistry)
    healthz: Checks = field(factory=lambda: Checks("healthz"))
    readyz: Checks = field(factory=lambda: Checks("readyz"))
    metrics: Metrics = field(init=False)
    client: Client = field(init=False)
    recorder: EventRecorder = field(init=False)
    gate: WriteGate = field(init=False)
    queue: WorkQueue = field(init=False)
    ports: list[int] = field(factory=list, init=False)
    _requests: Transport = field(init=False)
    _watches: Transport = field(init=False)
    _stores: dict[Resource[Any], Store[Any]] = field(factory=dict, init=False)
    _selections: dict[Resource[Any], Selection] = field(factory=dict, init=False)
    _reflectors: list[Reflector[Any]] = field(factory=list, init=False)
    _workers: list[ControllerWorkers] = field(factory=list, init=False)
    _stopping: anyio.Event = field(factory=anyio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        """Build what needs no running event loop."""
        self.metrics = Metrics(self.registry)
        agent = self._options.user_agent or self._options.name
        self._requests = Transport(self._connection, self.metrics, agent)
        self._watches = Transport(self._connection, self.metrics, f"{agent} (watch)", pool_size=0)
        self.client = Client(self._requests, self._clock, random=self._random)
        self.recorder = EventRecorder(
            self.client, self._clock, self.metrics, self._options.name, self._random
        )
        self.gate = WriteGate(self._clock, self._stores)
        self.queue = WorkQueue(self._clock, self.metrics)
        self.readyz.add("caches", self._cache_problem)

    def store(
        self,
        resource: Resource[T],
        indexes: Mapping[str, IndexFunction[T]] | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Store[T]:
        """Return the cache of a kind, made at the first call, with these indexes added.

        Raises ValueError if the kind is cached with other selectors.
        """
        selection = Selection("", label_selector, field_selector)
        if self._selections.setdefault(resource, selection) != selection and selection != Selection():
            raise ValueError(f"{resource} is cached with other selectors already")
        if resource not in self._stores:
            self._add_store(resource, selection)
        store: Store[T] = self._stores[resource]
        for name, function in (indexes or {}).items():
            store.add_index(name, function)
        return store

    def executor(self, controller: str) -> Executor:
        """Return the writer of a controller's plans."""
        return Executor(
            self.client,
            self.recorder,
            f"{self._options.name}-{controller}",
            self.gate.bound(controller),
            self.metrics.writes(controller),
        )

    def add(self, controller: Controller) -> None:
        """Register a controller before `run`. Raises ValueError if its name is taken."""
        self.queue.open_lane(controller.name)
        for watch in controller.watches:
            self.store(watch.resource).add_handler(self._handler(controller, watch))
        metrics = self.metrics.controller(controller.name)
        self._workers.append(ControllerWorkers(controller, self.queue, self.gate, self._clock, metrics))

    @property
    def stopping(self) -> bool:
        """Whether an orderly stop has begun."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Begin an orderly stop; `run` returns when it is done."""
        self._stopping.set()

    async def close(self) -> None:
        """Close the connections; `run` does so at its end."""
        await self._requests.close()
        await self._watches.close()

    async def run(self) -> None:
        """Run until SIGTERM, SIGINT or `stop`. Raises ConfigurationError if an address is taken."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.close)
            await self._serve(stack)
            async with anyio.create_task_group() as caches:
                caches.start_soon(self._obey_signals, caches.cancel_scope)
                caches.start_soon(Vitals.on(self.registry, self._clock).run)
                caches.start_soon(self.recorder.run)
                for reflector in self._reflectors:
                    caches.start_soon(reflector.run)
                await self._until_stopped(self._run_controllers)
                with self._clock.deadline(FLUSH_LIMIT):
                    await self.recorder.flush()
                caches.cancel_scope.cancel()

    async def _run_controllers(self) -> None:
        await self._sync()
        async with anyio.create_task_group() as controllers:
            controllers.start_soon(self.queue.run)
            for workers in self._workers:
                controllers.start_soon(workers.run)

    async def _sync(self) -> None:
        """Return when every cache is complete."""
        started = self._clock.monotonic()
        with collection_paused(), self._clock.deadline(PAUSE_LIMIT):
            await self._synced()
        await self._synced()
        logger.info("caches are complete after %.1f s", self._clock.monotonic() - started)

    async def _synced(self) -> None:
        for reflector in self._reflectors:
            await reflector.synced.wait()

    async def _until_stopped(self, part: Callable[[], Any]) -> None:
        """Run a part of the process; when asked to stop, let its reconciles end within the grace."""
        async with anyio.create_task_group() as running:

            async def complete() -> None:
                await part()
                self._stopping.set()

            running.start_soon(complete)
            await self._stopping.wait()
            self.queue.shut_down()
            with self._clock.deadline(GRACE):
                await self.queue.drained()
            running.cancel_scope.cancel()

    async def _obey_signals(self, everything: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                if self._stopping.is_set():
                    logger.warning("second signal, stopping at once")
                    everything.cancel()
                    return
                logger.info("%s, stopping", signal.Signals(number).name)
                self.stop()

    async def _serve(self, stack: AsyncExitStack) -> None:
        for application, address in (
            (metrics_application(self.registry), self._options.metrics_address),
            (health_application(self.healthz, self.readyz), self._options.health_address),
        ):
            if address is not None:
                self.ports.append(await stack.enter_async_context(serve(application, address)))

    def _add_store(self, resource: Resource[T], selection: Selection) -> None:
        store = Store(resource)
        self._stores[resource] = store
        self.metrics.watch_cache(str(resource), store)
        metrics = self.metrics.informer(str(resource))
        lister = Client(self._requests, self._clock, RetryPolicy(attempts=1), self._random)
        for namespace in (
            self._options.namespaces if resource.namespaced and self._options.namespaces else ("",)
        ):
            self._reflectors.append(
                Reflector(
                    resource,
                    Selection(namespace, selection.label_selector, selection.field_selector),
                    store.partition(namespace),
                    lister,
                    self._watches,
                    self._clock,
                    self._random,
                    metrics,
                    self._report,
                )
            )

    def _handler(self, controller: Controller, watch: Watch[T]) -> Callable[[Event[T]], None]:
        own = watch.resource == controller.watches[0].resource

        def handle(event: Event[T]) -> None:
            if own and event.type is EventType.DELETED:
                self.gate.forget(Request(controller.name, event.object.metadata.key))
            self._enqueue(controller.name, watch, event)

        return handle

    def _enqueue(self, controller: str, watch: Watch[T], event: Event[T]) -> None:
        try:
            keys = sorted(watch.keys(event))
        except Exception:
            logger.exception("%s: cannot map %s %s", controller, watch.resource, event.object.metadata.key)
            return
        for key in keys:
            self.queue.add(Request(controller, key), priority=LOW_PRIORITY if event.initial else 0)

    def _report(self, resource: Resource[Any], raw: Raw, error: Exception) -> None:
        note = EventNote("Warning", "MalformedObject", f"skipped until it is mended: {error}", "Read")
        self.recorder.event(regarding_raw(resource, raw), note)

    def _cache_problem(self) -> str | None:
        behind = [str(reflector) for reflector in self._reflectors if not reflector.ready]
        return "; ".join(behind) or None
