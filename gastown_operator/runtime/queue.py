"""The work queue: one for all controllers, with a lane for each.

Invariants: a key is never handed to two workers at once, and an addition that comes after a key was handed out is
always seen by a later turn. Semantics follow controller-runtime's priority queue
(pkg/controller/priorityqueue): additions merge to the highest priority and the earliest time.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from heapq import heapify, heappop, heappush
from itertools import count
from typing import NamedTuple

import anyio
from attrs import define, field, frozen

from gastown_operator.runtime.clock import Clock
from gastown_operator.runtime.metrics import LaneMetrics, Metrics
from gastown_operator.runtime.objects import ObjectKey

LOW_PRIORITY = -100  # controller-runtime handler.LowPriority: what was there before we started
BASE_DELAY = 0.005  # client-go DefaultTypedControllerRateLimiter
MAX_DELAY = 1000.0
COMPACTION = 64  # entries of the heap of delays from which on void ones are dropped


class Request(NamedTuple):
    """One object that one controller should look at: the key of the queue."""

    controller: str
    key: ObjectKey


class Ticket(NamedTuple):
    """A key handed to a worker, which must give it back with `done`."""

    request: Request
    priority: int


@frozen
class LaneState:
    """What a lane holds at this moment, for metrics and dumps. Ages in seconds."""

    ready_by_priority: Mapping[int, int]
    delayed: int
    processing: Mapping[Request, float]
    backing_off: Mapping[Request, int]


@define
class _Item:
    """A key that needs work. `ready_at` is None once it may be handed out; `sequence` is its place in its priority."""

    priority: int
    ready_at: float | None
    sequence: int
    since: float


@define(eq=False)
class _Lane:
    metrics: LaneMetrics
    items: dict[Request, _Item] = field(factory=dict)
    ready: list[tuple[int, int, Request]] = field(factory=list)
    processing: dict[Request, float] = field(factory=dict)
    failures: dict[Request, int] = field(factory=dict)
    idle: deque[anyio.Event] = field(factory=deque)

    def next_ready(self) -> Request | None:
        """Return the key at the head, dropping entries that a later addition made void."""
        while self.ready:
            _, sequence, request = self.ready[0]
            item = self.items.get(request)
            if item and item.sequence == sequence:
                return request
            heappop(self.ready)
        return None

    def wake_one(self) -> None:
        if self.idle:
            self.idle.popleft().set()


@define(eq=False, repr=False)
class WorkQueue:
    """Keys that need work, per controller; `run` must be running for delays to end."""

    _clock: Clock
    _metrics: Metrics
    _lanes: dict[str, _Lane] = field(factory=dict)
    _delayed: list[tuple[float, int, Request]] = field(factory=list)
    _compact_at: int = COMPACTION
    _sequence: Iterator[int] = field(factory=count)
    _rescheduled: anyio.Event = field(factory=anyio.Event)
    _closed: bool = False
    _emptied: anyio.Event = field(factory=anyio.Event)

    def open_lane(self, controller: str) -> None:
        """Make the lane of a controller, before anything is added to it."""
        if controller in self._lanes:
            raise ValueError(f"controller {controller!r} exists already")
        self._lanes[controller] = _Lane(self._metrics.lane(controller))
        self._metrics.watch_lane(controller, lambda: self.state(controller))

    def add(self, request: Request, *, priority: int = 0, after: float = 0.0) -> None:
        """Ask for work on a key, after some seconds. Ignored once the queue is shut down."""
        if self._closed:
            return
        lane, now = self._lanes[request.controller], self._clock.monotonic()
        ready_at = now + after if after > 0 else None
        item = lane.items.get(request)
        if item is None:
            item = lane.items[request] = _Item(priority, ready_at, next(self._sequence), now)
        elif not _merge(item, priority, ready_at, self._sequence, now):
            return
        self._schedule(lane, request, item)

    def add_rate_limited(self, request: Request, *, priority: int = 0, least: float = 0.0) -> float:
        """Ask for work after the key's own exponential delay, or `least` if that is longer; return the delay in seconds."""
        lane = self._lanes[request.controller]
        failures = lane.failures.get(request, 0)
        lane.failures[request] = failures + 1
        delay = max(least, min(BASE_DELAY * 2.0 ** min(failures, 64), MAX_DELAY))
        lane.metrics.retries.inc()
        self.add(request, priority=priority, after=delay)
        return delay

    def forget(self, request: Request) -> None:
        """Start the key's exponential delay from the beginning again."""
        self._lanes[request.controller].failures.pop(request, None)

    def failures(self, request: Request) -> int:
        """Return how often in a row the key was added with `add_rate_limited`."""
        return self._lanes[request.controller].failures.get(request, 0)

    async def get(self, controller: str) -> Ticket | None:
        """Wait for a key of this controller and take it; None once the queue is shut down."""
        lane = self._lanes[controller]
        while not self._closed:
            request = lane.next_ready()
            if request is not None:
                return self._take(lane, request)
            await self._idle(lane)
        return None

    def done(self, request: Request) -> None:
        """Give back a key; if it was added meanwhile, it is next in its place."""
        lane = self._lanes[request.controller]
        started = lane.processing.pop(request)
        lane.metrics.work_duration.observe(self._clock.monotonic() - started)
        item = lane.items.get(request)
        if item is not None and item.ready_at is None:
            self._offer(lane, request, item)
        if self._closed and self._is_empty():
            self._emptied.set()

    async def run(self) -> None:
        """Let delays end, with one timer for all of them. Returns when the queue is shut down."""
        while not self._closed:
            self._rescheduled = anyio.Event()
            wait = self.release_due()
            with self._clock.deadline(wait):
                await self._rescheduled.wait()

    def shut_down(self) -> None:
        """Hand out nothing more and forget what waits; keys in work may be finished (see `drained`)."""
        self._closed = True
        self._delayed.clear()
        self._rescheduled.set()
        for lane in self._lanes.values():
            lane.items.clear()
            while lane.idle:
                lane.wake_one()
        if self._is_empty():
            self._emptied.set()

    async def drained(self) -> None:
        """Return once the queue is shut down and no key is in work."""
        await self._emptied.wait()

    def controllers(self) -> tuple[str, ...]:
        """Return whose lanes there are."""
        return tuple(self._lanes)

    def state(self, controller: str) -> LaneState:
        """Return a snapshot of a lane."""
        lane, now = self._lanes[controller], self._clock.monotonic()
        ready: dict[int, int] = {}
        for item in lane.items.values():
            if item.ready_at is None:
                ready[item.priority] = ready.get(item.priority, 0) + 1
        return LaneState(
            ready_by_priority=ready,
            delayed=sum(item.ready_at is not None for item in lane.items.values()),
            processing={request: now - started for request, started in lane.processing.items()},
            backing_off=dict(lane.failures),
        )

    def _take(self, lane: _Lane, request: Request) -> Ticket:
        now = self._clock.monotonic()
        heappop(lane.ready)
        item = lane.items.pop(request)
        lane.processing[request] = now
        lane.metrics.queue_duration.observe(now - item.since)
        return Ticket(request, item.priority)

    async def _idle(self, lane: _Lane) -> None:
        waiter = anyio.Event()
        lane.idle.append(waiter)
        try:
            await waiter.wait()
        except BaseException:
            if waiter.is_set():
                lane.wake_one()  # the call was meant for us; hand it on
            else:
                lane.idle.remove(waiter)
            raise

    def _schedule(self, lane: _Lane, request: Request, item: _Item) -> None:
        if item.ready_at is None:
            lane.metrics.adds.inc()
            if request not in lane.processing:
                self._offer(lane, request, item)
            return
        if len(self._delayed) >= self._compact_at:
            self._compact()
        heappush(self._delayed, (item.ready_at, item.sequence, request))
        if self._delayed[0][1] == item.sequence:
            self._rescheduled.set()

    def _compact(self) -> None:
        """Drop the entries that later additions made void; those far in the future would pile up for ever."""
        self._delayed = [
            (ready_at, sequence, request)
            for ready_at, sequence, request in self._delayed
            if (item := self._lanes[request.controller].items.get(request)) and item.sequence == sequence
        ]
        heapify(self._delayed)
        self._compact_at = max(COMPACTION, 2 * len(self._delayed))

    def _offer(self, lane: _Lane, request: Request, item: _Item) -> None:
        heappush(lane.ready, (-item.priority, item.sequence, request))
        lane.wake_one()

    def release_due(self) -> float | None:
        """Make ready what is due; return the seconds until something is, or None."""
        now = self._clock.monotonic()
        while self._delayed:
            ready_at, _, request = self._delayed[0]
            lane = self._lanes[request.controller]
            item = lane.items.get(request)
            if item is not None and item.ready_at == ready_at:
                if ready_at > now:
                    return ready_at - now
                item.ready_at, item.sequence, item.since = None, next(self._sequence), now
                self._schedule(lane, request, item)
            heappop(self._delayed)
        return None

    def _is_empty(self) -> bool:
        return not any(lane.processing for lane in self._lanes.values())


def _merge(item: _Item, priority: int, ready_at: float | None, sequence: Iterator[int], now: float) -> bool:
    """Take the higher priority and the earlier time; return whether the item must be scheduled anew."""
    raised = priority > item.priority
    sooner = item.ready_at is not None and (ready_at is None or ready_at < item.ready_at)
    if raised:
        item.priority = priority
    if sooner:
        item.ready_at = ready_at
        item.since = now
    if not (sooner or (raised and item.ready_at is None)):
        return False
    item.sequence = next(sequence)
    return True
