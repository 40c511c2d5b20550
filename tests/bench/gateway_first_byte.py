"""How much later the first byte of an answer comes through the gateway than without it.

Fifty agents ask one after the other, each for a stream of two seconds with twenty events a second, with a request of 60 kB; so fifty
streams pass at any time. The same agents ask the same provider directly and through the gateway in turns. Agents, gateway and provider
are processes of their own; all measuring, the budget of tokens and money, the record and the credential are on.

    python -m tests.bench.gateway_first_byte [--agents 50] [--rounds 3] [--seconds 10]
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any, Final

import aiohttp

from tests.bench.figures import Figure
from tests.bench.gateway_provider import EVENTS, PAUSE
from tests.bench.stream_server_process import BenchmarkError, Child, print_figures, running

MEASURE: Final = "gateway"
BAR: Final = 5.0  # ms, DESIGN §13 and issue 5
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def measure(agents: int = 50, rounds: int = 3, seconds: float = 10.0) -> list[Figure]:
    """Ask directly and through the gateway in turns. Raises BenchmarkError if an answer was not whole."""
    direct: list[float] = []
    through: list[float] = []
    with TemporaryDirectory() as name, running("gateway_provider") as provider:
        url = provider.line().decode().strip()
        folder = Path(name)
        (folder / "credentials").mkdir()
        (folder / "credentials" / "api-key").write_text("sk-ant-benchmark")
        with running("gateway_process", name, url) as gateway:
            gateway_url = f"http://127.0.0.1:{json.loads(gateway.line())['ports'][0]}"
            asyncio.run(_ask(gateway_url, agents, 0.0))  # connections and caches
            before, cpu = len(through), _cpu_seconds(gateway)
            for _ in range(rounds):
                direct += asyncio.run(_ask(url, agents, seconds))
                through += asyncio.run(_ask(gateway_url, agents, seconds))
            cpu = _cpu_seconds(gateway) - cpu
    details = {"answers": len(through) - before, "cpu_ms_per_answer": round(cpu / len(through) * 1000, 2)}
    return _figures(agents, direct, through, details)


def _figures(
    agents: int, direct: Sequence[float], through: Sequence[float], details: dict[str, Any]
) -> list[Figure]:
    without, with_gateway = _percentiles(direct), _percentiles(through)
    name = f"first byte with {agents} streams"
    baseline = f"{without[98]:.2f} ms without the gateway, {with_gateway[98]:.2f} ms with it"
    return [
        Figure(MEASURE, f"{name}, added at p50", with_gateway[49] - without[49], "ms"),
        Figure(
            MEASURE, f"{name}, added at p99", with_gateway[98] - without[98], "ms", BAR, baseline, details
        ),
    ]


def _percentiles(values: Sequence[float]) -> list[float]:
    return quantiles([value * 1000 for value in values], n=100, method="inclusive")


async def _ask(url: str, agents: int, seconds: float) -> list[float]:
    """Seconds until the first byte of each answer."""
    body = json.dumps({"model": "claude-sonnet-4-5", "stream": True, "system": "word " * 12_000}).encode()
    until = time.monotonic() + seconds
    found: list[float] = []

    async def agent(number: int, session: aiohttp.ClientSession) -> None:
        await asyncio.sleep(number * EVENTS * PAUSE / agents)  # spread over the length of a stream
        while True:
            found.append(await _first_byte(session, url, body))
            if time.monotonic() >= until:
                return

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(agent(number, session) for number in range(agents)))
    return found


async def _first_byte(session: aiohttp.ClientSession, url: str, body: bytes) -> float:
    headers = {"Content-Type": "application/json"}
    asked = time.perf_counter()
    async with session.post(f"{url}/v1/messages", data=body, headers=headers) as response:
        last = await response.content.readany()
        first = time.perf_counter() - asked
        while chunk := await response.content.readany():
            last = chunk
    if response.status != 200 or b"message_stop" not in last:
        raise BenchmarkError(f"an answer of {url} is not whole: {response.status}")
    return first


def _cpu_seconds(child: Child) -> float:
    fields = Path(f"/proc/{child.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def main() -> None:
    """Measure alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    print_figures(measure(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
