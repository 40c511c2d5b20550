"""The operator as a child process, under the rights of its shipped ServiceAccount."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path

from attrs import define, field

from tests.support.waiting import eventually

START_SECONDS = 60.0  # where others want the processor, too
STOP_SECONDS = 35.0  # the operator's own limit is 30 s


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@define
class OperatorProcess:
    """Starts, kills and restarts one operator; every run adds to one log.

    Args:
        kubeconfig: whose rights it has.
        log: where its output goes.
        arguments: its command line, but for the addresses.
    """

    kubeconfig: Path
    log: Path
    arguments: Sequence[str]
    _health: int = field(init=False, factory=_free_port)
    _process: "subprocess.Popen[bytes] | None" = field(init=False, default=None)

    @property
    def pid(self) -> int:
        """The process id of the present run."""
        return self._running().pid

    def start(self) -> None:
        """Start it and return once it is ready: its caches have synced."""
        assert self._process is None, "it runs already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gastown_operator", *self.arguments),
                    *("--metrics-bind-address", "127.0.0.1:0"),
                    *("--health-probe-bind-address", f"127.0.0.1:{self._health}"),
                ],
                env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        eventually(self._ready, "the operator is ready", START_SECONDS)

    def kill(self) -> None:
        """End it as SIGKILL does: with no chance to finish anything."""
        process = self._running()
        process.send_signal(signal.SIGKILL)
        process.wait()
        self._process = None

    def stop(self) -> int:
        """Ask it to end, and return its exit status."""
        process = self._running()
        process.terminate()
        self._process = None
        return process.wait(STOP_SECONDS)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._running().send_signal(number)

    def ended(self) -> int:
        """Return its exit status, once it has ended by itself. Raises TimeoutExpired if it does not."""
        status = self._running().wait(STOP_SECONDS)
        self._process = None
        return status

    @property
    def runs(self) -> bool:
        """Whether it was started, and neither ended nor killed since."""
        return self._process is not None and self._process.poll() is None

    def tail(self, lines: int = 40) -> str:
        """Return the last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _running(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "it does not run"
        return self._process

    def _ready(self) -> bool:
        assert self._running().poll() is None, f"the operator ended: {self.tail()}"
        connection = HTTPConnection("127.0.0.1", self._health, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:  # nobody listens yet, or answers
            return False
        finally:
            connection.close()
