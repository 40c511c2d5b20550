"""Taking in what the agent sends: bounded in size, time and memory, and read so that what is measured is what is sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import web
from attrs import define, field, frozen

from gastown_operator.gateway import failures
from gastown_operator.gateway.members import Members, parse
from gastown_operator.gateway.message import ModelOutcome
from gastown_operator.gateway.routes import Kind, Route
from gastown_operator.gateway.upstream import FailedError

#: Anthropic's limit. Bodies of agents start at 30 to 125 kB and grow with every turn.
MAXIMUM_BODY: Final = 32 * 1024 * 1024
#: All bodies that are held at one time.
_ALL_BODIES: Final = 40 * 1024 * 1024
_SECONDS_FOR_BODY: Final = 60.0


@frozen
class Prepared:
    """A request as it is sent on.

    Attributes:
        content: None where the method has none, and once it is no longer needed.
        model: the one that answers; empty where none was named.
        side: whether the agent asked for another one.
        streamed: whether a stream is asked for.
    """

    content: bytes | None = field(repr=False)
    model: str = ""
    side: bool = False
    streamed: bool = False


@define
class Memory:
    """How many bytes of requests are held at one time; whoever comes too late waits."""

    left: int = _ALL_BODIES
    _changed: asyncio.Condition = field(factory=asyncio.Condition)

    @asynccontextmanager
    async def taken(self, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes inside."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.left >= size)
            self.left -= size
        try:
            yield
        finally:
            self.left += size
            async with self._changed:
                self._changed.notify_all()


def declared_size(request: web.Request) -> int:
    """How many bytes the body may have: as it says, else as many as are allowed. Raises FailedError."""
    size = MAXIMUM_BODY if request.content_length is None else request.content_length
    if request.headers.get("Content-Encoding", "identity") != "identity":
        size = MAXIMUM_BODY
    if size > MAXIMUM_BODY:
        raise _too_large()
    return size if request.body_exists else 0


async def read(request: web.Request) -> bytes:
    """The body, without a copy in the request. Raises FailedError."""
    content = bytearray()
    try:
        async with asyncio.timeout(_SECONDS_FOR_BODY):
            while chunk := await request.content.readany():
                content += chunk
                if len(content) > MAXIMUM_BODY:
                    raise _too_large()
    except TimeoutError:
        raise FailedError(_refused("BodyIncomplete", "the request did not arrive in time")) from None
    return bytes(content)


def prepare(route: Route, content: bytes, model: str) -> Prepared:
    """What is sent on for `content`, answered by `model` where one is set: its own bytes but for what is changed. Raises FailedError."""
    if route.method == "GET":
        return Prepared(None)
    try:
        members = parse(content)
    except (ValueError, RecursionError) as error:
        said = f"the request is not a JSON object that can be read: {error}"
        raise FailedError(_refused("NotJson", said)) from None
    body = members.values()
    side = _map(body, model)
    if route.kind is Kind.WORK:
        route.dialect.prepare(body)
    changes = {name: value for name, value in body.items() if _changed(members, name, value)}
    return Prepared(members.replaced(changes), _text(body.get("model")), side, route.dialect.streams(body))


def _changed(members: Members, name: str, value: Any) -> bool:
    if name not in members.found or value is not members.found[name].value:
        return True
    return name == "stream_options"  # what it says twice is said once


def _map(body: dict[str, Any], model: str) -> bool:
    """Agents send side requests, for titles and commit messages, to other models."""
    if not model:
        return False
    if "name" in body and "model" not in body:  # Ollama's older name for it
        body["name"] = model
        return False
    side = _text(body.get("model")) != model
    if side:
        body["model"] = model
    return side


def _text(value: Any) -> str:
    """A string that was taken as Latin-1, as it was meant."""
    if not isinstance(value, str):
        return ""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:  # written with escapes, or ours
        return value


def _too_large() -> FailedError:
    return FailedError(_refused("BodyTooLarge", f"the request has more than {MAXIMUM_BODY >> 20} MiB"))


def _refused(reason: str, said: str) -> failures.Failure:
    return failures.ending(ModelOutcome.REFUSED, reason, said)
