"""What every reader of the scripted server is to its benchmark: a process that says how much CPU it took between two moments."""

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from attrs import define, field


@define(eq=False)
class Meter:
    """Counts what this process does with events, and answers on standard output.

    It says `ready` once; each line of standard input then is answered by a reading. When standard input ends, so does the process.
    """

    events: int = 0
    _more: Callable[[], Mapping[str, Any]] = field(default=dict)

    def ready(self) -> None:
        """Say that the events may begin. In a thread of its own from here on, so that no event loop is disturbed."""
        threading.Thread(target=self._obey, daemon=True).start()

    def ready_after(self, seconds: float) -> None:
        """Say so after some seconds, for libraries that do not tell when."""
        threading.Timer(seconds, self.ready).start()

    def _obey(self) -> None:
        self._say({"ready": True})
        for line in sys.stdin:
            more = self._more() if line == "report\n" else {}
            reading = {"events": self.events, "cpu": time.process_time(), "at": time.monotonic()}
            self._say({**reading, **more})
        os._exit(0)

    def _say(self, what: Mapping[str, Any]) -> None:
        sys.stdout.buffer.write(orjson.dumps(what) + b"\n")
        sys.stdout.buffer.flush()
