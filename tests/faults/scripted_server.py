"""An API server in this process that does what a real one does on its worst day.

`api` is honest; `script` puts answers before it, one for each request that matches, to delay, cut, refuse or lie. Every request
is kept in `requests`.
"""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import orjson
from aiohttp import web
from attrs import define, field, frozen

from tests.faults.honest_server import HonestServer, Raw, bookmark, line, merged, opened, refusal, status

__all__ = ["Raw", "bookmark", "line", "merged", "opened", "refusal", "status"]

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@frozen
class Recorded:
    """A request as it arrived."""

    verb: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]

    @property
    def watches(self) -> bool:
        return "watch" in self.query


@define
class _Rule:
    verb: str
    watches: bool | None
    answers: list[Answer]

    def matches(self, request: Recorded) -> bool:
        return (
            bool(self.answers)
            and self.verb == request.verb
            and (self.watches is None or self.watches == request.watches)
        )


@define
class ScriptedServer(HonestServer):
    """The server, its scripts and its memory."""

    requests: list[Recorded] = field(factory=list)
    url: str = ""
    _rules: list[_Rule] = field(factory=list)
    _arrived: anyio.Event = field(factory=anyio.Event)

    # What a test says

    def script(self, verb: str, *answers: Answer, watches: bool | None = None) -> None:
        """Answer the next requests of this verb (for GET: watches, or not) so, each answer once."""
        self._rules.append(_Rule(verb, watches, list(answers)))

    def forget_scripts(self) -> None:
        """Answer honestly from now on."""
        self._rules.clear()

    async def received(self, number: int, **like: Any) -> list[Recorded]:
        """Wait until so many requests like this (verb, watches) came; return all of them."""
        while True:
            found = [request for request in self.requests if _like(request, like)]
            if len(found) >= number:
                return found
            self._arrived = anyio.Event()
            await self._arrived.wait()

    def sent(self, **like: Any) -> list[Recorded]:
        """Return the requests like this that came until now."""
        return [request for request in self.requests if _like(request, like)]

    # What the server does

    @asynccontextmanager
    async def running(
        self, *, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator["ScriptedServer"]:
        """Serve on a port, by default on one of its own."""
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.01, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
        await site.start()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.read()
        recorded = Recorded(
            request.method,
            request.path,
            dict(request.query),
            orjson.loads(text) if text else None,
            dict(request.headers),
        )
        self.requests.append(recorded)
        self._arrived.set()
        for rule in self._rules:
            if rule.matches(recorded):
                return await rule.answers.pop(0)(request)
        return await self.api(request)


def _like(request: Recorded, like: dict[str, Any]) -> bool:
    return all(getattr(request, name) == value for name, value in like.items())


def cut_off(request: web.Request) -> None:
    """Break the connection without a farewell."""
    transport = request.transport
    if transport is not None:
        transport.abort()


def refuse(code: int, reason: str, message: str = "", **more: Any) -> Answer:
    """Answer with a Status."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return refusal(code, reason, message, **more)

    return answer


def say(text: str, code: int = 200, content_type: str = "text/plain", **headers: str) -> Answer:
    """Answer with something that is no Kubernetes object."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=code, content_type=content_type, headers=headers)

    return answer


def stream(*parts: bytes, then: str = "close") -> Answer:
    """Stream these bytes, then `close`, `cut` or `stall`."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = await opened(request)
        for part in parts:
            await response.write(part)
        if then == "stall":
            await anyio.sleep_forever()
        if then == "cut":
            cut_off(request)
        return response

    return answer


async def stall(_: web.Request) -> web.StreamResponse:
    """Accept the request and never answer."""
    await anyio.sleep_forever()
    raise AssertionError


async def cut(request: web.Request) -> web.StreamResponse:
    """Break the connection instead of answering."""
    cut_off(request)
    return web.Response()


def commit_then_cut(server: ScriptedServer) -> Answer:
    """Do what was asked, and break the connection before saying so."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await server.api(request)
        cut_off(request)
        return web.Response()

    return answer
