"""Wires the runtime together: what controllers register, and the process that they run in (`lifecycle` is its life)."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from random import Random
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import checkpoint
from attrs import Factory, define, field, frozen
from prometheus_client import CollectorRegistry

from gastown_operator.runtime.access import MetricsSecurity
from gastown_operator.runtime.client import Client, RetryPolicy
from gastown_operator.runtime.clock import Clock, SystemClock
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.controller import Controller, Watch
from gastown_operator.runtime.dump import Dump
from gastown_operator.runtime.events import EventRecorder
from gastown_operator.runtime.execution import Executor, regarding_raw
from gastown_operator.runtime.gate import WriteGate
from gastown_operator.runtime.health import Checks
from gastown_operator.runtime.lease import Elector, LeaseOptions
from gastown_operator.runtime.lifecycle import Lifecycle
from gastown_operator.runtime.metrics import Metrics, process_registry
from gastown_operator.runtime.objects import Object, Raw, Resource
from gastown_operator.runtime.plan import EventNote
from gastown_operator.runtime.queue import LOW_PRIORITY, Request, WorkQueue
from gastown_operator.runtime.reflector import Reflector, Selection
from gastown_operator.runtime.server import Address, health_application, metrics_application, serve
from gastown_operator.runtime.store import Event, EventType, IndexFunction, Store
from gastown_operator.runtime.transport import TIMEOUTS, Transport
from gastown_operator.runtime.vitals import Vitals
from gastown_operator.runtime.watchdog import Watchdog
from gastown_operator.runtime.worker import ControllerWorkers

T = TypeVar("T", bound=Object)

_OBJECTS_PER_TURN = 200  # keeps one turn of the event loop in the low milliseconds

logger: logging.Logger = logging.getLogger(__name__)


def _each_once(names: Iterable[str]) -> tuple[str, ...]:
    """Drop repetitions: a namespace has one watch."""
    return tuple(dict.fromkeys(names))


@frozen
class Options:
    """How a manager runs.

    `name` is the process in User-Agent, Events and field managers (`<name>-<controller>`). `namespaces` to watch: none means
    all of them. An address of None is not served. `lease`: only the process that holds it acts; None: this process always does.
    """

    name: str
    user_agent: str = ""
    namespaces: tuple[str, ...] = field(default=(), converter=_each_once)
    metrics_address: Address | None = None
    metrics_security: MetricsSecurity = field(factory=MetricsSecurity)
    health_address: Address | None = None
    lease: LeaseOptions | None = None


@define(eq=False, repr=False)
class Manager:
    """One process: its caches, its queue, its controllers."""

    _connection: Connection
    _options: Options
    _clock: Clock = field(factory=SystemClock)
    _random: Random = field(factory=Random)
    _watchdog: Watchdog = field(default=Factory(lambda self: Watchdog(self._clock), takes_self=True))
    registry: CollectorRegistry = field(factory=process_registry)
    healthz: Checks = field(factory=lambda: Checks("healthz"))
    readyz: Checks = field(factory=lambda: Checks("readyz"))
    metrics: Metrics = field(init=False)
    client: Client = field(init=False)
    recorder: EventRecorder = field(init=False)
    gate: WriteGate = field(init=False)
    queue: WorkQueue = field(init=False)
    ports: list[int] = field(factory=list, init=False)
    elector: Elector | None = field(init=False)
    _requests: Transport = field(init=False)
    _watches: Transport = field(init=False)
    _transports: list[Transport] = field(factory=list, init=False)
    _stores: dict[Resource[Any], Store[Any]] = field(factory=dict, init=False)
    _selections: dict[Resource[Any], Selection] = field(factory=dict, init=False)
    _reflectors: list[Reflector[Any]] = field(factory=list, init=False)
    _controllers: list[Controller] = field(factory=list, init=False)
    _workers: list[ControllerWorkers] = field(factory=list, init=False)
    _acting: bool = field(default=False, init=False)
    _stop: anyio.Event = field(factory=anyio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        """Build what needs no running event loop."""
        self.metrics = Metrics(self.registry)
        self.elector = self._elector()
        fence = {"may_write": self.elector.may_write} if self.elector is not None else {}
        self._requests = self._transport("", **fence)
        self._watches = self._transport(" (watch)", pool_size=0)
        self.client = Client(self._requests, self._clock, random=self._random)
        self.recorder = EventRecorder(
            self.client, self._clock, self.metrics, self._options.name, self._random
        )
        self.gate = WriteGate(self._clock, self._stores, self.metrics)
        self.queue = WorkQueue(self._clock, self.metrics)
        self.readyz.add("caches", self._cache_problem)

    def store(
        self,
        resource: Resource[T],
        indexes: Mapping[str, IndexFunction[T]] | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        also_in: Iterable[str] = (),
    ) -> Store[T]:
        """Return the cache of a kind, made at the first call, with these indexes added.

        `also_in`: namespaces to watch besides those that the manager watches, where it does not watch all.
        Raises ValueError if the kind is cached with other selectors.
        """
        selection = Selection("", label_selector, field_selector)
        if self._selections.setdefault(resource, selection) != selection and selection != Selection():
            raise ValueError(f"{resource} is cached with other selectors already")
        if resource not in self._stores:
            self._add_store(resource, selection, also_in)
        store: Store[T] = self._stores[resource]
        for name, function in (indexes or {}).items():
            store.add_index(name, function)
        return store

    def may_write(self) -> bool:
        """Whether this process may act upon the world at this moment; ask it just before anything that cannot be undone."""
        return self.elector is None or self.elector.may_write()

    def unfenced_client(self, purpose: str, call_timeout: float) -> Client:
        """Return a client whose writes do not ask the lease: for those that their own preconditions make harmless at any time.

        It repeats no call.
        """
        transport = self._transport(f" ({purpose})", timeouts=dict.fromkeys(TIMEOUTS, call_timeout))
        return Client(transport, self._clock, RetryPolicy(attempts=1), self._random)

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
        self._controllers.append(controller)
        self._workers.append(ControllerWorkers(controller, self.queue, self.gate, self._clock, metrics))

    @property
    def stopping(self) -> bool:
        """Whether an orderly stop has begun."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Begin an orderly stop; `run` returns when it is done."""
        self._stop.set()

    async def close(self) -> None:
        """Close the connections; `run` does so at its end."""
        for transport in self._transports:
            await transport.close()

    async def run(self, prepare: Callable[[], Awaitable[None]] | None = None) -> None:
        """Run until SIGTERM, SIGINT or `stop`.

        `prepare` asks the server for what controllers must know before they are made, and may register them; meanwhile health
        and metrics are served, and nothing else runs. Raises ConfigurationError if an address is taken, LeadershipLost if another process may act from now on, StoppedAtOnce after a
        second signal.
        """
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.close)
            await self._serve(stack)
            if prepare is not None:
                await prepare()
            await Lifecycle(
                self._reflectors,
                self._workers,
                self.queue,
                self.recorder,
                self.elector,
                self._watchdog,
                Vitals.on(self.registry, self._clock),
                Dump(self.queue, self._reflectors, self.recorder, self.elector),
                self._clock,
                self._stop,
                self._begin,
            ).run()

    async def _serve(self, stack: AsyncExitStack) -> None:
        """Serve metrics and health while the stack is open; a standby does too."""
        security, metrics, health = (
            self._options.metrics_security,
            self._options.metrics_address,
            self._options.health_address,
        )
        if metrics is not None:
            reviewer = Client(self._transport(" (metrics-access)"), self._clock, random=self._random)
            access = security.access(reviewer, self._clock, self._random)
            application = metrics_application(self.registry, access)
            tls = security.certificate(self.registry, self._clock)
            self.ports.append(await stack.enter_async_context(serve(application, metrics, tls)))
        if health is not None:
            application = health_application(self.healthz, self.readyz)
            self.ports.append(await stack.enter_async_context(serve(application, health)))

    def _transport(self, suffix: str, **settings: Any) -> Transport:
        agent = self._options.user_agent or self._options.name
        made = Transport(self._connection, self.metrics, agent + suffix, **settings)
        self._transports.append(made)
        return made

    def _elector(self) -> Elector | None:
        """Return this process's part in the election: on connections of its own, and without repeated calls."""
        lease = self._options.lease
        if lease is None:
            return None
        calls = self._transport(" (leader-election)", timeouts=dict.fromkeys(TIMEOUTS, lease.call_timeout))
        client = Client(calls, self._clock, RetryPolicy(attempts=1), self._random)
        metrics = self.metrics.election(lease.name)
        return Elector(lease, client, calls, self._clock, self._random, metrics, self._watchdog)

    def _add_store(self, resource: Resource[T], selection: Selection, also_in: Iterable[str]) -> None:
        store = Store(resource)
        self._stores[resource] = store
        self.metrics.watch_cache(str(resource), store)
        metrics = self.metrics.informer(str(resource))
        lister = Client(self._requests, self._clock, RetryPolicy(attempts=1), self._random)
        for namespace in self._namespaces(also_in) if resource.namespaced else ("",):
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

    def _namespaces(self, also_in: Iterable[str]) -> tuple[str, ...]:
        return _each_once([*self._options.namespaces, *also_in]) if self._options.namespaces else ("",)

    async def _begin(self) -> None:
        """Let events wake controllers from now on, and look at everything that is there.

        Before, a standby's queue would only grow. What is there waits behind what happens now.
        """
        self._acting = True
        for number, (controller, watch, value) in enumerate(self._present(), start=1):
            self._enqueue(controller, watch, Event(None, value, initial=True))
            if number % _OBJECTS_PER_TURN == 0:
                await checkpoint()

    def _present(self) -> Iterator[tuple[str, Watch[Any], Any]]:
        for controller in self._controllers:
            for watch in controller.watches:
                for value in self._stores[watch.resource].values():
                    yield controller.name, watch, value

    def _handler(self, controller: Controller, watch: Watch[T]) -> Callable[[Event[T]], None]:
        own = watch.resource == controller.watches[0].resource

        def handle(event: Event[T]) -> None:
            if own and event.type is EventType.DELETED:
                self.gate.forget(Request(controller.name, event.object.metadata.key))
            if self._acting:
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
