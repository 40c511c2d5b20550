"""The operator in the form that ships: configured by a mounted service account, as in a pod, and compiled beforehand."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlsplit

from attrs import define, field

from gastown_operator.runtime.configuration import SERVICE_ACCOUNT
from tests.bench.bodies import IMAGE
from tests.bench.direct import Access
from tests.bench.stream_server_process import BenchmarkError
from tests.support.cluster import kubectl
from tests.support.installation import NAMESPACE
from tests.support.installation import SERVICE_ACCOUNT as ACCOUNT

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 40.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
#: A mount namespace of its own, in which the account's directory is where the kubelet would put it.
_MOUNT: Final = """
mount -t tmpfs tmpfs /run
mkdir -p "$1"
mount --bind "$2" "$1"
shift 2
exec "$@"
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@define(eq=False)
class OperatorPod:
    """One operator process at a time; all its runs share one log."""

    directory: Path
    environment: dict[str, str]
    arguments: Sequence[str] = ()
    program: Sequence[str] = ("-m", "gastown_operator")
    _metrics: int = field(init=False, factory=_free_port)
    _health: int = field(init=False, factory=_free_port)
    _process: "subprocess.Popen[bytes] | None" = field(init=False, default=None)

    @property
    def pid(self) -> int:
        """The process id of the present run."""
        return self._running().pid

    @property
    def runs(self) -> bool:
        """Whether it was started and not ended."""
        return self._process is not None

    def start(self, *, ready: bool = True) -> None:
        """Start it; return at once, or once it is ready."""
        account = str(self.directory / "account")
        with (self.directory / "operator.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("unshare", "--mount", "--propagation", "private", "--"),
                    *("sh", "-euc", _MOUNT, "sh", str(SERVICE_ACCOUNT), account),
                    *(sys.executable, *self.program, "--workload-image", IMAGE, *self.arguments),
                    *("--metrics-bind-address", f"127.0.0.1:{self._metrics}"),
                    *("--health-probe-bind-address", f"127.0.0.1:{self._health}"),
                ],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if ready:
            self.await_ready()

    def await_ready(self) -> None:
        """Return once its caches are complete. Raises BenchmarkError."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers("/readyz"):
            self._check()
            if time.monotonic() > deadline:
                raise BenchmarkError(
                    f"the operator was not ready within {START_SECONDS:.0f} s:\n{self.tail()}"
                )
            time.sleep(0.05)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it by a signal, and wait for that; nothing happens when it does not run."""
        if self._process is not None:
            process, self._process = self._process, None
            process.send_signal(number)
            try:
                process.wait(STOP_SECONDS)
            finally:
                process.kill()

    def cpu_seconds(self) -> float:
        """CPU time that it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self, name: str = "VmRSS") -> float:
        """Resident memory in MiB: now, or the most there was (`VmHWM`)."""
        fields = dict(
            line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines()
        )
        return int(fields[name].split()[0]) / 1024

    def metric(self, name: str) -> float:
        """Return the sum of all series of a metric."""
        connection = HTTPConnection("127.0.0.1", self._metrics, timeout=10)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        return sum(
            float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name}{{", f"{name} "))
        )

    def tail(self, lines: int = 20) -> str:
        """Return the end of its log."""
        log = (self.directory / "operator.log").read_text(errors="replace")
        return "\n".join(log.splitlines()[-lines:])

    def _running(self) -> "subprocess.Popen[bytes]":
        self._check()
        assert self._process is not None
        return self._process

    def _check(self) -> None:
        if self._process is None:
            raise BenchmarkError("the operator does not run")
        if self._process.poll() is not None:
            raise BenchmarkError(f"the operator ended by itself:\n{self.tail()}")

    def _answers(self, path: str) -> bool:
        connection = HTTPConnection("127.0.0.1", self._health, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


@contextmanager
def operator_pod(
    access: Access, *arguments: str, program: Sequence[str] = ("-m", "gastown_operator")
) -> Iterator[OperatorPod]:
    """An operator that can be started; it is ended with the context."""
    with TemporaryDirectory(prefix="gastown-bench-") as directory:
        root = Path(directory)
        environment = _environment(access, root)
        _mount_account(access, root / "account")
        _compile(environment)
        operator = OperatorPod(root, environment, arguments, program)
        try:
            yield operator
        finally:
            operator.end()


def _environment(access: Access, root: Path) -> dict[str, str]:
    """What the kubelet and the image set."""
    address = urlsplit(access.server)
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "PYTHONPYCACHEPREFIX": str(root / "compiled"),
        "KUBERNETES_SERVICE_HOST": address.hostname or "",
        "KUBERNETES_SERVICE_PORT": str(address.port),
    }


def _mount_account(access: Access, directory: Path) -> None:
    directory.mkdir()
    (directory / "ca.crt").write_bytes(access.authority)
    (directory / "namespace").write_text(NAMESPACE)
    token = directory / "token"
    token.touch(mode=0o600)
    token.write_text(kubectl("create", "token", ACCOUNT, f"--namespace={NAMESPACE}", "--duration=4h").strip())


def _compile(environment: dict[str, str]) -> None:
    """Compile what is imported, as the image has it."""
    command = [sys.executable, "-m", "gastown_operator", "--version"]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
