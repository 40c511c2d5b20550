"""A TLS server takes a renewed certificate into use while it runs, and keeps what it has when the new one is broken."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from anyio.streams.tls import TLSAttribute, TLSStream
from attrs import frozen
from prometheus_client import CollectorRegistry

from gastown_operator.runtime import server as runtime_server
from gastown_operator.runtime.access import MetricsSecurity
from gastown_operator.runtime.certificates import CHECK_INTERVAL, ServingCertificate
from gastown_operator.runtime.errors import ConfigurationError
from gastown_operator.runtime.server import Address, metrics_application, serve
from gastown_operator.runtime.testing import VirtualClock
from tests.support.key_pairs import KeyPair, MountedSecret, make_pair


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, KeyPair]:
    directory = tmp_path_factory.mktemp("pairs")
    made = {name: make_pair(directory, name) for name in ("first", "second")}
    return {**made, "rsa": make_pair(directory, "rsa", "rsa")}


@pytest.fixture
def secret(tmp_path: Path, pairs: dict[str, KeyPair]) -> MountedSecret:
    made = MountedSecret(tmp_path / "secret")
    made.write("v1", pairs["first"].certificate, pairs["first"].key)
    return made


@frozen
class Server:
    port: int
    secret: MountedSecret
    clock: VirtualClock
    registry: CollectorRegistry
    pairs: dict[str, KeyPair]

    def mount(self, version: str, certificate: str, key: str) -> None:
        self.secret.write(version, self.pairs[certificate].certificate, self.pairs[key].key)

    async def served(self, context: ssl.SSLContext | None = None, name: str | None = "127.0.0.1") -> str:
        """Return the name in the certificate that a new connection gets."""
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname = False
        for pair in self.pairs.values():
            trusting.load_verify_locations(pair.certificate)
        async with await anyio.connect_tcp("127.0.0.1", self.port) as raw:
            wrapped = await TLSStream.wrap(
                raw, server_side=False, hostname=name, ssl_context=context or trusting
            )
            certificate = wrapped.extra(TLSAttribute.peer_certificate)  # noqa: S610 - not Django's
        assert certificate is not None
        return str(certificate["subject"][0][0][1])

    def counted(self) -> tuple[float | None, float | None]:
        sample = self.registry.get_sample_value
        return sample("certwatcher_read_certificate_total"), sample(
            "certwatcher_read_certificate_errors_total"
        )


@pytest.fixture
async def server(
    secret: MountedSecret, pairs: dict[str, KeyPair], clock: VirtualClock, registry: CollectorRegistry
) -> AsyncIterator[Server]:
    tls = ServingCertificate.load(secret.directory, clock, registry)
    async with serve(metrics_application(registry), Address("127.0.0.1", 0), tls) as port:
        yield Server(port, secret, clock, registry, pairs)


pytestmark = pytest.mark.anyio


async def test_a_renewed_pair_is_served_to_new_connections_after_the_next_look(server: Server) -> None:
    assert await server.served() == "first"
    server.mount("v2", "second", "second")
    server.clock.move(CHECK_INTERVAL - 0.1)
    assert await server.served() == "first"
    server.clock.move(0.1)
    assert await server.served() == "second"
    assert server.counted() == (2, 0)


async def test_looking_at_what_has_not_changed_changes_nothing(server: Server) -> None:
    for _ in range(3):
        server.clock.move(CHECK_INTERVAL)
        assert await server.served() == "first"
    assert server.counted() == (4, 0)


async def test_a_client_that_names_no_server_gets_the_renewed_pair_as_well(server: Server) -> None:
    server.mount("v2", "second", "second")
    server.clock.move(CHECK_INTERVAL)
    assert await server.served(name=None) == "second"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_nothing_is_left_of_a_pair_of_another_key_type(server: Server, version: ssl.TLSVersion) -> None:
    """One context that loads RSA and then EC has both, and gives a client that prefers RSA the old one."""
    server.mount("v2", "rsa", "rsa")
    server.clock.move(CHECK_INTERVAL)
    assert await server.served() == "rsa"
    server.mount("v3", "second", "second")
    server.clock.move(CHECK_INTERVAL)
    client = server.pairs["second"].trusting()
    client.minimum_version = client.maximum_version = version
    assert await server.served(client) == "second"
    server.mount("v4", "rsa", "rsa")
    server.clock.move(CHECK_INTERVAL)
    assert await server.served() == "rsa"


async def test_an_open_connection_outlives_the_renewal(server: Server) -> None:
    context = server.pairs["first"].trusting()
    async with await anyio.connect_tcp("127.0.0.1", server.port) as raw:
        stream = await TLSStream.wrap(raw, hostname="127.0.0.1", ssl_context=context)
        server.mount("v2", "second", "second")
        server.clock.move(CHECK_INTERVAL)
        assert await server.served() == "second"
        await stream.send(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await stream.receive()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_broken_pair_is_told_once_and_the_old_one_stays(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    server.mount("v2", "second", "first")
    for _ in range(3):
        server.clock.move(CHECK_INTERVAL)
        assert await server.served() == "first"
    assert server.counted() == (4, 3)
    [told] = [record for record in caplog.records if record.name.endswith("certificates")]
    assert told.levelname == "ERROR"
    assert "the certificate in use stays: tls.crt and tls.key in" in told.message
    assert "key values mismatch" in told.message
    server.secret.write("v3", server.pairs["second"].certificate, None)
    server.clock.move(CHECK_INTERVAL)
    assert await server.served() == "first"
    assert "tls.key: No such file or directory" in caplog.text
    server.mount("v4", "second", "second")
    server.clock.move(CHECK_INTERVAL)
    assert await server.served() == "second"
    assert "serving with the new certificate" in caplog.text


async def test_older_protocols_are_refused(server: Server) -> None:
    client = server.pairs["first"].trusting()
    client.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, anyio.BrokenResourceError)):
        await server.served(client)


async def test_plain_http_to_a_tls_port_gets_no_answer(server: Server) -> None:
    async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
        await stream.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()


async def test_who_never_finishes_a_handshake_is_sent_away(
    secret: MountedSecret, clock: VirtualClock, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_server, "HANDSHAKE_TIMEOUT", 0.1)
    tls = MetricsSecurity(secret.directory).certificate(registry, clock)
    async with (
        serve(metrics_application(registry), Address("127.0.0.1", 0), tls) as port,
        await anyio.connect_tcp("127.0.0.1", port) as stream,
    ):
        with anyio.fail_after(10), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()


def test_plain_files_will_do(
    tmp_path: Path, pairs: dict[str, KeyPair], clock: VirtualClock, registry: CollectorRegistry
) -> None:
    (tmp_path / "tls.crt").write_bytes(pairs["first"].certificate.read_bytes())
    (tmp_path / "tls.key").write_bytes(pairs["first"].key.read_bytes())
    assert (
        ServingCertificate.load(tmp_path, clock, registry).context.minimum_version == ssl.TLSVersion.TLSv1_2
    )


def test_what_cannot_be_served_at_the_start_is_a_configuration_error(
    tmp_path: Path, pairs: dict[str, KeyPair], clock: VirtualClock
) -> None:
    encrypted = make_pair(tmp_path / "made", "encrypted", password="secret")
    first = pairs["first"]
    empty = tmp_path / "empty"
    empty.touch()
    cases = {
        "nothing": (
            None,
            None,
            r"tls.crt: No such file or directory\. Mount a Secret of type kubernetes.io/tls",
        ),
        "no key": (first.certificate, None, "tls.key: No such file"),
        "not PEM": (empty, first.key, "are no pair in PEM: "),
        "another's key": (first.certificate, pairs["second"].key, "are no pair in PEM: key values mismatch"),
        "encrypted": (encrypted.certificate, encrypted.key, "are no pair in PEM: "),
    }
    for name, (certificate, key, message) in cases.items():
        secret = MountedSecret(tmp_path / name)
        secret.write("v1", certificate, key)
        with pytest.raises(ConfigurationError, match=message):
            ServingCertificate.load(secret.directory, clock, CollectorRegistry())


def test_a_missing_directory_is_a_configuration_error(tmp_path: Path, clock: VirtualClock) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot serve TLS: .*absent/tls.crt: No such file"):
        ServingCertificate.load(tmp_path / "absent", clock, CollectorRegistry())
