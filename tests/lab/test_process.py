"""Processes are told apart by their start time, and ended in bounded time."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from hack.lab import process
from hack.lab.process import Process

WAITS = "import sys; print('started', flush=True); sys.stdin.read()"
IGNORES_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAITS}"


@pytest.fixture
def start() -> Iterator["Starter"]:
    with Starter() as starter:
        yield starter


class Starter:
    """Starts Python programs that say when they have started; ends them after the test."""

    def __init__(self) -> None:
        self.children: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.children:
            child.kill()
            child.communicate()

    def __call__(self, program: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.children.append(child)
        if child.stdout:
            assert child.stdout.readline() == "started\n"
        return child


def identity(child: "subprocess.Popen[str]") -> Process:
    found = Process.of(child.pid)
    assert found
    return found


@pytest.mark.parametrize("command", ["sleep", "a b", "a) R 1 (b", ")"])
def test_the_start_time_is_found_whatever_the_command_is_called(command: str) -> None:
    fields = " ".join(str(number) for number in range(4, 53))
    assert process.parse_stat(f"7 ({command}) S {fields}\n") == ("S", 22)


def test_a_recorded_process_is_found_again(tmp_path: Path) -> None:
    ourselves = Process.of(os.getpid())
    assert ourselves
    process.save(ourselves, tmp_path / "self.json")
    assert process.load(tmp_path / "self.json") == ourselves


@pytest.mark.parametrize(
    "stranger",
    [
        lambda ours: replace(ours, start_time=1),
        lambda ours: replace(ours, boot="another"),
        lambda ours: replace(ours, pid=2**22 + 1),
    ],
    ids=["started at another time", "of another boot", "a pid that cannot be"],
)
def test_a_record_of_another_process_is_no_process(
    stranger: Callable[[Process], Process], tmp_path: Path
) -> None:
    ourselves = Process.of(os.getpid())
    assert ourselves
    process.save(stranger(ourselves), tmp_path / "other.json")
    assert process.load(tmp_path / "other.json") is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', "null"])
def test_a_broken_record_is_no_process(content: str, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text(content)
    assert process.load(tmp_path / "broken.json") is None


def test_a_missing_record_is_no_process(tmp_path: Path) -> None:
    assert process.load(tmp_path / "missing.json") is None


def test_a_zombie_is_no_process(start: Starter) -> None:
    child = start(WAITS)
    pidfd = os.pidfd_open(child.pid)
    child.kill()
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
    os.close(pidfd)
    assert Process.of(child.pid) is None


def test_stop_lets_a_process_end_by_itself(start: Starter) -> None:
    child = start(WAITS)
    process.stop([identity(child)], grace=30)
    assert child.wait() == -signal.SIGTERM


def test_stop_kills_what_ignores_sigterm_after_its_grace(start: Starter) -> None:
    child = start(IGNORES_SIGTERM)
    process.stop([identity(child)], grace=0.05)
    assert child.wait() == -signal.SIGKILL


def test_stop_spares_a_stranger_that_got_the_pid(start: Starter) -> None:
    child = start(WAITS)
    process.stop([replace(identity(child), start_time=1)], grace=0)
    assert child.poll() is None


def test_stop_of_what_has_ended_does_nothing(start: Starter) -> None:
    child = start(WAITS)
    gone = identity(child)
    child.kill()
    child.wait()
    process.stop([gone], grace=30)


def test_stop_of_what_ends_just_then_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["true"]) as child:
        descriptor = os.pidfd_open(child.pid)
        child.wait()
    # As if it had ended after its pidfd was opened.
    monkeypatch.setattr(os, "pidfd_open", lambda _: descriptor)

    ourselves = Process.of(os.getpid())

    assert ourselves is not None
    process.stop([ourselves], grace=1)


def test_the_processes_of_our_own_network_namespace_include_us() -> None:
    found = process.in_network_namespace(Path("/proc/self/ns/net"))
    assert Process.of(os.getpid()) in found


def test_a_network_namespace_that_is_gone_has_no_processes(tmp_path: Path) -> None:
    assert process.in_network_namespace(tmp_path / "netns") == []
