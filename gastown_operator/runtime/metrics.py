"""Prometheus metrics: controller-runtime's names and labels, and what it lacks.

Label sets are created when their owner registers, so that every series starts at zero and `rate()` works from
the first scrape. What can be read off the running parts is collected at the scrape, not on the way of an event.
"""

from collections.abc import Callable, Mapping

from attrs import define, field, frozen
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

from gastown_operator.runtime.gauges import CacheReading, LaneReading, LiveGauges

_RECONCILE_BUCKETS = (  # controller-runtime pkg/internal/controller/metrics, thinned: 5 ms to 60 s
    (
        0.005,
        0.01,
        0.025,
        0.05,
        0.1,
        0.15,
        0.2,
        0.25,
        0.3,
        0.4,
        0.5,
        0.7,
        1.0,
        1.5,
        2.0,
        3.0,
        5.0,
        10.0,
        30.0,
        60.0,
    )
)
_QUEUE_BUCKETS = tuple(
    10.0**exponent for exponent in range(-8, 4)
)  # client-go: 10 ns times ten, twelve times
_REQUEST_BUCKETS = (
    0.005,
    0.025,
    0.1,
    0.25,
    0.5,
    1.0,
    2.0,
    4.0,
    8.0,
    15.0,
    30.0,
    60.0,
)  # client-go rest client
_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_RESULTS = ("success", "error", "requeue", "requeue_after")
_RESTART_REASONS = ("closed", "error", "idle", "deadline", "expired")
_RELIST_REASONS = ("initial", "expired", "ahead", "election")


def process_registry() -> CollectorRegistry:
    """Return a registry with what every process exports: memory, CPU time, file descriptors, Python's version."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


@frozen
class LaneMetrics:
    """The counters of one lane of the work queue."""

    adds: Counter
    retries: Counter
    queue_duration: Histogram
    work_duration: Histogram


@frozen
class ControllerMetrics:
    """The counters of one controller."""

    reconciles: Mapping[str, Counter]
    errors: Counter
    terminal_errors: Counter
    panics: Counter
    timeouts: Counter
    conflicts: Counter
    stale_skips: Counter
    duration: Histogram
    active_workers: Gauge
    max_concurrent: Gauge


@frozen
class InformerMetrics:
    """The counters of one cached kind."""

    relists: Mapping[str, Counter]
    restarts: Mapping[str, Counter]
    malformed: Counter
    last_event: Gauge
    lag: Histogram


@frozen
class WriteMetrics:
    """How often a controller wrote a status, and how often its plan needed none."""

    issued: Counter
    elided: Counter


@frozen
class ElectionMetrics:
    """Whether this process leads, and how often a renewal was not straightforward."""

    leading: Gauge
    slow_path: Counter


@define(eq=False, repr=False)
class Metrics:
    """Every metric of the runtime, on one registry."""

    registry: CollectorRegistry
    _live: LiveGauges = field(init=False)
    _controllers: "_ControllerFamilies" = field(init=False)
    _lanes: "_LaneFamilies" = field(init=False)
    _informers: "_InformerFamilies" = field(init=False)
    requests: Counter = field(init=False)
    request_duration: Histogram = field(init=False)
    _issued: Counter = field(init=False)
    _elided: Counter = field(init=False)
    events: Counter = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Register everything."""
        registry = self.registry
        self._live = LiveGauges()
        registry.register(self._live)
        self._controllers = _ControllerFamilies.on(registry)
        self._lanes = _LaneFamilies.on(registry)
        self._informers = _InformerFamilies.on(registry)
        self.requests = Counter(
            "rest_client_requests",
            "Requests to the API server",
            ("code", "method", "host"),
            registry=registry,
        )
        self.request_duration = Histogram(
            "rest_client_request_duration_seconds",
            "Time until the whole answer was read",
            ("verb", "host"),
            buckets=_REQUEST_BUCKETS,
            registry=registry,
        )
        self._issued = Counter("status_writes_issued", "Statuses written", ("controller",), registry=registry)
        self._elided = Counter(
            "status_writes_elided",
            "Plans whose status was as it should be",
            ("controller",),
            registry=registry,
        )
        self.events = Counter(
            "events_recorded", "Events by what became of them", ("outcome",), registry=registry
        )
        for outcome in ("created", "series", "rate_limited", "dropped", "failed"):
            self.events.labels(outcome)

    def controller(self, name: str) -> ControllerMetrics:
        """Create the series of a controller."""
        return self._controllers.of(name)

    def writes(self, controller: str) -> WriteMetrics:
        """Create the series of a controller's status writes."""
        return WriteMetrics(self._issued.labels(controller), self._elided.labels(controller))

    def lane(self, controller: str) -> LaneMetrics:
        """Create the series of a lane of the work queue."""
        return self._lanes.of(controller)

    def informer(self, resource: str) -> InformerMetrics:
        """Create the series of a cached kind."""
        return self._informers.of(resource)

    def election(self, lease: str) -> ElectionMetrics:
        """Create the series of an election."""
        leading = Gauge(
            "leader_election_master_status",
            "1 while this process holds the lease, else 0",
            ("name",),
            registry=self.registry,
        )
        slow_path = Counter(
            "leader_election_slowpath",
            "Renewals that had to read the lease first",
            ("name",),
            registry=self.registry,
        )
        return ElectionMetrics(leading.labels(lease), slow_path.labels(lease))

    def watch_lane(self, controller: str, read: Callable[[], LaneReading]) -> None:
        """Export the depth and age gauges of a lane."""
        self._live.lanes[controller] = read

    def watch_cache(self, resource: str, cache: CacheReading) -> None:
        """Export the size and version gauges of a cache; several of one kind are added up, and as old as the oldest."""
        self._live.caches.setdefault(resource, []).append(cache)


