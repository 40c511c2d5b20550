"""The agent cannot bring the gateway down by what it sends: a real process, and its own peak of memory."""

import asyncio
import io
import re
from pathlib import Path

import aiohttp
import pytest
from attrs import define, field

from gastown_operator.gateway.settings import GatewaySettings
from tests.faults.gateway.provider import start
from tests.faults.gateway.test_program import running

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
#: Half of the container's limit (controllers/polecat/containers.py).
BAR = 256 * MIB
AGENTS = 6


@define
class Sink:
    """A provider that forgets requests as they come, begins its answers, and never ends them."""

    serving: list["asyncio.Task[None]"] = field(factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.append(task)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if length is not None:
            await skip(reader, int(length[1]))
        else:
            while size := int(await reader.readline(), 16):
                await skip(reader, size + 2)
            await reader.readline()
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        writer.write(b"%x\r\n%s\r\n" % (len(start()), start()))
        await writer.drain()
        await reader.read()
        writer.transport.abort()


async def skip(reader: asyncio.StreamReader, count: int) -> None:
    while count:
        count -= len(await reader.read(min(count, MIB)))


def large() -> bytes:
    """One character that makes all the others four times as wide in a string."""
    return '{"model":"m","stream":true,"x":"😀'.encode() + b"x" * (24 * MIB) + b'"}'


def of_braces() -> bytes:
    return b'{"model":"m","x":[' + b"{}," * (10 * MIB) + b"0]}"


def peak(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


async def test_many_large_requests_at_a_time_stay_within_half_of_the_containers_memory(
    tmp_path: Path,
) -> None:
    sink = Sink()
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0, limit=MIB)
    upstream = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    body, braces = large(), of_braces()
    with running(tmp_path, GatewaySettings("anthropic", upstream)) as program:
        url = f"http://127.0.0.1:{program.ports[0]}/v1/messages"
        async with aiohttp.ClientSession() as session:
            begun = await asyncio.gather(*(session.post(url, data=io.BytesIO(body)) for _ in range(AGENTS)))
            assert [answer.status for answer in begun] == [200] * AGENTS
            refused = await asyncio.gather(*(session.post(url, data=io.BytesIO(braces)) for _ in range(2)))
            assert [answer.status for answer in refused] == [400] * 2
            assert peak(program.process.pid) < BAR
            assert program.process.poll() is None
            for answer in [*begun, *refused]:
                answer.close()
            await asyncio.gather(*sink.serving)
    server.close()
