"""The budget is kept while answers pass, and the agent is stopped in a way that ends it."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from gastown_operator.gateway.message import ModelOutcome
from tests.faults.gateway.bench import MODEL, bench
from tests.faults.gateway.provider import (
    DONE,
    STOP,
    chat_usage,
    data,
    delta,
    endless,
    finish,
    says,
    silent,
    start,
    status,
    stream,
    then_waits,
)

pytestmark = pytest.mark.anyio


async def test_the_budget_stops_an_answer_in_flight(tmp_path: Path) -> None:
    async with bench(tmp_path, max_tokens=150) as gateway:
        gateway.provider.script(endless(start(100), again=says("four words of text!!"), every=0.001))
        got = await gateway.ask()
        assert got.broken
        assert b"the budget of this run is used up: 150 tokens" in got.content
        assert gateway.stopped == "budget\n"
        record = gateway.record
        assert (record.outcome, record.reason, record.stopped) == (
            ModelOutcome.BUDGET,
            "BudgetExceeded",
            "budget",
        )
        assert record.input_tokens + record.output_tokens >= 150
        assert record.estimated
        await gateway.provider.until(lambda provider: provider.left == 1)


async def test_after_it_every_request_is_a_400_and_goes_nowhere(tmp_path: Path) -> None:
    async with bench(tmp_path, max_tokens=100) as gateway:
        assert not (await gateway.ask()).broken  # it was finished when the budget was
        for path in ("/v1/messages", "/v1/chat/completions", "/v1/messages/count_tokens"):
            got = await gateway.ask(path)
            assert got.status == 400
            assert got.message == "gateway: the budget of this run is used up: 100 tokens"
        assert len(gateway.provider.asked) == 1
        assert gateway.record.outcome is ModelOutcome.BUDGET


async def test_the_first_cause_to_stop_stays(tmp_path: Path) -> None:
    async with bench(tmp_path, max_tokens=100) as gateway:
        (tmp_path / "stop").write_text("deadline\n")
        await gateway.ask()
        assert gateway.stopped == "deadline\n"
        assert gateway.record.stopped == "budget"


async def test_a_stop_of_the_keeper_does_not_stop_requests(tmp_path: Path) -> None:
    async with bench(tmp_path) as gateway:
        (tmp_path / "stop").write_text("deadline\n")
        assert (await gateway.ask()).status == 200


async def test_all_answers_in_flight_count_together_and_are_stopped_together(tmp_path: Path) -> None:
    async with bench(tmp_path, max_tokens=250) as gateway:
        never = asyncio.Event()
        begun = asyncio.Event()
        gateway.provider.script(then_waits(start(100), says("x"), pause=never), stream(start(200), says("y")))
        waiting = asyncio.create_task(gateway.ask(begun=begun))
        await begun.wait()
        got = await gateway.ask()
        assert got.broken or got.status == 400
        assert (await waiting).broken
        assert gateway.record.input_tokens == 300


async def test_a_budget_of_money_is_kept(tmp_path: Path) -> None:
    async with bench(tmp_path, max_cost="0.001", prices='{"mine":{"input":"1","output":"100"}}') as gateway:
        gateway.provider.script(endless(start(100), again=says("four words of text!!"), every=0.001))
        got = await gateway.ask(json={"model": "mine", "stream": True})
        assert got.broken
        assert b"used up: 0.001 USD" in got.content
        assert gateway.record.cost_usd is not None
        assert float(gateway.record.cost_usd) >= 0.001


async def test_a_budget_of_money_refuses_a_model_without_a_price(tmp_path: Path) -> None:
    async with bench(tmp_path, max_cost="5") as gateway:
        got = await gateway.ask(json={"model": "unheard-of", "stream": True})
        assert got.status == 400
        assert gateway.provider.asked == []
        assert (gateway.record.outcome, gateway.record.reason) == (ModelOutcome.CONFIG, "PriceUnknown")


async def test_no_price_is_no_cost(tmp_path: Path) -> None:
    async with bench(tmp_path) as gateway:
        await gateway.ask(json={"model": "unheard-of", "stream": True})
        record = gateway.record
        page = gateway.parts.metrics.page().decode()
    assert (record.cost_usd, record.unpriced, record.input_tokens) == (None, True, 100)
    assert f"gastown_gateway_unpriced_tokens_total {record.input_tokens + record.output_tokens}.0" in page


async def test_the_cost_of_what_has_a_price_is_a_lower_bound_beside_what_has_none(tmp_path: Path) -> None:
    async with bench(tmp_path) as gateway:
        await gateway.ask()
        before = gateway.record
        await gateway.ask(json={"model": "unheard-of", "stream": True})
        after = gateway.record
    async with bench(tmp_path) as gateway:
        resumed = gateway.parts.ledger.record()
    assert (before.cost_usd, before.unpriced) == ("0.0006", False)
    assert (after.cost_usd, after.unpriced, after.input_tokens) == ("0.0006", True, 200)
    assert (resumed.cost_usd, resumed.unpriced) == ("0.0006", True)


async def test_an_api_that_counts_at_the_end_is_estimated_until_then(tmp_path: Path) -> None:
    async with bench(tmp_path, max_tokens=500) as gateway:
        gateway.provider.script(stream(delta("x" * 400), delta("", "stop"), chat_usage(40, 90), DONE))
        assert not (await gateway.ask("/v1/chat/completions")).broken
        assert gateway.record.output_tokens == 90
        assert not gateway.parts.ledger.meter.estimated
        gateway.provider.script(endless(again=delta("x" * 100), every=0.001))
        assert (await gateway.ask("/v1/chat/completions")).broken
        assert gateway.record.estimated
        assert gateway.record.input_tokens + gateway.record.output_tokens >= 500
        await gateway.provider.until(lambda provider: provider.left == 1)


# An agent that leaves


async def test_the_accounts_are_read_although_the_agent_has_left(tmp_path: Path) -> None:
    """Aider closes the connection after the model's last word."""
    async with bench(tmp_path) as gateway:
        left = asyncio.Event()
        gateway.provider.script(then_waits(delta("x", "stop"), pause=left, rest=(chat_usage(40, 90), DONE)))
        asked = {"model": MODEL, "stream": True}
        response = await gateway.client.post(f"{gateway.url}/v1/chat/completions", json=asked)
        await response.content.readany()
        response.close()
        left.set()
        await gateway.settled()
        assert gateway.record.output_tokens == 90
        assert gateway.record.outcome is ModelOutcome.OK
        assert not gateway.record.estimated


