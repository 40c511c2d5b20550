"""A gateway that was killed and started again goes on with the account that it had."""

import asyncio
import os
from pathlib import Path

import pytest
from attrs import evolve

from gastown_operator.gateway.__main__ import main
from gastown_operator.gateway.control import Paths
from gastown_operator.gateway.message import GatewayRecord, ModelOutcome, decode
from gastown_operator.gateway.settings import GatewaySettings
from tests.faults.gateway.bench import MODEL, bench
from tests.faults.gateway.provider import says, start, status, then_waits

pytestmark = pytest.mark.anyio


async def test_what_was_used_before_a_restart_still_counts(tmp_path: Path) -> None:
    async with bench(tmp_path) as gateway:
        await gateway.ask()
        before = gateway.record
    async with bench(tmp_path) as gateway:
        assert gateway.parts.ledger.record() == before
        await gateway.ask()
        after = gateway.record
    assert (before.requests, before.input_tokens, before.output_tokens) == (1, 100, 20)
    assert (after.requests, after.input_tokens, after.output_tokens) == (2, 200, 40)
    assert (before.cost_usd, after.cost_usd) == ("0.0006", "0.0012")


async def test_a_budget_is_not_given_a_second_time(tmp_path: Path) -> None:
    async with bench(tmp_path, max_tokens=200) as gateway:
        await gateway.ask()
    async with bench(tmp_path, max_tokens=200) as gateway:
        await gateway.ask()
        assert gateway.stopped == "budget\n"


async def test_a_run_that_was_stopped_stays_stopped(tmp_path: Path) -> None:
    async with bench(tmp_path, max_tokens=100) as gateway:
        await gateway.ask()
    async with bench(tmp_path, max_tokens=100) as gateway:
        got = await gateway.ask()
        assert (got.status, gateway.provider.asked) == (400, [])
        assert (gateway.record.outcome, gateway.record.stopped) == (ModelOutcome.BUDGET, "budget")


async def test_how_the_last_request_ended_and_an_unknown_price_are_remembered(tmp_path: Path) -> None:
    async with bench(tmp_path) as gateway:
        await gateway.ask(json={"model": "unheard-of", "stream": True})
        gateway.provider.script(status(403))
        await gateway.ask()
    async with bench(tmp_path) as gateway:
        record = gateway.parts.ledger.record()
    assert (record.outcome, record.status, record.model) == (ModelOutcome.AUTH, 403, MODEL)
    assert (record.cost_usd, record.unpriced) == (None, True)


async def test_a_record_that_cannot_be_read_starts_a_new_account(tmp_path: Path) -> None:
    (tmp_path / "gateway.json").write_text('{"v":1,"outcome":"Ok","cost_usd":"much"}')
    async with bench(tmp_path) as gateway:
        assert gateway.parts.ledger.record().outcome is ModelOutcome.NONE


def test_a_start_that_fails_keeps_the_account(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path / "credentials", tmp_path / "alive", tmp_path / "termination-log")
    used = GatewayRecord(ModelOutcome.OK, requests=3, input_tokens=7, output_tokens=5, cost_usd="0.5")
    (tmp_path / "gateway.json").write_bytes(used.encode())
    settings = GatewaySettings("anthropic", prices="{]")
    assert main({**os.environ, **settings.environment()}, paths, (0, 0)) == 1
    record = decode((tmp_path / "termination-log").read_text())
    assert record is not None
    assert record.outcome is ModelOutcome.CONFIG
    assert (record.requests, record.input_tokens, record.cost_usd) == (3, 7, "0.5")


async def test_what_still_passes_is_in_the_account(tmp_path: Path) -> None:
    async with bench(tmp_path) as gateway:
        begun = asyncio.Event()
        gateway.provider.script(then_waits(start(100), says("hello"), pause=asyncio.Event()))
        asking = asyncio.create_task(gateway.ask(begun=begun))
        await begun.wait()
        await gateway.parts.publish()
        assert gateway.record.input_tokens == 100
        asking.cancel()
        await gateway.settled()
        assert gateway.record.input_tokens == 100


async def test_a_control_volume_that_takes_no_file_breaks_no_answer_and_ends_no_gateway(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, max_tokens=150) as gateway:
        control = gateway.parts.control
        control.paths = evolve(control.paths, control=tmp_path / "gone")
        got = await gateway.ask()
        assert (got.status, got.broken) == (200, False)
        await gateway.ask()
        assert gateway.parts.ledger.record().stopped == "budget"
        assert (await gateway.ask()).status == 400
        assert "cannot write" in gateway.log.getvalue()
        control.paths = evolve(control.paths, control=tmp_path)
        await gateway.ask()
        assert gateway.stopped == "budget\n"
