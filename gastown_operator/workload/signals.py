"""Waiting for signals, a pipe and the clock in one place; a signal handler notes the time, and nothing else unless asked to break off."""

import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Self

import attrs

from gastown_operator.workload.errors import WorkloadError

#: Signals after which the container is killed soon.
KILLED_SOON = (signal.SIGTERM, signal.SIGINT)


class EndComesError(WorkloadError):
    """A signal to end came while something could be broken off."""


@attrs.define
class Wakeups:
    """Signals as data: `wait` returns those that came.

    Use as a context manager, in the main thread; the handlers are put back at the end.

    Args:
        watched: signals to catch.
        pipe: a FIFO; when its last writer closes it, `wait` reports `SIGCHLD` once.
    """

    watched: Iterable[signal.Signals]
    pipe: Path | None = None
    _reader: int = attrs.field(init=False, default=-1)
    _writer: int = attrs.field(init=False, default=-1)
    _pipe_reader: int = attrs.field(init=False, default=-1)
    _end_came_at: float | None = attrs.field(init=False, default=None)
    _breakable: bool = attrs.field(init=False, default=False)
    _previous: dict[signal.Signals, object] = attrs.field(init=False, factory=dict)

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._writer)
        for number in self.watched:
            self._previous[number] = signal.signal(number, self._note)
        if self.pipe is not None:
            self._pipe_reader = os.open(self.pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # it is what signal.signal returned
        for descriptor in (self._reader, self._writer, self._pipe_reader):
            if descriptor >= 0:
                os.close(descriptor)

    @property
    def end_came_at(self) -> float | None:
        """When the first signal to end came, by `time.monotonic`; also while nobody waited."""
        return self._end_came_at

    @contextmanager
    def breaking_off(self) -> Iterator[None]:
        """Break off what is done inside when a signal to end comes: only for a wait that may be left at any point.

        Raises:
            EndComesError: it came, or had come before.
        """
        if self._end_came_at is not None:
            raise EndComesError("the container is told to end")
        self._breakable = True
        try:
            yield
        finally:
            self._breakable = False

    def _note(self, number: int, _frame: FrameType | None) -> None:
        """The wakeup file descriptor has the signal's number already; only the time is missing."""
        if number not in KILLED_SOON or self._end_came_at is not None:
            return
        self._end_came_at = time.monotonic()
        if self._breakable:
            raise EndComesError("the container is told to end")

    def wait(self, seconds: float) -> set[signal.Signals]:
        """Signals that came, at the latest after `seconds`; empty when the time passed."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        if self._pipe_reader >= 0:
            poll.register(self._pipe_reader, select.POLLHUP)
        ready = dict(poll.poll(max(0.0, seconds) * 1000))
        came: set[signal.Signals] = set()
        if self._reader in ready:
            came |= {signal.Signals(number) for number in os.read(self._reader, 4096)}
        if self._pipe_reader in ready:
            os.close(self._pipe_reader)
            self._pipe_reader = -1
            came.add(signal.SIGCHLD)
        return came
