"""Ends a leader whose event loop no longer turns, when nothing on that loop can.

A loop that is blocked, by a long computation or a deadlock, cannot renew the lease and cannot step down. A thread can.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import NoReturn, Protocol

from attrs import define, field

logger: logging.Logger = logging.getLogger(__name__)

PERIOD = 0.5  # seconds between looks
MARGIN = 1.0  # seconds after the deadline in which the loop may still step down in order


class Leadership(Protocol):
    """What the watchdog reads, from its own thread."""

    @property
    def leading(self) -> bool:
        """Whether this process takes itself for the leader."""
        ...

    @property
    def deadline(self) -> float:
        """Until when it may write, in monotonic seconds."""
        ...


def end_process() -> NoReturn:
    """End the process at once, whatever its other threads do."""
    os._exit(1)


@define(eq=False)
class Watchdog:
    """Calls `end` once a leader is `MARGIN` seconds beyond its deadline."""

    _leadership: Leadership
    _end: Callable[[], None] = end_process
    _stopped: threading.Event = field(factory=threading.Event)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look after the leadership while the context lasts."""
        thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(PERIOD):
            if self._leadership.leading and monotonic() > self._leadership.deadline + MARGIN:
                logger.critical("the event loop stands still and the lease has run out: ending at once")
                self._end()
                return
