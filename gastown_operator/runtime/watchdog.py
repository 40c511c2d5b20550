"""Ends a process that should have ended by itself, when nothing on its event loop can.

A loop that is blocked, by a long computation or a deadlock, cannot renew the lease and cannot step down; a reconcile in a thread or a
shielded scope cannot be cancelled. A thread can end both.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from attrs import define, field

from gastown_operator.runtime.clock import Clock

PERIOD = 0.5  # seconds between looks
NEVER = float("inf")
_LAST_WORDS = (
    b'{"level":"critical","logger":"watchdog","msg":"the process did not end in time: ending it at once"}\n'
)


def end_process() -> NoReturn:
    """End the process with status 1 at once, whatever its other threads do or hold."""
    with suppress(OSError):
        os.set_blocking(2, False)  # who reads the log may be what the event loop waits for
        os.write(2, _LAST_WORDS)  # not by `logging`, whose lock the event loop may hold
    os._exit(1)


@define(eq=False)
class Watchdog:
    """Calls `end` when the monotonic time is beyond `limit`, which everybody on the event loop may set."""

    _clock: Clock
    _end: Callable[[], None] = end_process
    limit: float = NEVER
    _stopped: threading.Event = field(factory=threading.Event)

    def expect_end_within(self, seconds: float) -> None:
        """End the process unless it has ended so many seconds from now."""
        self.limit = self._clock.monotonic() + seconds

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at the limit while the context lasts."""
        thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(PERIOD):
            if self._clock.monotonic() > self.limit:
                self._end()
                return
