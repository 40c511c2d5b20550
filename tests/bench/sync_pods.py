"""Fills a cluster with pods that stay Pending, as fast as a bare client can."""

import asyncio
import ssl
from collections.abc import Iterator
from typing import Any, Final

import aiohttp
import orjson

from gastown_operator.runtime.configuration import Connection
from tests.bench.stream_server_pods import NAMESPACE, pod
from tests.bench.stream_server_process import BenchmarkError

WRITERS: Final = 24
_JSON: Final = {"Content-Type": "application/json"}


async def fill(connection: Connection, count: int) -> None:
    """Create so many pods, which must not be there. Raises BenchmarkError when the API server refuses one."""
    ssl_context: ssl.SSLContext | bool = connection.tls or True
    connector = aiohttp.TCPConnector(limit=WRITERS, ssl=ssl_context)
    async with aiohttp.ClientSession(connection.server, connector=connector) as session:
        await _create(session, "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        await _service_account(session)
        numbers = iter(range(count))
        await asyncio.gather(*(_write(session, numbers) for _ in range(WRITERS)))


async def _write(session: aiohttp.ClientSession, numbers: Iterator[int]) -> None:
    for number in numbers:
        await _create(session, f"/api/v1/namespaces/{NAMESPACE}/pods", _submitted(number))


def _submitted(number: int) -> dict[str, Any]:
    """Return a pod as its creator sends it. Without an owner, which the garbage collector would miss, and without a node."""
    body = pod(number, 2 + number % 3)
    metadata = {name: body["metadata"][name] for name in ("name", "labels", "annotations")}
    spec = {name: value for name, value in body["spec"].items() if name != "nodeName"}
    return {"metadata": metadata, "spec": spec}


async def _create(session: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> None:
    async with session.post(path, data=orjson.dumps(body), headers=_JSON) as answer:
        if answer.status not in {201, 409}:
            raise BenchmarkError(f"POST {path}: {answer.status} {(await answer.text())[:300]}")


async def _service_account(session: aiohttp.ClientSession) -> None:
    """Wait for what pods need, and the controller-manager makes in each namespace."""
    query = {"watch": "1", "fieldSelector": "metadata.name=default", "timeoutSeconds": "30"}
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    async with session.get(path, params=query) as answer:
        async for line in answer.content:
            if orjson.loads(line)["type"] == "ADDED":
                return
    raise BenchmarkError("the namespace got no service account within 30 s")
