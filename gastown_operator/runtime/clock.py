"""Time as a dependency, so that tests can own it."""

from datetime import UTC, datetime
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

import anyio
from attrs import define, field


class Deadline(Protocol):
    """A context manager that cancels its body when its time has come."""

    @property
    def expired(self) -> bool:
        """Whether it was this deadline that ended the body; to be asked after the body."""
        ...

    def extend(self, seconds: float) -> None:
        """Move the deadline to so many seconds from now."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool: ...


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

    def deadline(self, seconds: float | None) -> Deadline:
        """Return a deadline so many seconds from now (None: never), to be entered at once."""
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

    def deadline(self, seconds: float | None) -> Deadline:
        """Return a deadline on the event loop's time."""
        return _LoopDeadline(anyio.move_on_after(seconds))


@define
class _LoopDeadline:
    _scope: anyio.CancelScope = field()

    @property
    def expired(self) -> bool:
        return self._scope.cancelled_caught

    def extend(self, seconds: float) -> None:
        self._scope.deadline = anyio.current_time() + seconds

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return bool(self._scope.__exit__(kind, error, trace))
