"""Time as a dependency, so that tests can own it."""

from datetime import UTC, datetime
from time import monotonic
from typing import Protocol

import anyio


class Clock(Protocol):
    """Wall time for what people read, monotonic time for what we wait for."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back; only differences mean something."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; zero or less only yields to other tasks."""
        ...

    def deadline(self, seconds: float | None) -> anyio.CancelScope:
        """Return a scope, to be entered at once, that cancels its body after so many seconds (None: never).

        `cancelled_caught` of the scope tells afterwards whether it did.
        """
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the system's monotonic time."""
        return monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await anyio.sleep(max(0.0, seconds))

    def deadline(self, seconds: float | None) -> anyio.CancelScope:
        """Return a scope that cancels its body after so many seconds of the event loop's time."""
        return anyio.move_on_after(seconds)
