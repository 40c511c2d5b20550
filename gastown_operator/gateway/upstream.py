"""One try at the provider: a request is sent, and the answer is read until the model has begun."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
from attrs import define, field, frozen
from multidict import CIMultiDict
from yarl import URL

from gastown_operator.gateway import failures
from gastown_operator.gateway.dialects.answer import Reader, at
from gastown_operator.gateway.egress import Proxies
from gastown_operator.gateway.failures import Failure
from gastown_operator.gateway.headers import retry_after
from gastown_operator.gateway.message import ModelOutcome, clean
from gastown_operator.gateway.redact import Redactor
from gastown_operator.gateway.routes import Kind, Route

#: An answer that is no stream begins when the model has ended.
WHOLE_ANSWER_FACTOR: Final = 5
_MAXIMUM_WORDS: Final = 64 * 1024
_SECONDS_FOR_WORDS: Final = 10.0
#: So much may come before the model's first event; it is held back, so that a failure can still be an error answer.
_MAXIMUM_HELD: Final = 64 * 1024


class FailedError(Exception):
    """There is no answer."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


@frozen
class Call:
    """A request as the provider gets it.

    Attributes:
        query: as it came, nothing decoded.
        streamed: whether a stream is asked for.
    """

    route: Route
    query: str
    headers: CIMultiDict[str] = field(repr=False)
    body: bytes | None = field(repr=False)
    streamed: bool


@define
class Opened:
    """An answer that has begun.

    Attributes:
        reader: None where nothing is measured.
        held: what was read so far.
        streamed: whether it is a stream.
    """

    response: aiohttp.ClientResponse
    reader: Reader | None
    held: list[bytes]
    streamed: bool
    ended: bool = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the answer as they come."""
        while self.held:
            yield self.held.pop(0)
        while not self.ended and (chunk := await self.response.content.readany()):
            if self.reader is not None:
                self.reader.feed(chunk)
            yield chunk
        if not self.ended and self.reader is not None:
            self.reader.end()
        self.ended = True


@frozen
class Upstream:
    """The provider.

    Args:
        session: follows no redirects and has no cookies.
        base: every route's path is appended to it.
        proxies: of the environment.
        first_byte_timeout: seconds until a stream begins.
        redactor: for what the provider says.
    """

    session: aiohttp.ClientSession
    base: str
    proxies: Proxies
    first_byte_timeout: float
    redactor: Redactor

    async def open(self, call: Call) -> Opened:
        """Send the request and wait until the model has begun. Raises FailedError."""
        seconds = self.first_byte_timeout * (1 if call.streamed else WHOLE_ANSWER_FACTOR)
        try:
            async with asyncio.timeout(seconds):
                return await self._open(call)
        except aiohttp.ClientSSLError as error:
            words = self._words(str(error))
            said = "the provider's certificate is not trusted"
            raise FailedError(
                failures.ending(ModelOutcome.CONFIG, "CertificateRefused", said, words)
            ) from error
        except aiohttp.ClientHttpProxyError as error:
            # Its own words may repeat the proxy's address, and with it a password.
            status = 407 if 400 <= error.status < 500 else error.status
            raise FailedError(failures.of_status(status, "", None, b"", "")) from None
        except aiohttp.ServerTimeoutError as error:
            raise FailedError(self._unreachable("no connection in time")) from error
        except TimeoutError as error:
            said = f"the provider did not begin to answer within {seconds:g} s"
            raise FailedError(failures.unavailable("TimedOut", said)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise FailedError(self._unreachable(str(error) or type(error).__name__)) from error

    async def _open(self, call: Call) -> Opened:
        url = URL(self.base + call.route.path + (f"?{call.query}" if call.query else ""), encoded=True)
        response = await self.session.request(
            call.route.method,
            url,
            headers=call.headers,
            data=None if call.body is None else io.BytesIO(call.body),
            allow_redirects=False,
            proxy=self.proxies.proxy_for(url),
        )
        try:
            if not 200 <= response.status < 300:
                raise FailedError(await self._refusal(response))  # noqa: TRY301 - the response is closed below
            return await self._begun(call, response)
        except BaseException:
            response.close()
            raise

    async def _begun(self, call: Call, response: aiohttp.ClientResponse) -> Opened:
        streamed = response.content_type in {"text/event-stream", "application/x-ndjson"}
        if call.route.kind is not Kind.WORK:
            return Opened(response, None, [], streamed)
        if not streamed and response.content_type != "application/json":
            said = "the endpoint does not answer as a model's API does"
            words = f"content type {response.content_type}"
            raise FailedError(failures.ending(ModelOutcome.CONFIG, "EndpointUnknown", said, words))
        reader = Reader(call.route.dialect, streamed)
        opened = Opened(response, reader, [], streamed)
        held: list[bytes] = []
        async for chunk in opened.chunks():
            held.append(chunk)
            if reader.answer.progress or reader.answer.broken or sum(map(len, held)) > _MAXIMUM_HELD:
                break
        opened.held = held
        self._check(opened, reader)
        return opened

    def _check(self, opened: Opened, reader: Reader) -> None:
        """An error in place of an answer, or nothing at all, is a failure like any other."""
        if reader.answer.broken is not None:
            raise FailedError(self.broken(reader))
        if opened.ended and not reader.answer.complete:
            raise FailedError(failures.unavailable("BrokenOff", "the provider's answer was empty"))

    def broken(self, reader: Reader) -> Failure:
        """What the provider said in place of the rest of an answer."""
        words = self._words(reader.answer.broken or "")
        if reader.answer.overloaded:
            return failures.of_status(529, words, None, b"", "")
        return failures.unavailable("BrokenOff", "the provider broke its answer off", words)

    async def _refusal(self, response: aiohttp.ClientResponse) -> Failure:
        content = bytearray()
        try:
            async with asyncio.timeout(_SECONDS_FOR_WORDS):
                while len(content) < _MAXIMUM_WORDS and (chunk := await response.content.readany()):
                    content += chunk
        except (TimeoutError, aiohttp.ClientError):
            content.clear()
        text = self.redactor.text(bytes(content[:_MAXIMUM_WORDS]).decode("utf-8", "replace"))
        is_json = response.content_type == "application/json"
        return failures.of_status(
            response.status,
            _message(text) if is_json else "",
            retry_after(response.headers),
            text.encode() if is_json else b"",
            response.content_type,
        )

    def _unreachable(self, words: str) -> Failure:
        # Without a path, and a user and password before the host.
        words = self._words(f"{URL(self.base).origin()}: {words}")
        return failures.unavailable(failures.UNREACHABLE, "the provider is out of reach", words)

    def _words(self, text: str) -> str:
        return clean(self.redactor.text(text))


def _message(text: str) -> str:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    error = at(body, "error")
    message = at(error, "message") or error or at(body, "message") or at(body, "detail")
    return clean(message) if isinstance(message, str) else ""