async def test_an_answer_that_nobody_wants_is_cancelled_and_its_beginning_paid(tmp_path: Path) -> None:
    async with bench(tmp_path) as gateway:
        gateway.provider.script(then_waits(start(100), says("hello"), pause=asyncio.Event()))
        response = await gateway.client.post(
            f"{gateway.url}/v1/messages", json={"model": MODEL, "stream": True}
        )
        await response.content.readany()
        response.close()
        await gateway.provider.until(lambda provider: provider.left == 1)
        await gateway.settled()
        record = gateway.record
        assert record.input_tokens == 100
        assert record.estimated
        assert record.outcome is ModelOutcome.NONE  # it is not the provider's fault


async def test_a_request_that_nobody_waits_for_is_cancelled(tmp_path: Path) -> None:
    async with bench(tmp_path) as gateway:
        gateway.provider.script(then_waits(pause=asyncio.Event()))
        asking = asyncio.create_task(gateway.ask())
        await gateway.provider.until(lambda provider: len(provider.asked) == 1)
        asking.cancel()
        await gateway.provider.until(lambda provider: provider.left == 1)


async def test_a_slow_agent_slows_the_provider_down(tmp_path: Path) -> None:
    """Nothing is collected in between: what the agent does not read, the provider cannot send."""
    sent = 0
    piece = says("x" * 100_000)

    async def eager(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = await stream(start())(request)
        while True:
            await response.write(piece)
            sent += len(piece)

    async with bench(tmp_path, idle_timeout=0.5) as gateway:
        gateway.provider.script(eager)
        response = await gateway.client.post(
            f"{gateway.url}/v1/messages", json={"model": MODEL, "stream": True}
        )
        await gateway.provider.until(
            lambda provider: provider.left == 1
        )  # an agent that reads no more has left
        response.close()
        assert sent < 40_000_000


async def test_what_is_finished_is_not_cut(tmp_path: Path) -> None:
    async with bench(tmp_path, max_tokens=50) as gateway:
        gateway.provider.script(stream(start(100), finish(20), STOP))
        got = await gateway.ask()
        assert got.broken or got.content.endswith(STOP)
        assert gateway.stopped == "budget\n"


async def test_a_request_that_was_sent_is_paid_although_nobody_waited_for_its_answer(tmp_path: Path) -> None:
    async with bench(tmp_path, max_tokens=1000) as gateway:
        gateway.provider.script(then_waits(pause=asyncio.Event()))
        content = {"model": MODEL, "system": "word " * 200}
        for count in range(1, 4):
            asking = asyncio.create_task(gateway.ask(json=content))
            await gateway.provider.until(lambda provider, count=count: len(provider.asked) == count)  # type: ignore[misc]
            asking.cancel()
            await gateway.settled()
        assert gateway.record.input_tokens >= 750
        assert gateway.record.estimated
        asking = asyncio.create_task(gateway.ask(json=content))
        await gateway.provider.until(lambda provider: len(provider.asked) == 4)
        asking.cancel()
        await gateway.settled()
        assert gateway.stopped == "budget\n"


async def test_a_request_that_is_refused_costs_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as gateway:
        gateway.provider.script(status(400))
        await gateway.ask(json={"model": MODEL, "system": "word " * 200})
        assert gateway.record.input_tokens == 0


async def test_requests_on_their_way_count_together(tmp_path: Path) -> None:
    async with bench(tmp_path, max_tokens=1000) as gateway:
        gateway.provider.script(silent)
        content = {"model": MODEL, "stream": True, "system": "word " * 400}
        waiting = [asyncio.create_task(gateway.ask(json=content)) for _ in range(3)]
        await gateway.provider.until(lambda provider: len(provider.asked) == 3)
        while not gateway.parts.ledger.meter.spent:  # noqa: ASYNC110 - a timer of the gateway, which tells nobody
            await asyncio.sleep(0.01)
        got = await gateway.ask(json=content)
        assert got.status == 400
        assert b"budget" in got.content
        assert [answer.status for answer in await asyncio.gather(*waiting)] == [400, 400, 400]
        assert len(gateway.provider.asked) == 3


async def test_the_other_choices_of_a_request_are_stopped_too(tmp_path: Path) -> None:
    def choice(index: int, text: str, reason: str | None = None) -> bytes:
        return data({"choices": [{"index": index, "delta": {"content": text}, "finish_reason": reason}]})

    async with bench(tmp_path, max_tokens=500) as gateway:
        begun = choice(1, "x") + choice(0, "x", "stop")
        gateway.provider.script(endless(begun, again=choice(1, "x" * 100), every=0.001))
        assert (await gateway.ask("/v1/chat/completions")).broken
        assert gateway.stopped == "budget\n"
        await gateway.provider.until(lambda provider: provider.left == 1)
