"""The HTTP servers of the process: metrics, over TLS and for some only if so configured, and health, always plain."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Self

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler
from anyio.lowlevel import checkpoint
from attrs import frozen
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from gastown_operator.runtime.access import Access
from gastown_operator.runtime.certificates import ServingCertificate
from gastown_operator.runtime.errors import ConfigurationError
from gastown_operator.runtime.health import Checks, Report

KEEPALIVE_TIMEOUT = 75.0
"""Seconds until a connection without a complete request is closed: longer than a usual scrape interval."""

HANDSHAKE_TIMEOUT = 10.0
MAX_CONNECTIONS = 256
"""Connections of one server; the oldest is closed when one more comes, so idle ones shut nobody out."""


@frozen
class Address:
    """Where a server listens; an empty host means every interface."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Parse `host:port`, `[v6]:port` or `:port`; "" and "0" mean: do not serve. Raises ConfigurationError."""
        if text in {"", "0"}:
            return None
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > 65535:
            raise ConfigurationError(f"{text!r} is not an address: want host:port or :port")
        return cls(host.strip("[]"), int(port))


def metrics_application(registry: CollectorRegistry, access: Access | None = None) -> web.Application:
    """Return an application that serves the registry at /metrics, with `access` only to whom that admits."""

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = _encoder(",".join(request.headers.getall("Accept", [])))
        return web.Response(body=await _exposition(registry, encode), headers={"Content-Type": content_type})

    application = web.Application()
    application.router.add_get("/metrics", access.guard(metrics) if access is not None else metrics)
    return application


def health_application(*endpoints: Checks) -> web.Application:
    """Return an application that serves each set of checks at its endpoint, and single checks below it."""
    application = web.Application()
    for checks in endpoints:
        application.router.add_get(f"/{checks.endpoint}", _all_checks(checks))
        application.router.add_get(f"/{checks.endpoint}/{{check:.+}}", _one_check(checks))
    return application


@asynccontextmanager
async def serve(
    application: web.Application, address: Address, tls: ServingCertificate | None = None
) -> AsyncIterator[int]:
    """Serve while the context lasts; yields the port, which the system chose if the address says 0.

    Raises ConfigurationError if the address is taken.
    """
    runner = web.AppRunner(
        application,
        access_log=None,
        logger=_http_logger(),
        shutdown_timeout=1.0,
        keepalive_timeout=KEEPALIVE_TIMEOUT,
    )
    await runner.setup()
    try:
        listener = await _listen(_connections(runner), address, tls)
        try:
            yield listener.sockets[0].getsockname()[1]
        finally:
            listener.close()
    finally:
        await runner.cleanup()


async def _listen(
    connection: Callable[[], asyncio.BaseProtocol], address: Address, tls: ServingCertificate | None
) -> asyncio.Server:
    try:
        return await asyncio.get_running_loop().create_server(
            connection,
            address.host or None,
            address.port,
            ssl=tls.context if tls is not None else None,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT if tls is not None else None,
        )
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {address.host}:{address.port}: {error.strerror or error}"
        ) from error


def _connections(runner: web.AppRunner) -> Callable[[], asyncio.BaseProtocol]:
    """Return what handles a new connection, after making room for it."""
    server = runner.server
    if server is None:
        raise AssertionError("the runner was set up")

    def connection() -> asyncio.BaseProtocol:
        present = server.connections
        for oldest in present[: len(present) + 1 - MAX_CONNECTIONS]:
            oldest.force_close()
        return server()

    return connection


Encoder = Callable[[Any], bytes]


def _encoder(accept: str) -> tuple[Encoder, str]:
    """Choose between the text format and OpenMetrics; who asks for what makes no sense gets the text format."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # the library compares whatever stands for a version
        return choose_encoder("")


async def _exposition(registry: CollectorRegistry, encode: Encoder) -> bytes:
    """Return the whole registry as text.

    Others run between two families, since 3,000 series take 40 to 60 ms and the longest family 5. Not in a thread:
    collectors read what belongs to the event loop, and the interpreter's lock would make it wait all the same.
    A collector must not yield a family in the middle of reading something live.
    """
    parts: list[bytes] = []
    ending = encode(_Families(()))  # OpenMetrics has one
    for family in registry.collect():
        parts.append(encode(_Families((family,))).removesuffix(ending))
        await checkpoint()
    return b"".join((*parts, ending))


@frozen
class _Families(Collector):
    families: Iterable[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


def _all_checks(checks: Checks) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        report = checks.run(verbose="verbose" in request.query, exclude=request.query.getall("exclude", []))
        return _health(report)

    return handle


def _one_check(checks: Checks) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        try:
            report = checks.run_one(request.match_info["check"])
        except KeyError:
            raise web.HTTPNotFound from None
        return _health(report)

    return handle


def _health(report: Report) -> web.Response:
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache, private"}
    return web.Response(text=report.text, status=200 if report.healthy else 500, headers=headers)


def _http_logger() -> logging.Logger:
    """Return aiohttp's logger of errors without those about malformed requests, which it quotes: a token may be inside."""
    made = logging.getLogger(f"{__name__}.http")
    if not made.filters:
        made.addFilter(_is_ours)
    return made


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)
