"""An answer that breaks off is never passed on as a whole one."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from gastown_operator.gateway.message import ModelOutcome
from tests.faults.gateway.bench import Bench, bench
from tests.faults.gateway.provider import (
    DONE,
    PING,
    SSE,
    STOP,
    cut,
    data,
    delta,
    endless,
    event,
    finish,
    line,
    says,
    silent,
    start,
    stream,
    then_waits,
    whole,
)

pytestmark = pytest.mark.anyio

LINES = "application/x-ndjson"
OUTPUT = data({"type": "response.output_text.delta", "delta": "half"})
FAILED = data({"type": "response.failed", "response": {"status": "failed", "error": {"message": "no"}}})
OVERLOADED = event("error", error={"type": "api_error", "message": "no"})

#: What comes first, what comes then, and whether the connection is closed at last.
BROKEN: dict[str, tuple[str, bytes, tuple[bytes, ...], bool]] = {
    "the connection is closed": ("/v1/messages", start(), (says("half"),), True),
    "a clean end without message_stop": ("/v1/messages", start(), (says("half"),), False),
    "a clean end after the last word": ("/v1/messages", start(), (says("all"), finish()), False),
    "an error event": ("/v1/messages", start(), (OVERLOADED,), False),
    "a chat without finish_reason": ("/v1/chat/completions", delta("half"), (DONE,), False),
    "a chat without [DONE]": ("/v1/chat/completions", delta("half"), (delta("", "stop"),), False),
    "a chat that ends at once": ("/v1/chat/completions", delta("half"), (), False),
    "an error in a chat": (
        "/v1/chat/completions",
        delta("half"),
        (data({"error": {"message": "no"}}),),
        False,
    ),
    "a response that is not completed": ("/v1/responses", OUTPUT, (), False),
    "a response that failed": ("/v1/responses", OUTPUT, (FAILED,), False),
    "ollama without done": ("/api/chat", line(message={"content": "half"}), (), False),
    "an error of ollama": ("/api/chat", line(message={"content": "half"}), (line(error="no"),), False),
}


@pytest.mark.parametrize(("path", "first", "rest", "close"), BROKEN.values(), ids=BROKEN)
async def test_a_broken_answer_is_broken_for_the_agent_too(
    gateway: Bench, path: str, first: bytes, rest: tuple[bytes, ...], close: bool
) -> None:
    begun = asyncio.Event()
    kind = LINES if path == "/api/chat" else SSE
    gateway.provider.script(then_waits(first, pause=begun, rest=rest, kind=kind, close=close))
    got = await gateway.ask(path, begun=begun)
    assert (got.status, got.broken) == (200, True)
    assert b"error" in got.content.strip().splitlines()[-1]
    assert DONE not in got.content
    assert STOP not in got.content
    assert gateway.record.outcome is ModelOutcome.UNAVAILABLE
    assert gateway.record.reason == "BrokenOff"
    assert len(gateway.provider.asked) == 1


async def test_a_connection_that_is_reset_breaks_the_answer(gateway: Bench) -> None:
    gateway.provider.script(cut(start(), says("half"), reset=True), cut(start(), reset=True))
    got = await gateway.ask()
    assert got.broken or got.status == 502
    assert gateway.record.outcome is ModelOutcome.UNAVAILABLE


async def test_an_answer_that_is_no_stream_and_breaks_off_is_broken(gateway: Bench) -> None:
    gateway.provider.script(cut(b'{"type":"message","content":[', kind="application/json"))
    got = await gateway.ask(json={"model": "m", "messages": []})
    assert got.broken
    assert gateway.record.outcome is ModelOutcome.UNAVAILABLE


async def test_half_a_json_answer_with_a_clean_end_is_broken(gateway: Bench) -> None:
    gateway.provider.script(stream(b'{"type":"message"', kind="application/json"))
    assert (await gateway.ask(json={"model": "m"})).broken


async def test_a_cut_before_the_first_event_is_tried_again(gateway: Bench) -> None:
    """Claude Code would ask eleven times without streaming."""
    gateway.provider.script(cut(), cut(PING), stream(start(), says("hello"), finish(), STOP))
    got = await gateway.ask()
    assert (got.status, got.broken) == (200, False)
    assert len(gateway.provider.asked) == 3
    assert gateway.record.outcome is ModelOutcome.OK


async def test_an_error_event_before_anything_else_is_an_error_answer(gateway: Bench) -> None:
    gateway.provider.script(
        stream(event("error", error={"type": "overloaded_error", "message": "Overloaded"}))
    )
    got = await gateway.ask()
    assert (got.status, got.broken) == (529, False)
    assert len(gateway.provider.asked) == 3
    assert gateway.record.outcome is ModelOutcome.RATE_LIMITED


async def test_pings_are_no_progress(tmp_path: Path) -> None:
    async with bench(tmp_path, idle_timeout=1.0) as gateway:
        gateway.provider.script(endless(start(), says("half"), again=PING, every=0.02))
        got = await gateway.ask()
        assert got.broken
        assert gateway.record.reason == "Stalled"
        assert gateway.record.outcome is ModelOutcome.UNAVAILABLE
        await gateway.provider.until(lambda provider: provider.left == 1)


async def test_a_slow_answer_that_goes_on_is_not_stalled(tmp_path: Path) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        pieces = [start(), *[says("x")] * 8, finish(), STOP]
        response = await stream()(request)
        for piece in pieces:
            await asyncio.sleep(0.2)
            await response.write(piece)
        return response

    # Shorter than the whole answer, and longer than a busy machine makes a piece wait.
    async with bench(tmp_path, idle_timeout=2.0) as gateway:
        gateway.provider.script(slow)
        assert not (await gateway.ask()).broken


async def test_a_provider_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    async with bench(tmp_path, first_byte_timeout=1.0) as gateway:
        gateway.provider.script(silent)
        got = await gateway.ask()
        assert got.status == 504
        assert len(gateway.provider.asked) == 1
        assert gateway.record.reason == "TimedOut"


async def test_pings_alone_are_no_beginning(tmp_path: Path) -> None:
    async with bench(tmp_path, first_byte_timeout=0.2) as gateway:
        gateway.provider.script(endless(again=PING, every=0.02))
        assert (await gateway.ask()).status == 504


async def test_a_stream_that_stays_open_after_its_end_is_ended(
    gateway: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gastown_operator.gateway.exchange._SECONDS_FOR_ACCOUNTS", 0.1)
    gateway.provider.script(then_waits(start(), finish(), STOP, pause=asyncio.Event()))
    got = await gateway.ask()
    assert (got.status, got.broken) == (200, False)
    assert gateway.record.outcome is ModelOutcome.OK


async def test_something_that_is_no_model_is_refused(gateway: Bench) -> None:
    gateway.provider.script(stream(b"<html>welcome</html>", kind="text/html"))
    got = await gateway.ask()
    assert got.status == 400
    assert gateway.record.outcome is ModelOutcome.CONFIG
    assert gateway.record.reason == "EndpointUnknown"


async def test_after_a_broken_answer_a_whole_one_is_a_success(gateway: Bench) -> None:
    gateway.provider.script(cut(start()), whole({"type": "message", "stop_reason": "end_turn", "usage": {}}))
    assert (await gateway.ask()).broken
    assert not (await gateway.ask(json={"model": "m"})).broken
    assert gateway.record.outcome is ModelOutcome.OK
