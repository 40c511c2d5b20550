"""What the agent printed, in a file that the agent can change: its size, its end, and a bound for it."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

#: More than that is cut, so that no volume fills with it.
MAXIMUM_BYTES: Final = 64 * 1024 * 1024
#: How much of the end says how the agent's program ended.
TAIL_BYTES: Final = 256 * 1024
_FLAGS: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@attrs.define
class Transcript:
    """The transcript that the wrapper appends to; a link, a FIFO or a directory in its place counts as none.

    Args:
        hints: the directory that it is in.
        maximum_bytes: size beyond which it is cut.
    """

    hints: Path
    maximum_bytes: int = MAXIMUM_BYTES
    _cut: int = attrs.field(init=False, default=0)
    _kept: bytes = attrs.field(init=False, default=b"")

    def size(self) -> int | None:
        """How much was printed so far, with what was cut; None where there is no transcript."""
        with self._opened(os.O_RDONLY) as file:
            return None if file is None else self._cut + os.fstat(file).st_size

    def tail(self) -> bytes:
        """The last 256 KiB."""
        with self._opened(os.O_RDONLY) as file:
            found = b"" if file is None else _end_of(file)
        return (self._kept + found)[-TAIL_BYTES:]

    def keep_small(self) -> None:
        """Cut it where it is too large, remembering its end; the wrapper appends, so it goes on at the start.

        What is printed between the look and the cut is lost from the transcript, not from the container's log.
        """
        with self._opened(os.O_RDWR) as file:
            if file is None or os.fstat(file).st_size <= self.maximum_bytes:
                return
            self._kept = _end_of(file)
            self._cut += os.fstat(file).st_size
            os.ftruncate(file, 0)

    @contextmanager
    def _opened(self, mode: int) -> Iterator[int | None]:
        try:
            file = os.open(self.hints / "transcript", mode | _FLAGS)
        except OSError:
            # There is none yet, or the agent put something else there.
            yield None
            return
        try:
            yield file if stat.S_ISREG(os.fstat(file).st_mode) else None
        finally:
            os.close(file)


def _end_of(file: int) -> bytes:
    size = os.fstat(file).st_size
    return os.pread(file, TAIL_BYTES, max(0, size - TAIL_BYTES))
