"""Runs the scripted server and its readers, each in a process of its own, and takes the readings."""

import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from attrs import asdict, frozen

from tests.bench.figures import Figure

JSON = dict[str, Any]
START_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 10.0


class BenchmarkError(Exception):
    """A benchmark could not be run; says which part of it failed, and how."""


@frozen
class Child:
    """A program of ours that speaks in lines."""

    name: str
    process: "subprocess.Popen[bytes]"

    def line(self) -> bytes:
        """Return the next line that it says. Raises BenchmarkError when it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise BenchmarkError(f"{self.name} ended with status {self.process.wait(START_SECONDS)}")
        return line

    def ask(self, what: str) -> JSON:
        """Say a line, and return the answer. Raises BenchmarkError."""
        assert self.process.stdin is not None
        self.process.stdin.write(what.encode() + b"\n")
        self.process.stdin.flush()
        answer: JSON = orjson.loads(self.line())
        return answer


@contextmanager
def running(module: str, *arguments: str) -> Iterator[Child]:
    """Run a program of this package while the context is open; it ends when its standard input does, or is killed."""
    command = [sys.executable, "-m", f"tests.bench.{module}", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Child(" ".join((module, *arguments)), process)
        finally:
            process.kill()


@frozen
class Run:
    """What one reader did with the events of one start."""

    sent: int
    handled: int
    seconds: float
    cpu_seconds: float
    server_cpu_seconds: float
    moments: list[int]
    first_version: int
    report: JSON

    @property
    def rate(self) -> float:
        """Events that the reader handled, per second."""
        return self.handled / self.seconds

    @property
    def microseconds(self) -> float:
        """CPU time of the reader for one event."""
        return self.cpu_seconds / max(self.handled, 1) * 1e6

    @property
    def percent(self) -> float:
        """CPU time of the reader in per cent of one core."""
        return self.cpu_seconds / self.seconds * 100

    @property
    def kept_up(self) -> bool:
        """Whether all but the last of the events were handled when the time was over."""
        return self.sent - self.handled <= max(10, 0.01 * self.sent)

    def summary(self) -> JSON:
        """Return the numbers for the details of a figure."""
        return {
            "events_sent": self.sent,
            "events_handled": self.handled,
            "seconds": round(self.seconds, 2),
            "events_per_second": round(self.rate),
            "cpu_percent": round(self.percent, 1),
            "cpu_us_per_event": round(self.microseconds, 1),
            "server_cpu_percent": round(self.server_cpu_seconds / self.seconds * 100, 1),
        }


@contextmanager
def server(pods: int) -> Iterator[str]:
    """Run the scripted server; the value is its URL."""
    with running("stream_server", str(pods)) as child:
        yield child.line().decode().strip()


def measure_reader(url: str, reader: str, *arguments: str, rate: float, seconds: float) -> Run:
    """Start a reader, wait until it watches, send events to it, and return what it did until the last was sent."""
    with running(reader, *arguments, url) as child:
        child.line()
        before = child.ask("read")
        sent = _start(url, rate, seconds)
        after = child.ask("read")
        if after["events"] - before["events"] >= 0.9 * len(sent["moments"]):
            _settle(child, before["events"] + len(sent["moments"]))
        return Run(
            sent=len(sent["moments"]),
            handled=after["events"] - before["events"],
            seconds=after["at"] - before["at"],
            cpu_seconds=after["cpu"] - before["cpu"],
            server_cpu_seconds=sent["cpu_seconds"],
            moments=sent["moments"],
            first_version=sent["first_version"],
            report=child.ask("report"),
        )


def _settle(child: Child, events: int) -> None:
    """Wait until a reader that keeps up has handled the last events, too, and what follows from them."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while child.ask("read")["events"] < events and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)


def _start(url: str, rate: float, seconds: float) -> JSON:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=seconds + START_SECONDS)
    try:
        connection.request("POST", f"/start?rate={rate}&seconds={seconds}")
        answer: JSON = orjson.loads(connection.getresponse().read())
    finally:
        connection.close()
    return answer


def print_figures(figures: Iterable[Figure]) -> None:
    """Print figures as JSON lines, for a measure that is run alone."""
    for figure in figures:
        print(orjson.dumps({**asdict(figure), "met": figure.met}).decode())  # noqa: T201 - what it is run for
