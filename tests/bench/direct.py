"""The API server without anything of ours in between: aiohttp, bytes, and the administrator's certificate."""

import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import aiohttp
import anyio
import orjson
from attrs import frozen
from yarl import URL

from tests.bench.stream_server_process import BenchmarkError
from tests.support.cluster import kubectl

JSON = dict[str, Any]
APPLY: Final = "application/apply-patch+yaml"
CALL_SECONDS: Final = 60.0
ATTEMPTS: Final = 30
BUSY_SECONDS: Final = 1.0
MAX_LINE: Final = 4 * 1024 * 1024


@frozen
class Access:
    """Where the API server is, and how it is known: what a kubeconfig of the lab says."""

    server: str
    authority: bytes
    certificate: bytes
    key: bytes

    @classmethod
    def of_kubeconfig(cls) -> "Access":
        """Read the kubeconfig of the environment."""
        config = json.loads(kubectl("config", "view", "--minify", "--raw", "--flatten", "--output=json"))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        return cls(
            cluster["server"],
            base64.b64decode(cluster["certificate-authority-data"]),
            base64.b64decode(user["client-certificate-data"]),
            base64.b64decode(user["client-key-data"]),
        )

    def context(self) -> ssl.SSLContext:
        """Return a context that trusts this server and shows the certificate."""
        context = ssl.create_default_context(cadata=self.authority.decode())
        with TemporaryDirectory() as directory:
            file = Path(directory, "client.pem")
            file.touch(mode=0o600)
            file.write_bytes(self.certificate + self.key)
            context.load_cert_chain(file)
        return context


@frozen
class Direct:
    """Calls with bytes as bodies."""

    session: aiohttp.ClientSession
    server: str

    async def call(
        self, verb: str, path: str, body: bytes | None = None, content_type: str = "application/json"
    ) -> bytes:
        """Return the body of a 2xx answer; a server that is busy is asked again. Raises BenchmarkError for any other."""
        headers = {"Content-Type": content_type} if body is not None else {}
        url = URL(self.server + path, encoded=True)
        for attempt in range(1, ATTEMPTS + 1):
            async with self.session.request(verb, url, data=body, headers=headers) as response:
                answer = await response.read()
                if 200 <= response.status < 300:
                    return answer
                if response.status != 429 or attempt == ATTEMPTS:
                    raise BenchmarkError(f"{verb} {path}: {response.status} {answer[:300]!r}")
            await anyio.sleep(BUSY_SECONDS)  # also a kind whose storage has just been made is not ready
        raise AssertionError("the last attempt returns or raises")

    async def read(self, path: str) -> JSON:
        """Return an object or a list."""
        found: JSON = orjson.loads(await self.call("GET", path))
        return found

    async def version(self, path: str) -> str:
        """Return the resource version of a collection, from which a watch of it can begin."""
        found = await self.read(f"{path}?limit=1")
        return str(found["metadata"]["resourceVersion"])

    async def watch(self, path: str, query: str, version: str) -> AsyncIterator[tuple[str, JSON]]:
        """Yield type and object of what happens after a version, for ever. Raises BenchmarkError when that has expired."""
        while True:
            url = URL(
                f"{self.server}{path}?watch=1&resourceVersion={version}&timeoutSeconds=3600{query}",
                encoded=True,
            )
            async with self.session.get(url, timeout=aiohttp.ClientTimeout(sock_connect=10)) as response:
                if response.status == 429:
                    await anyio.sleep(BUSY_SECONDS)
                    continue
                async for line in response.content:
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise BenchmarkError(f"the watch of {path} ended: {event['object'].get('message')}")
                    version = event["object"]["metadata"]["resourceVersion"]
                    yield event["type"], event["object"]


@asynccontextmanager
async def direct(access: Access, agent: str) -> AsyncIterator[Direct]:
    """A pool of connections, open while the context is."""
    connector = aiohttp.TCPConnector(ssl=access.context(), limit=0, keepalive_timeout=60)
    headers = {"User-Agent": agent, "Accept": "application/json", "Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(
        connector=connector,
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=CALL_SECONDS),
        read_bufsize=MAX_LINE,
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield Direct(session, access.server)
