"""The gateway's two servers: the agent's on the loopback, and the kubelet's."""

import asyncio
from typing import Final
from weakref import WeakSet

from aiohttp import web
from attrs import define, field

from gastown_operator.gateway import routes
from gastown_operator.gateway.dialects.openai_chat import error
from gastown_operator.gateway.exchange import Exchange, Interrupt
from gastown_operator.gateway.routes import Kind
from gastown_operator.gateway.services import Services

#: Agents have a handful of requests at a time.
_EXCHANGES: Final = 64
_CONNECTIONS: Final = 256
#: Until the first request of a connection is there; later ones are bounded by aiohttp's time for keeping it alive.
_SECONDS_FOR_HEADERS: Final = 60.0
_SECONDS_TO_END: Final = 1.5


class _Closed(asyncio.Protocol):
    """Closes a connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


@define(eq=False)
class Server:
    """Answers the agent and the kubelet.

    Args:
        services: what all requests share.
        seconds_for_headers: a connection without a request is closed no later.
    """

    services: Services
    seconds_for_headers: float = _SECONDS_FOR_HEADERS
    _asked: "WeakSet[asyncio.BaseTransport]" = field(init=False, factory=WeakSet)
    _closing: asyncio.TimerHandle | None = field(init=False, default=None)
    _exchanges: dict[Exchange, "asyncio.Task[web.StreamResponse]"] = field(init=False, factory=dict)
    _runners: list[web.AppRunner] = field(init=False, factory=list)
    _listeners: list[asyncio.Server] = field(init=False, factory=list)

    async def listen(self, host: str, port: int, metrics_host: str, metrics_port: int) -> tuple[int, int]:
        """Start both servers; their ports."""
        self._close_unused(WeakSet())
        self.services.on_budget = lambda: self._interrupt(Interrupt.BUDGET)
        agents = web.Application()
        agents.router.add_route("*", "/{path:.*}", self._handle)
        kubelet = web.Application()
        kubelet.router.add_get("/healthz", self._healthz)
        kubelet.router.add_get("/metrics", self._metrics)
        return (
            await self._serve(agents, host, port, cancels=True),
            await self._serve(kubelet, metrics_host, metrics_port, cancels=False),
        )

    async def end(self) -> None:
        """Break off what goes on, and close; takes less than two seconds."""
        if self._closing is not None:
            self._closing.cancel()
        for listener in self._listeners:
            listener.close()
        tasks = list(self._exchanges.values())
        self._interrupt(Interrupt.END)
        if tasks:
            await asyncio.wait(tasks, timeout=_SECONDS_TO_END)
        for runner in self._runners:
            await runner.cleanup()

    async def _serve(self, app: web.Application, host: str, port: int, *, cancels: bool) -> int:
        runner = web.AppRunner(app, access_log=None, handler_cancellation=cancels, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        made = runner.server

        def protocol() -> asyncio.Protocol:
            assert made is not None  # noqa: S101 - it is there after setup
            return made() if len(made.connections) < _CONNECTIONS else _Closed()

        listener = await asyncio.get_running_loop().create_server(protocol, host, port, backlog=128)
        self._listeners.append(listener)
        first = min(listener.sockets, key=lambda one: one.family)  # IPv4 where there is both
        bound: int = first.getsockname()[1]
        return bound

    def _close_unused(self, before: "WeakSet[asyncio.BaseTransport]") -> None:
        """Close the connections of which nothing was heard since the last time."""
        servers = [runner.server for runner in self._runners]
        handlers = [one for server in servers if server is not None for one in server.connections]
        here = [one.transport for one in handlers if one.transport is not None]
        unused: WeakSet[asyncio.BaseTransport] = WeakSet(one for one in here if one not in self._asked)
        for one in here:
            if one in before and one in unused:
                one.abort()
        loop = asyncio.get_running_loop()
        self._closing = loop.call_later(self.seconds_for_headers / 2, self._close_unused, unused)

    def _heard_of(self, request: web.Request) -> None:
        if request.transport is not None:
            self._asked.add(request.transport)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self._heard_of(request)
        route = routes.find(request.method, request.rel_url.raw_path)
        if route is None:
            return self._plain(404, "gateway: this is not passed on")
        if route.kind is Kind.ANSWERED:
            return web.Response()
        if request.version < (1, 1):
            # Without chunks, an answer that is broken off looks like one that has ended.
            return self._plain(400, "gateway: HTTP/1.1 is needed")
        if len(self._exchanges) >= _EXCHANGES:
            return self._plain(429, "gateway: too many requests at a time", {"Retry-After": "1"})
        return await self._exchange(Exchange(self.services, request, route))

    async def _exchange(self, exchange: Exchange) -> web.StreamResponse:
        task = asyncio.create_task(exchange.run())
        self._exchanges[exchange] = task
        task.add_done_callback(lambda _: self._done(exchange))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            exchange.interrupt(Interrupt.AGENT_LEFT)
            raise

    def _done(self, exchange: Exchange) -> None:
        task = self._exchanges.pop(exchange)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.services.journal("defect", cause=repr(error))

    def _interrupt(self, why: Interrupt) -> None:
        for exchange in list(self._exchanges):
            exchange.interrupt(why)

    @staticmethod
    def _plain(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
        body = error("invalid_request_error", message)
        return web.Response(status=status, body=body, content_type="application/json", headers=headers)

    async def _healthz(self, request: web.Request) -> web.Response:
        self._heard_of(request)
        return web.Response(text="ok\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        self._heard_of(request)
        return web.Response(body=self.services.metrics.page(), content_type="text/plain", charset="utf-8")
