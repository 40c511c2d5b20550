"""The program of the container `gateway`: `python3 -m gastown_operator.gateway`."""

import asyncio
import gc
import os
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

import aiohttp
import attrs

from gastown_operator.agents.prices import parse_overrides
from gastown_operator.gateway.budget import Limits, Meter
from gastown_operator.gateway.control import ControlFiles, Paths
from gastown_operator.gateway.credentials import CredentialFiles
from gastown_operator.gateway.egress import Proxies, trust
from gastown_operator.gateway.logs import JsonJournal
from gastown_operator.gateway.message import GatewayRecord, ModelOutcome
from gastown_operator.gateway.metrics import Metrics
from gastown_operator.gateway.record import Ledger
from gastown_operator.gateway.redact import Redactor
from gastown_operator.gateway.retry import Breaker, RequestRate
from gastown_operator.gateway.server import Server
from gastown_operator.gateway.services import Services
from gastown_operator.gateway.settings import METRICS_PORT, PORT, GatewaySettings, from_environment
from gastown_operator.gateway.upstream import Upstream

_SECONDS_TO_CONNECT: Final = 15.0
_BETWEEN_LINES: Final = 60.0
#: So much of an answer that still passes may be missing from the account after a gateway was killed.
_BETWEEN_RECORDS: Final = 5.0


@asynccontextmanager
async def services(
    settings: GatewaySettings, paths: Paths, environment: Mapping[str, str]
) -> AsyncIterator[Services]:
    """The parts of a gateway. Raises ValueError and OSError where settings or certificates are not usable."""
    redactor = Redactor()
    limits = Limits(settings.max_tokens, _money(settings.max_cost))
    control = ControlFiles(paths, time.monotonic)
    connector = aiohttp.TCPConnector(
        limit=0, ssl=trust(environment.get("GASTOWN_CA_FILE", "")), keepalive_timeout=30
    )
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_SECONDS_TO_CONNECT)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent",),
    ) as session:
        proxies = Proxies.from_environment()
        yield Services(
            settings=settings,
            upstream=Upstream(session, settings.base, proxies, settings.first_byte_timeout, redactor),
            credentials=CredentialFiles(paths.credentials, settings.secret, settings.secret_key),
            overrides=parse_overrides(settings.prices),
            ledger=_ledger(limits, settings.model, control),
            breaker=Breaker(),
            rate=RequestRate(settings.requests_per_minute),
            control=control,
            metrics=Metrics(),
            redactor=redactor,
            journal=JsonJournal(settings.polecat, redactor),
            clock=time.monotonic,
        )


def _ledger(limits: Limits, model: str, control: ControlFiles) -> Ledger:
    """The account of this attempt: a gateway that was killed goes on with what it had written down."""
    ledger = Ledger(Meter(limits), model)
    if (last := control.last()) is not None:
        with suppress(ValueError):  # not written by us: nobody else can, so there is nothing to go on with
            ledger.resume(last)
    return ledger


def _money(text: str) -> Decimal | None:
    try:
        amount = Decimal(text) if text else None
    except InvalidOperation:
        amount = Decimal("NaN")
    if amount is not None and not (amount.is_finite() and amount >= 0):
        raise ValueError(f"the budget {text!r} is not an amount of USD")
    return amount


async def run(
    settings: GatewaySettings, paths: Paths, environment: Mapping[str, str], ports: tuple[int, int]
) -> None:
    """Serve until a signal or the pipe says that the end has come."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with services(settings, paths, environment) as parts:
        if settings.ended_by_pipe:
            _watch(paths.alive, ended)
        server = Server(parts)
        serving = await server.listen("127.0.0.1", ports[0], "", ports[1])
        await parts.publish()
        gc.freeze()  # what is loaded by now stays: looking through it again and again would hold up answers
        parts.journal("serving", upstream=parts.upstream.base, ports=serving)
        await _keep_account(parts, ended)
        await server.end()
        parts.control.conclude(parts.ledger.record())


async def _keep_account(parts: Services, ended: asyncio.Event) -> None:
    """Write the record down while answers pass, and now and then into the log."""
    written, line = parts.ledger.record(), parts.clock() + _BETWEEN_LINES
    while not ended.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), _BETWEEN_RECORDS)
        if (record := parts.ledger.record()) != written:
            written = record
            await parts.publish()
        if ended.is_set() or parts.clock() >= line:
            line = parts.clock() + _BETWEEN_LINES
            parts.journal("record", record=attrs.asdict(record))


def _watch(pipe: Path, ended: asyncio.Event) -> None:
    """See the end of the agent at a FIFO: its last writer closes it, however the agent died."""
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{pipe} is not a FIFO")
    loop = asyncio.get_running_loop()

    def readable() -> None:
        if not os.read(descriptor, 4096):
            loop.remove_reader(descriptor)
            os.close(descriptor)
            ended.set()

    loop.add_reader(descriptor, readable)


def main(environment: Mapping[str, str], paths: Paths, ports: tuple[int, int] = (PORT, METRICS_PORT)) -> int:
    """Exit status: 0 when told to end, 1 when what was configured is not usable; the record says why."""
    settings = from_environment(environment)
    try:
        asyncio.run(run(settings, paths, environment, ports))
    except (ValueError, OSError) as error:
        message = f"the gateway cannot start: {error}"
        JsonJournal(settings.polecat, Redactor())("failed", cause=message)
        control = ControlFiles(paths, time.monotonic)
        before = control.last() or GatewayRecord(model=settings.model)
        control.conclude(
            attrs.evolve(before, outcome=ModelOutcome.CONFIG, reason="GatewayConfig", message=message)
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ, Paths()))
