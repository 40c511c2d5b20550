"""Waits until the machine has calmed down, so that one run does not pay for the clearing up of the one before."""

import time
from pathlib import Path
from typing import Final

PERIOD: Final = 1.0
IDLE: Final = 0.85
LONGEST: Final = 30.0
SECONDS_PER_POLECAT: Final = 0.02


def rest(polecats: int) -> None:
    """Return when the processors have been mostly idle for a second, or when so many polecats must be forgotten."""
    deadline = time.monotonic() + min(LONGEST, SECONDS_PER_POLECAT * polecats)
    while _idle_share() < IDLE and time.monotonic() < deadline:
        pass


def _idle_share() -> float:
    before = _times()
    time.sleep(PERIOD)
    after = _times()
    spent = [later - former for former, later in zip(before, after, strict=True)]
    return (spent[3] + spent[4]) / max(1, sum(spent))


def _times() -> list[int]:
    """Ticks of all processors together: user, nice, system, idle, iowait and so on (proc(5))."""
    line = Path("/proc/stat").read_text().splitlines()[0]
    return [int(number) for number in line.split()[1:9]]
