"""Running long programs: everything into a log file, a line now and then for whoever waits."""

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hack.image_build.errors import CommandError

LINE_LENGTH = 110
TAIL = 15


class Progress:
    """Tells the user what happens, with the seconds since the start, on standard error."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def say(self, text: str) -> None:
        """Print one line, cut to a terminal's width."""
        line = f"hack/images: {self.seconds:4.0f} s  {text}"
        print(
            line if len(line) <= LINE_LENGTH else line[: LINE_LENGTH - 1] + "…", file=sys.stderr, flush=True
        )


def run(
    what: str,
    arguments: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] = lambda _: None,
) -> None:
    """Run a program with its output in `log`, passing each line to `on_line`; raise CommandError if it fails.

    `environment` is added to ours. `what` names the step in the error.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: deque[str] = deque(maxlen=TAIL)
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **(environment or {})},
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101 - says to mypy what PIPE means
        for line in process.stdout:
            file.write(line)
            tail.append(line.rstrip())
            on_line(line.rstrip())
    if process.returncode != 0:
        raise CommandError(what, process.returncode, log, list(tail))
