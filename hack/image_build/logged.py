"""Running long programs with everything that they say in a log file."""

import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from hack.image_build.errors import CommandError

TAIL = 15


def run(
    what: str,
    arguments: Sequence[str],
    log: Path,
    *,
    on_line: Callable[[str], None] = lambda _: None,
) -> None:
    """Run a program with its output in `log`, passing each line to `on_line`; raise CommandError if it fails.

    `what` names the step in the error.
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
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101 - says to mypy what PIPE means
        for line in process.stdout:
            file.write(line)
            tail.append(line.rstrip())
            on_line(line.rstrip())
    if process.returncode != 0:
        raise CommandError(what, process.returncode, log, list(tail))
