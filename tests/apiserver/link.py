"""A network between a client and the API server that a test can cut and mend."""

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

    @classmethod
    @asynccontextmanager
    async def to(cls, direct: Connection) -> AsyncIterator[Self]:
        """Open a link that works."""
        link = cls(direct)
        await link.mend()
        try:
            yield link
        finally:
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
        for source, target in ((reader, onward), (onward_reader, writer)):
            pump = asyncio.create_task(self._pump(source, target))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(CHUNK):
                target.write(data)
                await target.drain()
        except OSError:
            pass  # one of the two has gone, which the other is told below
        self._close(target)

    def _close(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.close()
