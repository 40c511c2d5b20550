"""A provider in this process that does what it is told, one answer for each request, and keeps every request."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web
from attrs import define, field, frozen

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

SSE = "text/event-stream"


@frozen
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)


@define
class Provider:
    """Listens on a port of its own; what is not scripted is answered with a whole Anthropic stream."""

    asked: list[Asked] = field(factory=list)
    url: str = ""
    left: int = 0
    _script: list[Answer] = field(factory=list)
    _runner: web.AppRunner | None = None
    _changed: asyncio.Condition = field(factory=asyncio.Condition)

    def script(self, *answers: Answer) -> None:
        """Answer the next requests so; the last one for ever."""
        self._script[:] = answers

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        (address,) = self._runner.addresses
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{address[1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def until(self, condition: Callable[["Provider"], bool]) -> None:
        """Return as soon as the condition holds."""
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: condition(self))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        asked = Asked(request.method, request.raw_path, dict(request.headers), await request.read())
        self.asked.append(asked)
        await self._tell()
        answer = stream(*WHOLE) if not self._script else self._script[0]
        if len(self._script) > 1:
            self._script.pop(0)
        try:
            return await answer(request)
        except (asyncio.CancelledError, ConnectionError):
            self.left += 1
            await self._tell()
            raise

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


# What is said


def event(kind: str, **fields: Any) -> bytes:
    """An event of the Anthropic API."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def start(tokens: int = 100, **usage: int) -> bytes:
    return event("message_start", message={"usage": {"input_tokens": tokens, "output_tokens": 1, **usage}})


def says(text: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def finish(tokens: int = 20) -> bytes:
    return event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": tokens})


STOP = event("message_stop")
PING = event("ping")
WHOLE = (start(), says("hello"), finish(), STOP)


def data(value: Any) -> bytes:
    """An event of the OpenAI APIs."""
    return f"data: {json.dumps(value)}\n\n".encode()


def delta(text: str, reason: str | None = None) -> bytes:
    return data({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]})


def chat_usage(prompt: int, completion: int, cached: int = 0) -> bytes:
    details = {"cached_tokens": cached}
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "prompt_tokens_details": details}
    return data({"choices": [], "usage": usage})


DONE = b"data: [DONE]\n\n"


def line(**fields: Any) -> bytes:
    """A line of Ollama's API."""
    return json.dumps(fields).encode() + b"\n"


# How it is said


def stream(*parts: bytes, kind: str = SSE, headers: dict[str, str] | None = None) -> Answer:
    """All parts, and a clean end."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = await _begun(request, kind, headers or {})
        for part in parts:
            await response.write(part)
        return response

    return answer


def cut(*parts: bytes, kind: str = SSE, reset: bool = False) -> Answer:
    """All parts, and then the connection is gone."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = await _begun(request, kind, {})
        for part in parts:
            await response.write(part)
        transport = request.transport
        if transport is not None:
            transport.abort() if reset else transport.close()
        return response

    return answer


def then_waits(
    *parts: bytes, pause: asyncio.Event, rest: Iterable[bytes] = (), kind: str = SSE, close: bool = False
) -> Answer:
    """All parts, and the rest when the event comes; then a clean end, or the connection is closed."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = await _begun(request, kind, {})
        for part in parts:
            await response.write(part)
        await pause.wait()
        for part in rest:
            await response.write(part)
        transport = request.transport
        if close and transport is not None:
            transport.close()
        return response

    return answer


def endless(*parts: bytes, again: bytes, every: float) -> Answer:
    """All parts, and then the same one for ever."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = await _begun(request, SSE, {})
        for part in parts:
            await response.write(part)
        while True:
            await response.write(again)
            await asyncio.sleep(every)

    return answer


def status(code: int, body: Any = None, **headers: str) -> Answer:
    """An error, in the API's form unless `body` is text."""

    async def answer(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, str):
            return web.Response(status=code, text=body, content_type="text/html", headers=named)
        said = {"type": "error", "error": {"type": "some_error", "message": f"that is {code}"}}
        return web.json_response(body or said, status=code, headers=named)

    return answer


def whole(body: Any) -> Answer:
    """An answer that is no stream."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(body)

    return answer


async def silent(_: web.Request) -> web.StreamResponse:
    """No answer at all."""
    await asyncio.Event().wait()
    raise AssertionError


async def _begun(request: web.Request, kind: str, headers: dict[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": kind, **headers})
    await response.prepare(request)
    return response
