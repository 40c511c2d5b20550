"""A gateway between a scripted provider and a client that stands for an agent."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from attrs import define, evolve, field, frozen
from yarl import URL

from gastown_operator.gateway.__main__ import services
from gastown_operator.gateway.control import Paths
from gastown_operator.gateway.logs import JsonJournal
from gastown_operator.gateway.message import GatewayRecord, decode
from gastown_operator.gateway.server import Server
from gastown_operator.gateway.services import Services
from gastown_operator.gateway.settings import GatewaySettings
from tests.faults.gateway.provider import Provider

KEY = "sk-ant-api03-the-real-credential"
MODEL = "claude-sonnet-4-5"


@frozen
class Got:
    """What the agent got.

    Attributes:
        broken: whether the answer did not end as HTTP wants it.
    """

    status: int
    headers: dict[str, str]
    content: bytes
    broken: bool

    @property
    def body(self) -> Any:
        return json.loads(self.content)

    @property
    def message(self) -> str:
        """Of an error answer."""
        error = self.body["error"]
        return str(error if isinstance(error, str) else error["message"])


@define
class Bench:
    """A running gateway."""

    provider: Provider
    parts: Services
    folder: Path
    url: str
    metrics_url: str
    client: aiohttp.ClientSession
    log: io.StringIO
    server: Server
    slept: list[float] = field(factory=list)

    async def ask(
        self, path: str = "/v1/messages", method: str = "POST", begun: asyncio.Event | None = None, **how: Any
    ) -> Got:
        """Send a request and read the answer to whatever end it has; `begun` is set with its first bytes."""
        if method == "POST" and "data" not in how:
            how.setdefault("json", {"model": MODEL, "stream": True, "messages": []})
        content = bytearray()
        async with self.client.request(method, URL(self.url + path, encoded=True), **how) as response:
            try:
                async for chunk in response.content.iter_any():
                    content += chunk
                    if begun is not None:
                        begun.set()
            except aiohttp.ClientError:
                return Got(response.status, dict(response.headers), bytes(content), broken=True)
            return Got(response.status, dict(response.headers), bytes(content), broken=False)

    async def settled(self) -> None:
        """Return when no request is going on, also none whose agent has left."""
        await asyncio.gather(*self.server._exchanges.values(), return_exceptions=True)

    @property
    def record(self) -> GatewayRecord:
        """As the keeper reads it."""
        record = decode((self.folder / "gateway.json").read_text())
        assert record is not None
        return record

    @property
    def stopped(self) -> str | None:
        """What the stop request says."""
        stop = self.folder / "stop"
        return stop.read_text() if stop.exists() else None

    def put_credential(self, name: str, text: str) -> None:
        (self.folder / "credentials" / name).write_text(text)


@asynccontextmanager
async def bench(
    folder: Path, provider_name: str = "anthropic", environment: dict[str, str] | None = None, **changes: Any
) -> AsyncIterator[Bench]:
    """Run a gateway with these settings."""
    provider = Provider()
    await provider.start()
    (folder / "credentials").mkdir(exist_ok=True)
    (folder / "credentials" / "api-key").write_text(KEY)
    given = GatewaySettings(
        provider_name, provider.url, "llm", "api-key", first_byte_timeout=20.0, idle_timeout=10.0
    )
    settings = evolve(given, **changes)
    paths = Paths(folder, folder / "credentials", folder / "alive", folder / "termination-log")
    log = io.StringIO()
    async with services(settings, paths, environment or {}) as parts, aiohttp.ClientSession() as client:
        parts.journal = JsonJournal("team/one", parts.redactor, log)
        server = Server(parts)
        port, metrics_port = await server.listen("127.0.0.1", 0, "127.0.0.1", 0)
        made = Bench(
            provider,
            parts,
            folder,
            f"http://127.0.0.1:{port}",
            f"http://127.0.0.1:{metrics_port}",
            client,
            log,
            server,
        )

        async def sleep(seconds: float) -> None:
            made.slept.append(seconds)
            await asyncio.sleep(0)

        parts.sleep = sleep
        try:
            yield made
        finally:
            await server.end()
            await provider.stop()
