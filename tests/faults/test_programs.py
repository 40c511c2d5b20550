"""The real program as a child process: what it says when it cannot start, and how it stops (pitfall 28, bad input)."""

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import yaml
from aiohttp import web
from anyio.abc import Process
from anyio.lowlevel import checkpoint
from attrs import define, field

from gastown_operator.api.core import NAMESPACE, POD
from gastown_operator.api.polecat import POLECAT
from gastown_operator.api.rig import RIG
from tests.faults.conftest import until
from tests.faults.scripted_server import ScriptedServer, cut_off
from tests.support.key_pairs import make_pair
from tests.unit.controllers.objects import WORKERS, polecat_body, rig_body

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

STOP_LIMIT = 30.0
PODS = POD.path(WORKERS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def kubeconfig(path: Path, server: str, **cluster: Any) -> Path:
    """Write a kubeconfig for a server."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": {"token": "made-up"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


@define
class Operator:
    """One run of the program; what it says is read as it comes."""

    process: Process
    health: int
    said: list[str] = field(factory=list)

    async def listen(self) -> None:
        assert self.process.stderr is not None
        async for text in self.process.stderr:
            self.said.append(text.decode())

    def ready(self) -> bool:
        """Ask the program whether it is ready."""
        connection = HTTPConnection("127.0.0.1", self.health, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    @property
    def text(self) -> str:
        return "".join(self.said)

    async def says(self, words: str) -> None:
        """Wait until it has said something; it must not end before."""
        with anyio.fail_after(30):
            while words not in self.text:
                assert self.process.returncode is None, self.text
                await checkpoint()

    async def is_ready(self) -> None:
        """Wait until it says that it is ready."""
        with anyio.fail_after(30):
            while not await anyio.to_thread.run_sync(self.ready):
                assert self.process.returncode is None, self.text


@asynccontextmanager
async def operator(config: Path, *arguments: str) -> AsyncIterator[Operator]:
    """Run the program; whatever happens, it is gone afterwards."""
    health = free_port()
    command = [
        *(sys.executable, "-m", "gastown_operator", "--workload-image", "w:1", *arguments),
        *("--metrics-bind-address", "0", "--health-probe-bind-address", f"127.0.0.1:{health}"),
    ]
    environment: Mapping[str, str] = {**os.environ, "KUBECONFIG": str(config)}
    async with await anyio.open_process(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        run = Operator(process, health)
        async with anyio.create_task_group() as group:
            group.start_soon(run.listen)
            try:
                yield run
            finally:
                if process.returncode is None:
                    process.kill()


async def ended(run: Operator, seconds: float = STOP_LIMIT) -> int:
    """Wait for its end; return the exit status."""
    with anyio.fail_after(seconds):
        return await run.process.wait()


def rig_and_polecats(server: ScriptedServer, *names: str) -> None:
    # Where the policy is made that a pod waits for.
    server.put(NAMESPACE.path("", WORKERS), {"metadata": {"name": WORKERS}, "status": {"phase": "Active"}})
    server.put(RIG.path("", "project"), rig_body())
    for name in names:
        server.put(POLECAT.path(WORKERS, name), polecat_body(name))


def pods(server: ScriptedServer) -> list[str]:
    return [path for path in server.objects if path.startswith(f"{PODS}/")]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param("{", ": ", id="cut short"),
        pytest.param("current-context: c\n", ": ", id="half empty"),
        pytest.param("clusters: {c: [}", ": ", id="not YAML"),
        pytest.param(None, ": no such file", id="missing"),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_is_one_line_and_exit_status_1(
    tmp_path: Path, content: str | None, complaint: str
) -> None:
    config = tmp_path / "config"
    if content is not None:
        config.write_text(content)
    async with operator(config) as run:
        assert await ended(run) == 1
    lines = [line for line in run.text.splitlines() if not line.startswith("{")]
    assert len(lines) == 1
    assert lines[0].startswith(f"gastown-operator: kubeconfig {config}{complaint}")


@pytest.mark.parametrize("member", ["certificate-authority-data", "certificate-authority"])
async def test_a_certificate_authority_that_is_none_is_one_line_and_exit_status_1(
    tmp_path: Path, member: str
) -> None:
    config = kubeconfig(tmp_path / "config", "https://127.0.0.1:1", **{member: "bm9uc2Vuc2U="})
    async with operator(config) as run:
        assert await ended(run) == 1
    assert len(run.text.splitlines()) == 1
    assert run.text.startswith(f"gastown-operator: kubeconfig {config}: ")


async def test_an_unreachable_server_is_not_ready_until_it_is_there(tmp_path: Path) -> None:
    port = free_port()
    config = kubeconfig(tmp_path / "config", f"http://127.0.0.1:{port}")
    server = ScriptedServer()
    rig_and_polecats(server, "a")
    async with operator(config) as run:
        await run.says("Connect call failed")
        await run.says("next attempt in")
        assert not run.ready()
        async with server.running(port=port):
            await until(lambda: pods(server), seconds=60)
            await run.is_ready()
            run.process.send_signal(signal.SIGTERM)
            assert await ended(run) == 0
    assert len(pods(server)) == 1


@define
class Certificates:
    """One certificate for 127.0.0.1 that has expired, and one that has not."""

    directory: Path

    def context(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        return context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    directory = tmp_path_factory.mktemp("tls")
    fresh, made = make_pair(directory, "fresh"), make_pair(directory, "old")
    expiry = ("-in", str(made.certificate), "-signkey", str(made.key), "-days", "-1")
    old = subprocess.run(["openssl", "x509", *expiry], check=True, capture_output=True, text=True).stdout
    made.certificate.write_text(old)
    (directory / "trusted.crt").write_text(old + fresh.certificate.read_text())
    return Certificates(directory)


async def test_an_expired_certificate_is_said_and_waited_out(
    tmp_path: Path, certificates: Certificates
) -> None:
    port = free_port()
    authority = str(certificates.directory / "trusted.crt")
    config = kubeconfig(
        tmp_path / "config", f"https://127.0.0.1:{port}", **{"certificate-authority": authority}
    )
    server = ScriptedServer()
    rig_and_polecats(server, "a")
    async with operator(config) as run:
        async with server.running(port=port, tls=certificates.context("old")):
            await run.says("certificate has expired")
            assert not run.ready()
        async with server.running(port=port, tls=certificates.context("fresh")):
            await until(lambda: pods(server), seconds=60)
            await run.is_ready()
            run.process.send_signal(signal.SIGTERM)
            assert await ended(run) == 0


@pytest.mark.parametrize("answer", ["comes", "is lost"])
async def test_a_stop_in_the_midst_of_a_creation_makes_one_pod_whatever_comes_of_the_answer(
    server: ScriptedServer, tmp_path: Path, answer: str
) -> None:
    """Pitfall 28: the creation ends, the process exits with status 0, and the next one makes no second pod."""
    config = kubeconfig(tmp_path / "config", server.url)
    rig_and_polecats(server, "a", "b")
    arrived, stopping = anyio.Event(), anyio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        response = await server.api(request)
        arrived.set()
        await stopping.wait()
        if answer == "is lost":
            cut_off(request)
        return response

    server.script("POST", slow)
    async with operator(config) as run:
        with anyio.fail_after(30):
            await arrived.wait()
        run.process.send_signal(signal.SIGTERM)
        await run.says("SIGTERM, stopping")
        stopping.set()
        assert await ended(run) == 0
    async with operator(config) as run:
        await until(lambda: len(pods(server)) == 2, seconds=60)
        await run.is_ready()
        run.process.send_signal(signal.SIGTERM)
        assert await ended(run) == 0
    created = [request.body["metadata"]["name"] for request in server.sent(verb="POST", path=PODS)]
    assert sorted(created) == ["polecat-a", "polecat-b"]
