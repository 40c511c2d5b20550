"""Running programs: what they say as they say it, and none that outlives us."""

import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from hack.demo_run.errors import DemoError

ROOT = Path(__file__).resolve().parents[2]
# The kernel ends the program with us, however we end. It holds across exec, so also for what hack/cluster becomes.
WITH_US = ("setpriv", "--pdeathsig=TERM", "--")
# How the programs under hack/ begin their lines: progress has their own clock, which ours replaces; an error has none.
_PROGRESS = re.compile(r"^hack/[a-z]+: +\d+\.\ds  ")
_ERROR = re.compile(r"^hack/[a-z]+: ")


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
        DemoError: it failed; the message is the error that it printed, else its last line.
    """
    error = last = ""
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
            for line in process.stderr:
                last = _PROGRESS.sub("", line.rstrip())
                if _ERROR.match(last):
                    error = _ERROR.sub("", last)
                else:
                    say(last)
            status = process.wait()
        except BaseException:
            process.terminate()
            raise
        if status != 0:
            raise DemoError(error or last or f"{' '.join(command[:3])} failed with status {status}")
        answer.seek(0)
        return answer.read()


def attached(command: Sequence[str], descriptors: Sequence[int] = ()) -> int:
    """Run a program with our own output, and these descriptors, and return its exit status; it is told to end if we are."""
    with subprocess.Popen(
        [*WITH_US, *command], cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=descriptors
    ) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            raise
