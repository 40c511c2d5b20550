"""The lines of several programs in the order in which they come."""

import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import IO, Self

from hack.demo_run.programs import WITH_US


@dataclass(frozen=True)
class Line:
    """What a program said; the text is None when it will say no more."""

    source: str
    text: str | None


class Streams:
    """Runs programs side by side; a context manager that ends them."""

    def __init__(self) -> None:
        self._lines: SimpleQueue[Line] = SimpleQueue()
        self._processes: list[subprocess.Popen[str]] = []
        self._threads: list[threading.Thread] = []

    def start(self, source: str, command: Sequence[str]) -> None:
        """Run a program whose lines, errors included, come as those of `source`."""
        process = subprocess.Popen(
            [*WITH_US, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout is not None  # noqa: S101 - says to mypy what PIPE means
        thread = threading.Thread(target=self._read, args=(source, process.stdout), name=source)
        self._processes.append(process)
        self._threads.append(thread)
        thread.start()

    def lines(self, deadline: float) -> Iterator[Line]:
        """Yield lines as they come, until the monotonic clock shows `deadline`."""
        while (left := deadline - time.monotonic()) > 0:
            try:
                yield self._lines.get(timeout=left)
            except Empty:
                return

    def stop(self) -> None:
        """End the programs."""
        for process in self._processes:
            process.kill()
            process.wait()
        for thread in self._threads:
            thread.join()
        for process in self._processes:
            if process.stdout is not None:
                process.stdout.close()

    def __enter__(self) -> Self:
        """Nothing runs yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the programs."""
        self.stop()

    def _read(self, source: str, said: IO[str]) -> None:
        for line in said:
            self._lines.put(Line(source, line.rstrip("\n")))
        self._lines.put(Line(source, None))
