"""What the agent is told when the provider refuses, fails or is out of reach, so that it ends soon and says why."""

import socket
from pathlib import Path

import pytest

from gastown_operator.gateway.message import ModelOutcome
from tests.faults.gateway.bench import Bench, bench
from tests.faults.gateway.provider import PING, WHOLE, Answer, cut, start, status, stream

pytestmark = pytest.mark.anyio

#: Agents act upon these words: aider tries again, opencode and Claude Code compact.
ACTED_UPON = ("rate limit", "rate_limit", "429", "overloaded", "prompt is too long", "too large", "timed out")


@pytest.mark.parametrize(
    ("code", "outcome", "reason"),
    [
        (401, ModelOutcome.AUTH, "InvalidCredential"),
        (403, ModelOutcome.AUTH, "InvalidCredential"),
        (402, ModelOutcome.REFUSED, "PaymentRequired"),
        (302, ModelOutcome.CONFIG, "EndpointRedirects"),
    ],
)
async def test_what_will_not_change_is_a_400_at_once(
    gateway: Bench, code: int, outcome: ModelOutcome, reason: str
) -> None:
    """The one status after which Claude Code, opencode and aider all end."""
    gateway.provider.script(status(code, Location="http://127.0.0.1:1/elsewhere"))
    got = await gateway.ask()
    assert got.status == 400
    assert got.headers["X-Should-Retry"] == "false"
    assert len(gateway.provider.asked) == 1
    record = gateway.record
    assert (record.outcome, record.reason, record.status) == (outcome, reason, code)


@pytest.mark.parametrize("code", [401, 403])
async def test_a_credential_that_was_not_sent_is_not_said_to_be_refused(tmp_path: Path, code: int) -> None:
    async with bench(tmp_path, secret="", secret_key="") as gateway:
        gateway.provider.script(status(code, {"error": {"message": "x-api-key header is required"}}))
        got = await gateway.ask()
        assert got.status == 400
        assert "none was sent" in got.message
        record = gateway.record
        assert (record.outcome, record.reason, record.status) == (
            ModelOutcome.AUTH,
            "CredentialMissing",
            code,
        )
        assert "none was sent" in record.message
        assert "x-api-key header is required" in record.message


@pytest.mark.parametrize("code", [400, 404, 413, 422])
async def test_what_the_agent_may_act_upon_passes_as_it_is(gateway: Bench, code: int) -> None:
    """A prompt that is too long is compacted."""
    gateway.provider.script(status(code, {"error": {"message": "prompt is too long: 2 > 1"}}))
    got = await gateway.ask()
    assert got.status == code
    assert got.message == "prompt is too long: 2 > 1"
    assert gateway.record.outcome is ModelOutcome.REFUSED
    assert "prompt is too long" in gateway.record.message


@pytest.mark.parametrize("answer", [status(429), status(500), status(502, "<html>"), status(529), cut(PING)])
async def test_what_may_pass_is_tried_twice_more_before_the_first_byte(
    gateway: Bench, answer: Answer
) -> None:
    gateway.provider.script(answer, answer, stream(*WHOLE))
    assert (await gateway.ask()).status == 200
    assert len(gateway.provider.asked) == 3
    assert gateway.slept == [0.25, 1.0]
    assert gateway.record.outcome is ModelOutcome.OK


async def test_a_short_retry_after_is_waited_for_and_then_passed_on(gateway: Bench) -> None:
    gateway.provider.script(status(429, Retry_After="2"))
    got = await gateway.ask()
    assert (got.status, got.headers["Retry-After"]) == (429, "2")
    assert gateway.slept == [2.0, 2.0]
    assert gateway.record.outcome is ModelOutcome.RATE_LIMITED


async def test_a_longer_one_is_left_to_the_agent(gateway: Bench) -> None:
    gateway.provider.script(status(429, Retry_After="20"))
    got = await gateway.ask()
    assert (got.status, got.headers["Retry-After"]) == (429, "20")
    assert len(gateway.provider.asked) == 1


async def test_a_long_one_ends_the_run(gateway: Bench) -> None:
    """Opencode would sleep through an hour without a word."""
    gateway.provider.script(status(429, Retry_After="3600"))
    got = await gateway.ask()
    assert got.status == 400
    assert "Retry-After" not in got.headers
    assert gateway.record.outcome is ModelOutcome.RATE_LIMITED


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (429, ModelOutcome.RATE_LIMITED),
        (529, ModelOutcome.RATE_LIMITED),
        (500, ModelOutcome.UNAVAILABLE),
        (503, ModelOutcome.UNAVAILABLE),
    ],
)
async def test_a_storm_ends_every_agent(gateway: Bench, code: int, outcome: ModelOutcome) -> None:
    """They would send the same request 11 to 36 times."""
    gateway.provider.script(status(code))
    answers = [await gateway.ask() for _ in range(6)]
    assert [got.status for got in answers] == [code] * 3 + [400] * 3
    assert len(gateway.provider.asked) == 3 + 3 + 3 + 3
    assert not [word for word in ACTED_UPON for got in answers[3:] if word in got.message.lower()]
    assert (gateway.record.outcome, gateway.record.status) == (outcome, code)


async def test_answers_that_break_off_again_and_again_end_the_run(gateway: Bench) -> None:
    """Aider would start over 36 times, opencode 6 times, each one paid for."""
    gateway.provider.script(cut(start()))
    answers = [await gateway.ask() for _ in range(6)]
    assert [got.status for got in answers] == [200] * 4 + [400] * 2
    assert len(gateway.provider.asked) == 4


async def test_a_success_between_failures_forgets_them(gateway: Bench) -> None:
    for _ in range(3):
        gateway.provider.script(cut(start()), cut(start()), stream(*WHOLE))
        assert [(await gateway.ask()).broken for _ in range(3)] == [True, True, False]


async def test_an_endless_loop_ends(tmp_path: Path) -> None:
    async with bench(tmp_path, requests_per_minute=5.0) as gateway:
        answers = [await gateway.ask() for _ in range(7)]
        assert [got.status for got in answers] == [200] * 5 + [400] * 2
        assert "endless loop" in answers[-1].message
        assert gateway.record.reason == "RequestRate"


async def test_a_provider_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with bench(tmp_path, upstream=endpoint) as gateway:
            got = await gateway.ask()
            assert got.status == 502
            assert gateway.slept == [0.25, 1.0]
            assert (gateway.record.outcome, gateway.record.status) == (ModelOutcome.UNAVAILABLE, 0)
            assert gateway.record.reason == "ProviderUnreachable"
            assert endpoint in gateway.record.message


async def test_an_error_is_in_the_form_of_its_api(gateway: Bench) -> None:
    gateway.provider.script(status(401))
    assert (await gateway.ask("/v1/messages")).body["type"] == "error"
    assert (await gateway.ask("/v1/chat/completions")).body["error"]["type"] == "invalid_request_error"
    assert isinstance((await gateway.ask("/api/chat")).body["error"], str)
