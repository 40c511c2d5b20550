"""How well the process itself is: event-loop lag and garbage-collection pauses, and how collection is kept quiet."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from attrs import define, field
from prometheus_client import CollectorRegistry, Histogram

from gastown_operator.runtime.clock import Clock

LAG_PERIOD = 1.0  # seconds between samples
_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@define
class Vitals:
    """Samples the event loop and times the garbage collector."""

    _clock: Clock
    _lag: Histogram
    _pauses: Histogram
    _collecting_since: float = field(default=0.0, init=False)

    @classmethod
    def on(cls, registry: CollectorRegistry, clock: Clock) -> "Vitals":
        """Register the histograms."""
        lag = Histogram(
            "event_loop_lag_seconds", "How late a timer came", buckets=_BUCKETS, registry=registry
        )
        pauses = Histogram("gc_pause_seconds", "Garbage collections", buckets=_BUCKETS, registry=registry)
        return cls(clock, lag, pauses)

    async def run(self) -> None:
        """Measure until cancelled."""
        gc.callbacks.append(self._collection)
        try:
            while True:
                started = self._clock.monotonic()
                await self._clock.sleep(LAG_PERIOD)
                self._lag.observe(max(0.0, self._clock.monotonic() - started - LAG_PERIOD))
        finally:
            gc.callbacks.remove(self._collection)

    def _collection(self, phase: str, _: Mapping[str, Any]) -> None:
        if phase == "start":
            self._collecting_since = perf_counter()
        else:
            self._pauses.observe(perf_counter() - self._collecting_since)


@contextmanager
def collection_paused() -> Iterator[None]:
    """Keep the collector from scanning, again and again, a heap that is only being filled.

    Afterwards everything that is there is taken out of its sight. Loading 20,000 pods costs 3 s of collections otherwise, and one
    collection at the end would still stop the event loop for 0.2 s; so it comes first, and the little garbage of the loading stays.
    """
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
