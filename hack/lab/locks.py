"""Locks that the kernel gives back, however their holder ends."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hack.lab.errors import LabError


@contextmanager
def held(path: Path, waiting: Callable[[], None], seconds: float) -> Iterator[int]:
    """Hold the lock of this file; yields its descriptor, which a child may inherit to keep the lock.

    `waiting` is called again and again while another process has it; raises LabError after `seconds`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + seconds
    while (descriptor := _taken(path)) is None:
        if time.monotonic() > deadline:
            raise LabError(
                f"{path} has been locked for {seconds:.0f} s: another hack/cluster works; end it or wait"
            )
        waiting()
        time.sleep(0.2)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _taken(path: Path) -> int | None:
    """The locked file's descriptor; None if another has the lock, or removed the file just before letting it go."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None
