"""HTTP to the API server: bytes in, bytes out, and a status that is checked before anything is read.

One Transport is one pool of connections; requests, watches and the lease each have their own, so that a flood of one
cannot delay another.
"""

import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import Any

import aiohttp
import anyio
import orjson
from aiohttp.abc import AbstractStreamWriter
from attrs import define, field
from yarl import URL

from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.errors import (
    ApiError,
    ConfigurationError,
    ConnectionFailed,
    NotLeader,
    RequestTimeout,
    Unauthorized,
    UnexpectedResponse,
    from_status,
    from_text,
)
from gastown_operator.runtime.metrics import Metrics

TIMEOUTS: Mapping[str, float] = {"GET": 30.0, "POST": 30.0, "PUT": 30.0, "PATCH": 30.0, "DELETE": 30.0}
"""Seconds for a whole call, by verb."""

CONNECT_TIMEOUT = 10.0
READ_BUFFER = 256 * 1024
GATHER = (
    0.005  # seconds between two readings of a busy stream: to wake for each event costs as much as the event
)
RETRY_AFTER_LIMIT = (
    300.0  # seconds; who asks for more, such as a proxy in trouble, is asked again all the same
)
ERROR_SIZE = 64 * 1024  # bytes of an error answer that are read; the rest says nothing new
MAX_LINE = 16 * 1024 * 1024  # bytes; etcd takes 1.5 MiB, the API server 3 MiB, and JSON escapes multiply
_KEEPALIVE = (  # finds a dead peer within 15 + 3 * 5 seconds
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
)


def _always() -> bool:
    return True


