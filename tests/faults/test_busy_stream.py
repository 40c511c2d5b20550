"""A watch with thousands of events a second is read in gulps; one with few is read at once."""

import anyio
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.transport import GATHER, Transport
from tests.faults.scripted_server import ScriptedServer, opened

pytestmark = pytest.mark.anyio


async def test_lines_that_come_fast_are_gathered_and_none_is_lost(server: ScriptedServer) -> None:
    async def fast(request: web.Request) -> web.StreamResponse:
        response = await opened(request)
        for number in range(200):
            await response.write(b"%d\n" % number)
            await anyio.sleep(0.001)
        return response

    server.script("GET", fast)
    transport = Transport(Connection(server.url), Metrics(CollectorRegistry()), "tests")
    started = anyio.current_time()
    async with transport.stream("/api/v1/things", {}, deadline=60.0) as lines:
        batches = [batch async for batch in lines]
    elapsed = anyio.current_time() - started
    await transport.close()
    assert [line for batch in batches for line in batch] == [b"%d" % number for number in range(200)]
    assert len(batches) <= elapsed / GATHER + 2
