"""The HTTP servers of the process: metrics, and health."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler
from attrs import frozen
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from gastown_operator.runtime.errors import ConfigurationError
from gastown_operator.runtime.health import Checks


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


def metrics_application(registry: CollectorRegistry) -> web.Application:
    """Return an application that serves the registry at /metrics."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
        )

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    return application


def health_application(*endpoints: Checks) -> web.Application:
    """Return an application that serves each set of checks at its endpoint, and single checks below it."""
    application = web.Application()
    for checks in endpoints:
        handler = _handler(checks)
        application.router.add_get(f"/{checks.endpoint}", handler)
        application.router.add_get(f"/{checks.endpoint}/{{check}}", handler)
    return application


@asynccontextmanager
async def serve(application: web.Application, address: Address) -> AsyncIterator[int]:
    """Serve while the context lasts; yields the port, which the system chose if the address says 0.

    Raises ConfigurationError if the address is taken.
    """
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address.host or None, address.port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {address.host}:{address.port}: {error.strerror or error}"
            ) from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _handler(checks: Checks) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        try:
            report = checks.run(
                verbose="verbose" in request.query,
                exclude=request.query.getall("exclude", []),
                only=request.match_info.get("check"),
            )
        except KeyError:
            raise web.HTTPNotFound from None
        return web.Response(text=report.text + "\n", status=200 if report.healthy else 500)

    return handle
