"""Lines that say what is being done and for how long, so that waiting is not guessing."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO


@dataclass
class Progress:
    """Writes to `stream` (standard error: standard output is for results), every line with the seconds since the start."""

    prefix: str = "hack/cluster"
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    started: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Write one line."""
        elapsed = time.monotonic() - self.started
        print(f"{self.prefix}: {elapsed:6.1f}s  {text}", file=self.stream, flush=True)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Say what begins, and after its end how long it took if that was noticeable."""
        self.say(text)
        began = time.monotonic()
        yield
        if (took := time.monotonic() - began) >= 2:
            self.say(f"  … done in {took:.0f} s")


@dataclass
class Ticker:
    """Lets a long step speak at most every `interval` seconds."""

    progress: Progress
    interval: float = 10
    last: float = field(default_factory=time.monotonic)

    def tick(self, text: str) -> None:
        """Say the text if the last one is long enough ago."""
        if time.monotonic() - self.last >= self.interval:
            self.last = time.monotonic()
            self.progress.say(f"  … {text}")
