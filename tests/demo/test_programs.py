"""Programs that the demo runs: what is passed on, and that none outlives it."""

import signal
import subprocess
import sys

import pytest

from hack.demo_run import machine
from hack.demo_run.errors import DemoError
from hack.demo_run.programs import ROOT, output, stream

SCRIPT = """\
import sys
print('{"answer": 42}')
print("hack/images:    1.5s  building", file=sys.stderr)
print("hack/images:   12.0s    … done in 9 s", file=sys.stderr)
print("a plain line", file=sys.stderr)
if sys.argv[1:]:
    print("hack/images: no room: delete something", file=sys.stderr)
    raise SystemExit(1)
"""


def test_progress_is_passed_on_without_its_clock_and_the_answer_returned() -> None:
    lines: list[str] = []
    assert stream([sys.executable, "-c", SCRIPT], lines.append) == '{"answer": 42}\n'
    assert lines == ["building", "  … done in 9 s", "a plain line"]


def test_an_error_is_raised_and_not_said_twice() -> None:
    lines: list[str] = []
    with pytest.raises(DemoError, match=r"^no room: delete something$"):
        stream([sys.executable, "-c", SCRIPT, "fail"], lines.append)
    assert lines[-1] == "a plain line"


def test_a_silent_failure_still_says_what_failed() -> None:
    with pytest.raises(DemoError, match=r"-c raise SystemExit.* failed with status 3"):
        stream([sys.executable, "-c", "raise SystemExit(3)"], lambda _: None)


def test_a_short_program_that_fails_says_why() -> None:
    with pytest.raises(DemoError, match="No such file"):
        output(["cat", "/nonexistent"])


ATTACHED = """\
import sys
from hack.demo_run.programs import attached
from hack.demo_run.signals import InterruptedByUser, raise_on_signals
raise_on_signals()
try:
    attached(["sh", "-c", "echo started; exec sleep 600"])
except InterruptedByUser as interruption:
    sys.exit(interruption.exit_status)
"""


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_program_ends_with_us_however_we_end(number: signal.Signals, status: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ATTACHED], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(number)
        assert process.wait() == status
        assert process.stdout.read() == "", "its end is the end of the last process that could write"


TWICE = """\
import os, signal
from hack.demo_run.signals import InterruptedByUser, raise_on_signals
raise_on_signals()
try:
    os.kill(os.getpid(), signal.SIGINT)
except InterruptedByUser:
    os.kill(os.getpid(), signal.SIGTERM)
    print("cleaned up")
"""


def test_a_second_signal_does_not_disturb_the_cleaning_up() -> None:
    assert output([sys.executable, "-c", TWICE]) == "cleaned up\n"


def test_a_second_demo_on_the_same_cluster_is_refused() -> None:
    with (
        machine.alone("tests-of-the-demo"),
        pytest.raises(DemoError, match="choose another --name"),
        machine.alone("tests-of-the-demo"),
    ):
        pass
    with machine.alone("tests-of-the-demo"), machine.alone("another-test-of-the-demo"):
        pass