@define(eq=False, repr=False)
class Transport:
    """A pool of connections to one API server, opened at the first call; `close` it at the end.

    `may_write` is asked when the first byte of a request with a body is about to be sent; False raises NotLeader. A request that writes
    must have a body.
    """

    _connection: Connection
    _metrics: Metrics
    _user_agent: str
    _pool_size: int = 64
    _timeouts: Mapping[str, float] = field(factory=lambda: TIMEOUTS)
    _may_write: Callable[[], bool] = _always
    _session: aiohttp.ClientSession | None = field(default=None, init=False)

    async def request(
        self,
        verb: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout: float | None = None,  # noqa: ASYNC109 - enforced by the HTTP client, which then frees the connection
    ) -> bytes:
        """Return the body of a 2xx answer. Raises ApiError for everything else, what the network does included."""
        if verb != "GET" and body is None:
            raise ValueError(f"{verb} {path} has no body, so nobody would ask whether it may be sent")
        limit = aiohttp.ClientTimeout(total=timeout or self._timeouts[verb], sock_connect=CONNECT_TIMEOUT)
        headers = {"Content-Type": content_type} if body is not None else {}
        started = monotonic()
        with _network_errors(verb, path):
            async with await self._send(verb, path, query, body, headers, limit) as response:
                answer = await response.read()
        self._metrics.request_duration.labels(verb, self._host).observe(monotonic() - started)
        return answer

    @asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, str], *, deadline: float) -> AsyncIterator["Lines"]:
        """Open a GET whose answer is lines without end; `deadline` seconds bound its whole life.

        Raises ApiError, on entry and from the lines.
        """
        limit = aiohttp.ClientTimeout(total=deadline, sock_connect=CONNECT_TIMEOUT)
        with _network_errors("GET", path):
            response = await self._send("GET", path, query, None, {}, limit)
        try:
            yield Lines(response, path)
        finally:
            response.close()

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def _host(self) -> str:
        return self._connection.server.partition("://")[2]

    async def _send(
        self,
        verb: str,
        path: str,
        query: Mapping[str, str] | None,
        body: bytes | None,
        headers: dict[str, str],
        limit: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """Return a response whose status is 2xx and whose body is unread.

        A credential that is refused is looked up anew; with another one the call is sent once more, since nothing was done.
        """
        response = await self._sent(verb, path, query, body, headers, limit)
        if response.status == 401 and await self._has_other_credential(headers.get("Authorization")):
            response.close()
            response = await self._sent(verb, path, query, body, headers, limit)
        if not 200 <= response.status < 300:
            raise await _refused(response, verb, path)
        return response

    async def _has_other_credential(self, refused: str | None) -> bool:
        try:
            return refused is not None and await self._connection.credentials.replaced(refused)
        except ConfigurationError:
            return False  # the server's own refusal says more

    async def _sent(
        self,
        verb: str,
        path: str,
        query: Mapping[str, str] | None,
        body: bytes | None,
        headers: dict[str, str],
        limit: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        try:
            authorization = await self._connection.credentials.authorization()
        except ConfigurationError as error:  # a token that is not there yet, or for the moment
            raise Unauthorized(str(error), verb=verb, path=path) from error
        if authorization:
            headers["Authorization"] = authorization
        try:
            response = await self._opened().request(
                verb,
                URL(self._connection.server + path, encoded=True),
                params=query,
                data=None if body is None else FencedBody(body, self._may_write),
                headers=headers,
                timeout=limit,
                allow_redirects=False,
                proxy=self._connection.proxy,
                server_hostname=self._connection.tls_server_name,
            )
        except Exception:
            self._metrics.requests.labels("<error>", verb, self._host).inc()
            raise
        self._metrics.requests.labels(str(response.status), verb, self._host).inc()
        return response

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=self._pool_size,
                ssl=self._connection.tls or True,
                socket_factory=_kept_alive,
                keepalive_timeout=60,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                # Nothing compressed: the server is near, and both sides save the work.
                headers={
                    "User-Agent": self._user_agent,
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                },
                read_bufsize=READ_BUFFER,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


class FencedBody(aiohttp.BytesPayload):
    """Asks for permission when the first byte of the request is about to be written: headers are held back until then.

    Waiting for a connection may have taken longer than the lease, and the process may have stood still since.
    """

    def __init__(self, body: bytes, may_write: Callable[[], bool]) -> None:
        super().__init__(body)
        self._may_write = may_write

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the body, if that is permitted. Raises NotLeader."""
        if not self._may_write():
            raise NotLeader("this process does not hold the lease")
        await super().write_with_length(writer, content_length)


@define(eq=False)
class Lines:
    """The lines of a streamed answer, in the batches in which they come. Iterate once."""

    _response: aiohttp.ClientResponse
    _path: str
    _rest: list[bytes] = field(factory=list)
    _size: int = 0
    _read_at: float = float("-inf")
    _read: int = 0

    def __aiter__(self) -> "Lines":
        return self

    async def __anext__(self) -> list[bytes]:
        """Return the next complete lines, at least one. Raises ApiError, also for an end in the middle of a line."""
        await self._gather()
        while True:
            with _network_errors("GET", self._path):
                chunk = await self._response.content.readany()
            self._read_at, self._read = monotonic(), len(chunk)
            if not chunk:
                if self._size:
                    raise ConnectionFailed("cut in the middle of a line", verb="GET", path=self._path)
                raise StopAsyncIteration
            lines = self._split(chunk)
            if lines:
                return lines

    async def _gather(self) -> None:
        """Let more lines come before the next are read, if they come so fast that few came since the last.

        What comes after a pause is read at once, and so is a flood.
        """
        wait = self._read_at + GATHER - monotonic()
        connection = self._response.connection
        stream = connection.transport if connection is not None else None
        if wait <= 0 or self._read >= READ_BUFFER // 2 or stream is None:
            return
        stream.pause_reading()
        try:
            await anyio.sleep(wait)
        finally:
            stream.resume_reading()

    def _split(self, chunk: bytes) -> list[bytes]:
        first, *others = chunk.split(b"\n")
        self._rest.append(first)
        self._size += len(first)
        if self._size > MAX_LINE:
            raise UnexpectedResponse(f"a line of more than {MAX_LINE} bytes", verb="GET", path=self._path)
        if not others:
            return []
        lines = [b"".join(self._rest), *others]
        self._rest = [lines.pop()]
        self._size = len(self._rest[0])
        return [line for line in lines if line]


async def _refused(response: aiohttp.ClientResponse, verb: str, path: str) -> ApiError:
    """Read an error answer, whatever it is."""
    async with response:
        text = await _beginning(response.content)
    retry_after = _seconds(response.headers.get("Retry-After"))
    try:
        body: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        body = None
    if isinstance(body, dict) and body.get("kind") == "Status":
        return from_status(body, code=response.status, verb=verb, path=path, retry_after=retry_after)
    return from_text(
        text.decode(errors="replace"), status=response.status, verb=verb, path=path, retry_after=retry_after
    )


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    """Read as much as a Status may take, in however many pieces it comes."""
    text = b""
    while len(text) < ERROR_SIZE and (chunk := await content.read(ERROR_SIZE - len(text))):
        text += chunk
    return text


def _seconds(header: str | None) -> float | None:
    """Parse Retry-After in its numeric form, the only one that the API server sends."""
    return min(float(header), RETRY_AFTER_LIMIT) if header is not None and header.isdecimal() else None


@contextmanager
def _network_errors(verb: str, path: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise RequestTimeout("no answer in time", verb=verb, path=path) from error
    except (aiohttp.ClientError, OSError) as error:
        if isinstance(error.__cause__, NotLeader):
            raise NotLeader(error.__cause__.message, verb=verb, path=path) from None
        raise ConnectionFailed(str(error) or type(error).__name__, verb=verb, path=path) from error


def _kept_alive(address: Any) -> socket.socket:
    """Make a socket that notices a dead peer (aiohttp's socket_factory)."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    for level, option, value in _KEEPALIVE:
        made.setsockopt(level, option, value)
    return made
