"""Waits in tests: for what a system that is level-triggered brings about by itself."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    look: Callable[[], T | None], what: str, seconds: float = 60.0, instead: Callable[[], str] = lambda: ""
) -> T:
    """Return the first truthy answer of `look`. Raises AssertionError with `what`, and what is `instead`, when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what} {instead()}".rstrip()
        time.sleep(0.1)
    return found
