"""Help for tests of what runs on this runtime: a clock that stands still until it is told to move."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from types import TracebackType
from typing import Self

import anyio
from anyio.lowlevel import checkpoint
from attrs import define, field

from gastown_operator.runtime.clock import Deadline

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@define
class VirtualClock:
    """A Clock whose time passes only by `advance` and `next_sleep`; who waits on it wakes at the exact moment."""

    _elapsed: float = 0.0
    _timers: list[tuple[float, int, Callable[[], None]]] = field(factory=list)
    _sleeps: list[float] = field(factory=list)
    _slept: anyio.Event = field(factory=anyio.Event)
    _sequence: Iterator[int] = field(factory=count)

    def now(self) -> datetime:
        """Return the virtual wall time; it begins at `EPOCH`."""
        return EPOCH + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Return the virtual seconds since the beginning."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Wait until the time was moved so far."""
        if seconds <= 0:
            await checkpoint()
            return
        woken, end = anyio.Event(), self._elapsed + seconds
        self.call_at(end, woken.set)
        self._sleeps.append(end)
        self._slept.set()
        try:
            await woken.wait()
        finally:
            self._sleeps.remove(end)

    def deadline(self, seconds: float | None) -> Deadline:
        """Return a deadline in virtual time."""
        return _VirtualDeadline(self, None if seconds is None else self._elapsed + seconds)

    def call_at(self, moment: float, callback: Callable[[], None]) -> None:
        """Call back when `monotonic` reaches a moment."""
        heappush(self._timers, (moment, next(self._sequence), callback))

    def move(self, seconds: float) -> None:
        """Pass some time at once, for code that does not wait."""
        end = self._elapsed + seconds
        while self._timers and self._timers[0][0] <= end:
            self._elapsed, _, callback = heappop(self._timers)
            callback()
        self._elapsed = end

    async def advance(self, seconds: float) -> None:
        """Pass some time, letting every task run as far as it can at each moment at which one wakes."""
        end = self._elapsed + seconds
        await anyio.wait_all_tasks_blocked()
        while self._timers and self._timers[0][0] <= end:
            self.move(self._timers[0][0] - self._elapsed)
            await anyio.wait_all_tasks_blocked()
        self.move(end - self._elapsed)
        await anyio.wait_all_tasks_blocked()

    async def next_sleep(self) -> float:
        """Wait (in real time) until a task sleeps, pass exactly the time until one wakes, and return how much."""
        while not self._sleeps:
            self._slept = anyio.Event()
            await self._slept.wait()
        seconds = min(self._sleeps) - self._elapsed
        await self.advance(seconds)
        return seconds


@define
class _VirtualDeadline:
    _clock: VirtualClock
    _moment: float | None
    _scope: anyio.CancelScope = field(factory=anyio.CancelScope)

    @property
    def expired(self) -> bool:
        return self._scope.cancelled_caught

    def extend(self, seconds: float) -> None:
        self._moment = self._clock.monotonic() + seconds
        self._clock.call_at(self._moment, self._ring)

    def _ring(self) -> None:
        if self._moment is not None and self._clock.monotonic() >= self._moment:
            self._scope.cancel()

    def __enter__(self) -> Self:
        self._scope.__enter__()
        if self._moment is not None:
            self._clock.call_at(self._moment, self._ring)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._moment = None
        return bool(self._scope.__exit__(kind, error, trace))
