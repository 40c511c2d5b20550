"""Running programs: what they say as they say it, and none that outlives us."""

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from hack.demo_run.errors import DemoError

ROOT = Path(__file__).resolve().parents[2]
# The kernel ends the program with us, however we end. It holds across exec, so also for what hack/cluster becomes.
WITH_US = ("setpriv", "--pdeathsig=TERM", "--")
# How the programs under hack/ begin their lines; the demo has a clock of its own.
_PREFIX = re.compile(r"^hack/[a-z]+: +(\d+\.\d+s  )?")


def output(command: Sequence[str], *, stdin: str = "") -> str:
    """Run a program that answers at once and return its standard output; raise DemoError with what it said."""
    answer = subprocess.run(
        command, input=stdin, capture_output=True, text=True, errors="replace", check=False, cwd=ROOT
    )
    if answer.returncode != 0:
        said = answer.stderr.strip() or f"exit status {answer.returncode}"
        raise DemoError(f"{' '.join(command[:3])}: {said}")
    return answer.stdout


def stream(command: Sequence[str], say: Callable[[str], None]) -> str:
    """Run a longer program, passing on each line of its standard error; return its standard output.

    Raises:
        DemoError: it failed; the message is the last line that it said.
    """
    last = ""
    with (
        tempfile.TemporaryFile("w+") as answer,
        subprocess.Popen(
            [*WITH_US, *command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stderr is not None  # noqa: S101 - says to mypy what PIPE means
        try:
            for line in _lines(process.stderr):
                # The last line of a program that fails is its error, and is said as such.
                if last:
                    say(last)
                last = line
            status = process.wait()
        except BaseException:
            process.terminate()
            raise
        if status != 0:
            raise DemoError(last or f"{' '.join(command[:3])} failed with status {status}")
        if last:
            say(last)
        answer.seek(0)
        return answer.read()


def attached(command: Sequence[str]) -> int:
    """Run a program with our own output and return its exit status; it is told to end if we are."""
    with subprocess.Popen([*WITH_US, *command], cwd=ROOT, stdin=subprocess.DEVNULL) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            raise


def _lines(said: IO[str]) -> Iterator[str]:
    for line in said:
        if text := _PREFIX.sub("", line.rstrip()):
            yield text
