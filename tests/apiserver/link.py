"""A network between a client and the API server that a test can cut, mend, and make hold back what was sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self
from urllib.parse import urlsplit

from attrs import define, evolve, field

from gastown_operator.runtime.configuration import Connection

CHUNK = 64 * 1024


@define(eq=False)
class Link:
    """Forwards bytes to the server of a connection; TLS goes through untouched."""

    _direct: Connection
    _server: asyncio.Server | None = None
    _port: int = 0
    _writers: set[asyncio.StreamWriter] = field(factory=set)
    _pumps: set[asyncio.Task[None]] = field(factory=set)
    _flows: asyncio.Event = field(factory=asyncio.Event)
    _held: int = 0

    @classmethod
    @asynccontextmanager
    async def to(cls, direct: Connection) -> AsyncIterator[Self]:
        """Open a link that works."""
        link = cls(direct)
        link.release()
        await link.mend()
        try:
            yield link
        finally:
            link.release()
            await link.cut()

    @property
    def connection(self) -> Connection:
        """The same server by way of the link."""
        host = urlsplit(self._direct.server).hostname
        return evolve(self._direct, server=f"https://127.0.0.1:{self._port}", tls_server_name=host)

    async def mend(self) -> None:
        """Take connections from now on."""
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Break all connections, and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.drop()

    def hold_requests(self) -> None:
        """Hold back what the client sends from now on; what the server sends goes through."""
        self._flows.clear()

    @property
    def holding(self) -> int:
        """How many connections have something that is held back."""
        return self._held

    def release(self) -> None:
        """Deliver what was held back, even if its sender has gone; what followed it on the same connection is lost."""
        self._flows.set()

    async def drop(self) -> None:
        """Break all connections; new ones are taken."""
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._pumps)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = urlsplit(self._direct.server)
        self._writers.add(writer)
        try:
            onward_reader, onward = await asyncio.open_connection(address.hostname, address.port)
        except OSError:
            self._close(writer)
            return
        self._writers.add(onward)
        for pumping in (
            self._pump(reader, onward, onward=True),
            self._pump(onward_reader, writer, onward=False),
        ):
            pump = asyncio.create_task(pumping)
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, onward: bool
    ) -> None:
        try:
            while data := await source.read(CHUNK):
                late = onward and not self._flows.is_set()
                if late:
                    await self._delay()
                target.write(data)
                await target.drain()
                if late:
                    return
        except OSError:
            pass  # one of the two has gone, which the other is told below
        self._close(target)

    async def _delay(self) -> None:
        self._held += 1
        await self._flows.wait()
        self._held -= 1

    def _close(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.close()
