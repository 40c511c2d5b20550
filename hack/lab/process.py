"""Processes that are surely ours: a pid counts only together with its start time and boot."""

import json
import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

PROC = Path("/proc")


def boot_id() -> str:
    """Identifies this boot of the kernel; start times are counted from it."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def parse_stat(stat: str) -> tuple[str, int]:
    """State and start time (clock ticks since boot) of the text of /proc/PID/stat.

    The command in parentheses may hold spaces and parentheses, so the fields are counted from the last one.
    """
    fields = stat[stat.rindex(")") + 2 :].split()
    return fields[0], int(fields[19])


@dataclass(frozen=True)
class Process:
    """One process, distinct from a later one that got the same pid."""

    pid: int
    start_time: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        """The live process with this pid; None where there is none, or only its zombie."""
        try:
            state, start_time = parse_stat((PROC / str(pid) / "stat").read_text())
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if state in "ZX" else cls(pid, start_time, boot_id())

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return Process.of(self.pid) == self

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.start_time / os.sysconf("SC_CLK_TCK")


def save(process: Process, path: Path) -> None:
    """Write a process record atomically."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(process)))
    temporary.replace(path)


def load(path: Path) -> Process | None:
    """The recorded process if it still runs; None for no, a broken or an outlived record."""
    try:
        recorded = Process(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return recorded if recorded.alive else None


def stop(processes: Iterable[Process], grace: float) -> None:
    """End the processes: SIGTERM to all, and SIGKILL to those that live after `grace` seconds.

    A pidfd is opened before the identity is checked, so no signal can reach a stranger with a reused pid.
    """
    with ExitStack() as stack:
        pidfds = []
        for process in processes:
            try:
                pidfd = os.pidfd_open(process.pid)
            except ProcessLookupError:
                continue
            stack.callback(os.close, pidfd)
            if process.alive:
                pidfds.append(pidfd)
        if grace > 0:
            pidfds = _signal_and_wait(pidfds, signal.SIGTERM, grace)
        _signal_and_wait(pidfds, signal.SIGKILL, 10)


def _signal_and_wait(pidfds: list[int], number: signal.Signals, seconds: float) -> list[int]:
    """Signal them and wait; returns those that did not end in time. A zombie has: its pidfd is readable."""
    poller = select.poll()
    for pidfd in pidfds:
        with suppress(ProcessLookupError):  # it has ended by itself since, and its pidfd says so
            signal.pidfd_send_signal(pidfd, number)
        poller.register(pidfd, select.POLLIN)
    waiting = set(pidfds)
    deadline = time.monotonic() + seconds
    while waiting and (left := deadline - time.monotonic()) > 0:
        for pidfd, _ in poller.poll(left * 1000):
            poller.unregister(pidfd)
            waiting.discard(pidfd)
    return sorted(waiting)


def in_network_namespace(netns: Path) -> list[Process]:
    """The processes whose network namespace is the one mounted on `netns`."""
    try:
        wanted = netns.stat()
    except FileNotFoundError:
        return []
    found = []
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            status = (entry / "ns/net").stat()
        except OSError:  # it has ended, or is a kernel thread
            continue
        if (status.st_dev, status.st_ino) == (wanted.st_dev, wanted.st_ino):
            found.append(Process.of(int(entry.name)))
    return [process for process in found if process]