@frozen
class _ControllerFamilies:
    reconciles: Counter
    errors: Counter
    terminal_errors: Counter
    panics: Counter
    timeouts: Counter
    conflicts: Counter
    stale_skips: Counter
    duration: Histogram
    active_workers: Gauge
    max_concurrent: Gauge

    @classmethod
    def on(cls, registry: CollectorRegistry) -> "_ControllerFamilies":
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, ("controller", *labels), registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, ("controller",), registry=registry)

        return cls(
            reconciles=counter("controller_runtime_reconcile", "Reconciles by result", "result"),
            errors=counter("controller_runtime_reconcile_errors", "Reconciles that failed"),
            terminal_errors=counter(
                "controller_runtime_terminal_reconcile_errors", "Reconciles that failed for good"
            ),
            panics=counter(
                "controller_runtime_reconcile_panics", "Reconciles ended by an unforeseen exception"
            ),
            timeouts=counter("controller_runtime_reconcile_timeouts", "Reconciles ended by their deadline"),
            conflicts=counter("api_conflicts", "Reconciles that met a newer object than they had read"),
            stale_skips=counter("stale_sync_skips", "Reconciles put off until the cache has our own writes"),
            duration=Histogram(
                "controller_runtime_reconcile_time_seconds",
                "Time per reconcile",
                ("controller",),
                buckets=_RECONCILE_BUCKETS,
                registry=registry,
            ),
            active_workers=gauge("controller_runtime_active_workers", "Workers that reconcile now"),
            max_concurrent=gauge("controller_runtime_max_concurrent_reconciles", "Workers"),
        )

    def of(self, name: str) -> ControllerMetrics:
        return ControllerMetrics(
            reconciles={result: self.reconciles.labels(name, result) for result in _RESULTS},
            errors=self.errors.labels(name),
            terminal_errors=self.terminal_errors.labels(name),
            panics=self.panics.labels(name),
            timeouts=self.timeouts.labels(name),
            conflicts=self.conflicts.labels(name),
            stale_skips=self.stale_skips.labels(name),
            duration=self.duration.labels(name),
            active_workers=self.active_workers.labels(name),
            max_concurrent=self.max_concurrent.labels(name),
        )


@frozen
class _LaneFamilies:
    adds: Counter
    retries: Counter
    queue_duration: Histogram
    work_duration: Histogram

    @classmethod
    def on(cls, registry: CollectorRegistry) -> "_LaneFamilies":
        labels = ("name", "controller")
        return cls(
            adds=Counter("workqueue_adds", "Keys that became ready", labels, registry=registry),
            retries=Counter("workqueue_retries", "Keys added with backoff", labels, registry=registry),
            queue_duration=Histogram(
                "workqueue_queue_duration_seconds",
                "Time from ready to in work",
                labels,
                buckets=_QUEUE_BUCKETS,
                registry=registry,
            ),
            work_duration=Histogram(
                "workqueue_work_duration_seconds",
                "Time in work",
                labels,
                buckets=_QUEUE_BUCKETS,
                registry=registry,
            ),
        )

    def of(self, name: str) -> LaneMetrics:
        return LaneMetrics(
            self.adds.labels(name, name),
            self.retries.labels(name, name),
            self.queue_duration.labels(name, name),
            self.work_duration.labels(name, name),
        )


@frozen
class _InformerFamilies:
    relists: Counter
    restarts: Counter
    malformed: Counter
    last_event: Gauge
    lag: Histogram

    @classmethod
    def on(cls, registry: CollectorRegistry) -> "_InformerFamilies":
        return cls(
            relists=Counter(
                "informer_relists", "Complete reads of a kind", ("resource", "reason"), registry=registry
            ),
            restarts=Counter(
                "informer_watch_restarts", "Watches that ended", ("resource", "reason"), registry=registry
            ),
            malformed=Counter(
                "informer_malformed_objects",
                "Objects that do not fit their projection",
                ("resource",),
                registry=registry,
            ),
            last_event=Gauge(
                "informer_last_event_timestamp_seconds",
                "Unix time of the last event, bookmarks included",
                ("resource",),
                registry=registry,
            ),
            lag=Histogram(
                "informer_lag_seconds",
                "Time from the answer to a write of ours until the cache had come as far",
                ("resource",),
                buckets=_LAG_BUCKETS,
                registry=registry,
            ),
        )

    def of(self, resource: str) -> InformerMetrics:
        return InformerMetrics(
            relists={reason: self.relists.labels(resource, reason) for reason in _RELIST_REASONS},
            restarts={reason: self.restarts.labels(resource, reason) for reason in _RESTART_REASONS},
            malformed=self.malformed.labels(resource),
            last_event=self.last_event.labels(resource),
            lag=self.lag.labels(resource),
        )
