"""Waiting for signals, a pipe and the clock in one place, without doing anything inside a signal handler."""

import os
import select
import signal
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Self

import attrs


def _note_only(_signal: int, _frame: FrameType | None) -> None:
    """Do nothing: the wakeup file descriptor has the signal's number already."""


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
    _previous: dict[signal.Signals, object] = attrs.field(init=False, factory=dict)

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._writer)
        for number in self.watched:
            self._previous[number] = signal.signal(number, _note_only)
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
