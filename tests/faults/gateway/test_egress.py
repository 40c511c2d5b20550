"""The way to the provider: a proxy, a certificate authority of its own, and how many may go it at a time."""

import asyncio
import ssl
from pathlib import Path

import pytest
from attrs import evolve

from gastown_operator.gateway import egress
from gastown_operator.gateway.egress import Proxies
from gastown_operator.gateway.message import ModelOutcome
from gastown_operator.gateway.server import Server
from tests.faults.gateway.bench import bench
from tests.faults.gateway.provider import WHOLE, Provider, status, stream, then_waits
from tests.support.key_pairs import KeyPair, make_pair

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return make_pair(tmp_path_factory.mktemp("keys"), "provider")


async def test_a_proxy_is_asked_for_the_providers_address(tmp_path: Path) -> None:
    async with bench(tmp_path, upstream="http://model.invalid/api") as gateway:
        proxies = Proxies({"http": gateway.provider.url})
        gateway.parts.upstream = evolve(gateway.parts.upstream, proxies=proxies)
        assert (await gateway.ask()).status == 200
        (asked,) = gateway.provider.asked
        assert asked.path == "http://model.invalid/api/v1/messages"
        assert asked.headers["Host"] == "model.invalid"


async def test_a_proxy_that_refuses_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    async with bench(tmp_path, upstream="https://model.invalid") as gateway:
        gateway.provider.script(status(407))
        address = gateway.provider.url.replace("http://", "http://user:the-password@")
        proxies = Proxies({"https": address})
        gateway.parts.upstream = evolve(gateway.parts.upstream, proxies=proxies)
        got = await gateway.ask()
        assert got.status == 400
        assert (gateway.record.outcome, gateway.record.reason) == (ModelOutcome.CONFIG, "ProxyRefused")
        seen = gateway.log.getvalue() + got.content.decode() + str(gateway.record)
        assert "the-password" not in seen


def over_tls(pair: KeyPair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


@pytest.mark.parametrize("trusted", [True, False])
async def test_only_a_certificate_that_is_trusted_is_shown_the_credential(
    tmp_path: Path, pair: KeyPair, trusted: bool
) -> None:
    provider = Provider()
    await provider.start(over_tls(pair))
    environment = {"GASTOWN_CA_FILE": str(pair.certificate)} if trusted else {}
    async with bench(tmp_path, upstream=provider.url, environment=environment) as gateway:
        got = await gateway.ask()
    await provider.stop()
    assert got.status == (200 if trusted else 400)
    assert len(provider.asked) == trusted
    if not trusted:
        assert gateway.record.outcome is ModelOutcome.CONFIG
        assert gateway.record.reason == "CertificateRefused"


def test_an_authority_is_trusted_besides_those_of_the_system(pair: KeyPair) -> None:
    own = {str(one) for one in egress.trust("").get_ca_certs()}
    both = {str(one) for one in egress.trust(str(pair.certificate)).get_ca_certs()}
    assert own < both


async def test_more_than_64_requests_at_a_time_are_too_many(tmp_path: Path) -> None:
    async with bench(tmp_path) as gateway:
        gateway.provider.script(then_waits(pause=asyncio.Event()))
        waiting = [asyncio.create_task(gateway.ask()) for _ in range(64)]
        await gateway.provider.until(lambda provider: len(provider.asked) == 64)
        assert (await gateway.ask()).status == 429
        for one in waiting:
            one.cancel()
        await gateway.provider.until(lambda provider: provider.left == 64)
        gateway.provider.script(stream(*WHOLE))
        await gateway.settled()
        assert (await gateway.ask()).status == 200


async def test_more_than_256_connections_are_closed(tmp_path: Path) -> None:
    async with bench(tmp_path) as gateway:
        port = int(gateway.url.rpartition(":")[2])
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(256)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(30):
            assert await reader.read() == b""
        writer.close()
        for _, one in idle:
            one.close()


async def test_headers_that_do_not_come_are_not_waited_for(tmp_path: Path) -> None:
    async with bench(tmp_path) as gateway:
        server = Server(gateway.parts, seconds_for_headers=0.2)
        port, _ = await server.listen("127.0.0.1", 0, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/messages HTTP/1.1\r\nX: ")
        async with asyncio.timeout(30):
            assert await reader.read() == b""
        writer.close()
        await server.end()


async def test_headers_are_bounded(tmp_path: Path) -> None:
    async with bench(tmp_path) as gateway:
        port = int(gateway.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/messages HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")
        async with asyncio.timeout(30):
            answer = await reader.read(100)
        writer.close()
        assert b" 400 " in answer
        assert gateway.provider.asked == []
