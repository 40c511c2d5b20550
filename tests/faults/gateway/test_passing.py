"""What passes, and how: credentials, headers, bodies, streams."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gastown_operator.gateway.bodies import MAXIMUM_BODY
from gastown_operator.gateway.message import ModelOutcome
from tests.faults.gateway.bench import KEY, MODEL, Bench, bench
from tests.faults.gateway.provider import (
    DONE,
    SSE,
    STOP,
    WHOLE,
    chat_usage,
    data,
    delta,
    finish,
    line,
    says,
    start,
    status,
    stream,
    then_waits,
    whole,
)

pytestmark = pytest.mark.anyio

NOT_PASSED = [
    ("GET", "/v1/messages"),
    ("PUT", "/v1/messages"),
    ("POST", "/v1/messages/batches"),
    ("POST", "/v1/files"),
    ("POST", "/v1/%6dessages"),
    ("POST", "//v1/messages"),
    ("POST", "/v1/messages/"),
    ("POST", "/v1/v1/v1/messages"),
    ("POST", "/v1/organizations"),
    ("GET", "/"),
    ("GET", "/metrics"),
    ("DELETE", "/v1/models"),
]


@pytest.mark.parametrize(("method", "path"), NOT_PASSED)
async def test_only_known_pairs_of_method_and_path_are_passed_on(
    gateway: Bench, method: str, path: str
) -> None:
    got = await gateway.ask(path, method)
    assert got.status == 404
    assert gateway.provider.asked == []


@pytest.mark.parametrize(
    ("asked", "passed"),
    [
        ("/v1/messages?beta=true", "/v1/messages?beta=true"),
        ("/v1/v1/messages", "/v1/messages"),
        ("/v1/messages?x=%2F..%2F&y=a+b", "/v1/messages?x=%2F..%2F&y=a+b"),
        ("/v1/messages/count_tokens", "/v1/messages/count_tokens"),
    ],
)
async def test_path_and_query_are_passed_on_as_they_are(gateway: Bench, asked: str, passed: str) -> None:
    await gateway.ask(asked)
    assert [one.path for one in gateway.provider.asked] == [passed]


@pytest.mark.parametrize("base", ["/proxy/a", "/proxy/a/", "/proxy/a/v1"])
async def test_the_path_goes_below_that_of_the_endpoint(tmp_path: Path, base: str) -> None:
    async with bench(tmp_path) as gateway:
        await gateway.ask()
        url = gateway.provider.url
    settings = gateway.parts.settings
    assert f"{settings.__class__(provider='litellm', upstream=url + base).base}" == f"{url}/proxy/a"


async def test_whether_somebody_listens_is_answered_here(gateway: Bench) -> None:
    assert (await gateway.ask("/", "HEAD")).status == 200
    assert gateway.provider.asked == []


# Credentials


async def test_the_agents_credentials_go_no_further_and_the_right_one_is_sent(gateway: Bench) -> None:
    headers = {
        "X-Api-Key": "gastown",
        "Authorization": "Bearer gastown",
        "Cookie": "a=b",
        "Api-Key": "gastown",
    }
    await gateway.ask(headers={**headers, "Anthropic-Version": "2023-06-01", "Anthropic-Beta": "a-1,b-2"})
    (asked,) = gateway.provider.asked
    assert asked.headers["X-Api-Key"] == KEY
    assert not {"Authorization", "Cookie", "Api-Key"} & set(asked.headers)
    assert "gastown" not in str(asked.headers)
    assert asked.headers["Anthropic-Version"] == "2023-06-01"
    assert asked.headers["Anthropic-Beta"] == "a-1,b-2"
    assert asked.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("api-key", "sk-ant-oat01-token\n"),
        ("access-token", "sk-ant-oat01-token"),
        (
            "credentials.json",
            json.dumps({"claudeAiOauth": {"accessToken": "sk-ant-oat01-token", "expiresAt": 1}}),
        ),
        (".credentials.json", json.dumps({"claudeAiOauth": {"accessToken": "sk-ant-oat01-token"}})),
    ],
)
async def test_access_tokens_are_found_by_content_and_sent_with_their_beta(
    gateway: Bench, name: str, text: str
) -> None:
    (gateway.folder / "credentials" / "api-key").unlink()
    gateway.put_credential(name, text)
    await gateway.ask(headers={"Anthropic-Beta": "a-1"})
    (asked,) = gateway.provider.asked
    assert asked.headers["Authorization"] == "Bearer sk-ant-oat01-token"
    assert "X-Api-Key" not in asked.headers
    assert asked.headers["Anthropic-Beta"] == "a-1,oauth-2025-04-20"


async def test_other_providers_get_a_bearer(tmp_path: Path) -> None:
    async with bench(tmp_path, provider_name="openai") as gateway:
        gateway.provider.script(stream(delta("x", "stop"), DONE))
        await gateway.ask("/v1/chat/completions")
        assert gateway.provider.asked[0].headers["Authorization"] == f"Bearer {KEY}"


async def test_without_a_secret_nothing_is_sent(tmp_path: Path) -> None:
    async with bench(tmp_path, provider_name="ollama", secret="") as gateway:
        gateway.provider.script(stream(line(done=True), kind="application/x-ndjson"))
        await gateway.ask("/api/chat", headers={"Authorization": "Bearer mine"})
        assert not {"Authorization", "X-Api-Key"} & set(gateway.provider.asked[0].headers)


async def test_a_rotated_credential_is_used_from_the_next_request_on(gateway: Bench) -> None:
    await gateway.ask()
    gateway.put_credential("api-key", "sk-ant-api03-another")
    await gateway.ask()
    assert [one.headers["X-Api-Key"] for one in gateway.provider.asked] == [KEY, "sk-ant-api03-another"]


async def test_a_credential_that_is_rotated_while_it_is_refused_is_tried(gateway: Bench) -> None:
    async def rotated(request: web.Request) -> web.StreamResponse:
        gateway.put_credential("api-key", "sk-ant-api03-another")
        return await status(401)(request)

    gateway.provider.script(rotated, stream(*WHOLE))
    assert (await gateway.ask()).status == 200
    assert gateway.provider.asked[1].headers["X-Api-Key"] == "sk-ant-api03-another"


@pytest.mark.parametrize("text", [None, "", "two words", "{}", "line\nline"])
async def test_without_a_usable_credential_the_record_names_secret_and_key(
    gateway: Bench, text: str | None
) -> None:
    if text is None:
        (gateway.folder / "credentials" / "api-key").unlink()
    else:
        gateway.put_credential("api-key", text)
    got = await gateway.ask()
    assert got.status == 400
    assert gateway.provider.asked == []
    record = gateway.record
    assert (record.outcome, record.reason) == (ModelOutcome.CONFIG, "CredentialMissing")
    assert "'api-key' of Secret 'llm'" in record.message


async def test_a_credential_that_the_provider_repeats_is_seen_nowhere(gateway: Bench) -> None:
    words = {"error": {"message": f"no such key: {KEY}; did you mean Bearer sk-other-1234567?"}}
    gateway.provider.script(status(422, words, X_Echo=KEY))
    got = await gateway.ask()
    assert got.status == 422
    assert "no such key" in got.message
    everything = [str(got), gateway.log.getvalue(), (gateway.folder / "gateway.json").read_text()]
    assert not [text for text in everything if KEY in text or "sk-other" in text]
    gateway.provider.script(stream(*WHOLE, headers={"X-Echo": KEY, "X-Other": "y", "Set-Cookie": "a=b"}))
    got = await gateway.ask()
    assert "X-Echo" not in got.headers
    assert "Set-Cookie" not in got.headers
    assert got.headers["X-Other"] == "y"


# Bodies


async def test_side_requests_are_answered_by_the_model_of_the_work(tmp_path: Path) -> None:
    async with bench(tmp_path, model=MODEL) as gateway:
        await gateway.ask()
        gateway.provider.script(status(400), stream(*WHOLE))
        got = await gateway.ask(
            json={"model": "claude-haiku-4-5", "stream": True, "unknown": {"kept": [1, 2.5]}}
        )
        assert got.status == 400
        assert gateway.record.outcome is ModelOutcome.OK
        assert gateway.provider.asked[1].body == {
            "model": MODEL,
            "stream": True,
            "unknown": {"kept": [1, 2.5]},
        }
        assert gateway.record.model == MODEL
        assert gateway.parts.ledger.side_requests == 1


async def test_two_models_in_one_request_are_one(tmp_path: Path) -> None:
    async with bench(tmp_path) as gateway:
        await gateway.ask(data=b'{"model":"dear","model":"cheap","stream":true}')
        assert gateway.provider.asked[0].content == b'{"model":"cheap","stream":true}'


async def test_usage_is_asked_for_where_the_agent_does_not(gateway: Bench) -> None:
    gateway.provider.script(stream(delta("x", "stop"), chat_usage(30, 5, 10), DONE))
    await gateway.ask("/v1/chat/completions", json={"model": "m", "stream": True, "stream_options": {"x": 1}})
    assert gateway.provider.asked[0].body["stream_options"] == {"x": 1, "include_usage": True}
    record = gateway.record
    assert (record.input_tokens, record.cache_read_tokens, record.output_tokens) == (30, 10, 5)
    assert not record.estimated


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"[]", b'{"model":', b'"x"', b"[" * 100_000, b'{"a":NaN}']
)
async def test_what_is_no_json_object_is_refused(gateway: Bench, content: bytes) -> None:
    got = await gateway.ask(data=content)
    assert got.status == 400
    assert gateway.provider.asked == []


async def test_a_body_that_is_too_large_is_refused_without_reading_it(gateway: Bench) -> None:
    got = await gateway.ask(data=io.BytesIO(b" " * (MAXIMUM_BODY + 1)))
    assert got.status == 400
    assert "32 MiB" in got.message
    assert gateway.provider.asked == []


async def test_a_body_of_unknown_length_is_bounded_too(gateway: Bench) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * (1024 * 1024)

    try:
        got = await gateway.ask(data=endless())
        assert got.status == 400
    except aiohttp.ClientError:  # it went on writing after the answer
        pass
    assert gateway.provider.asked == []


async def test_large_bodies_pass(gateway: Bench) -> None:
    text = "ä" * 2_000_000
    await gateway.ask(data=io.BytesIO(json.dumps({"model": "m", "stream": True, "text": text}).encode()))
    assert gateway.provider.asked[0].body["text"] == text


async def test_half_a_character_passes(gateway: Bench) -> None:
    await gateway.ask(data=b'{"model":"m","stream":true,"text":"\\ud800"}')
    assert gateway.provider.asked[0].body["text"] == "\ud800"


async def test_an_old_http_version_is_refused(gateway: Bench) -> None:
    """There an answer that is broken off looks like one that has ended."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rpartition(":")[2]))
    writer.write(b"POST /v1/messages HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")
    answer = await reader.read()
    writer.close()
    assert b" 400 " in answer.splitlines()[0]


# Answers


async def test_bytes_pass_as_they_come_and_unchanged(gateway: Bench) -> None:
    begun, parts = asyncio.Event(), (start(), says("a"), says("b"), finish(), STOP)
    gateway.provider.script(then_waits(*parts[:2], pause=begun, rest=parts[2:]))
    got = await gateway.ask(begun=begun)  # the rest comes only after the agent has seen the beginning
    assert got.content == b"".join(parts)
    assert not got.broken
    assert got.headers["Content-Type"] == SSE


async def test_a_whole_answer_is_measured_too(gateway: Bench) -> None:
    usage = {
        "input_tokens": 5,
        "cache_creation_input_tokens": 7,
        "cache_read_input_tokens": 11,
        "output_tokens": 13,
    }
    gateway.provider.script(whole({"type": "message", "stop_reason": "end_turn", "usage": usage}))
    got = await gateway.ask(json={"model": MODEL, "messages": []})
    assert got.body["usage"] == usage
    record = gateway.record
    assert (record.input_tokens, record.cache_write_tokens, record.output_tokens) == (23, 7, 13)
    assert record.cost_usd == "0.00023955"
    assert not record.estimated


ALL: dict[str, tuple[str, Any, tuple[int, int, int]]] = {
    "responses": (
        "/v1/responses",
        stream(
            data({"type": "response.output_text.delta", "delta": "x"}),
            data(
                {
                    "type": "response.completed",
                    "response": {
                        "status": "completed",
                        "usage": {
                            "input_tokens": 9,
                            "output_tokens": 4,
                            "input_tokens_details": {"cached_tokens": 3},
                        },
                    },
                }
            ),
        ),
        (9, 3, 4),
    ),
    "a whole response": (
        "/v1/responses",
        whole({"status": "completed", "usage": {"input_tokens": 9, "output_tokens": 4}}),
        (9, 0, 4),
    ),
    "a whole chat": (
        "/v1/chat/completions",
        whole(
            {
                "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 4},
            }
        ),
        (9, 0, 4),
    ),
    "ollama": (
        "/api/chat",
        stream(
            line(message={"content": "x"}, done=False),
            line(done=True, prompt_eval_count=9, eval_count=4),
            kind="application/x-ndjson",
        ),
        (9, 0, 4),
    ),
    "ollama, no stream": (
        "/api/generate",
        whole({"response": "x", "done": True, "prompt_eval_count": 9, "eval_count": 4}),
        (9, 0, 4),
    ),
}


@pytest.mark.parametrize(("path", "answer", "counts"), ALL.values(), ids=ALL)
async def test_every_api_is_measured(
    gateway: Bench, path: str, answer: Any, counts: tuple[int, int, int]
) -> None:
    gateway.provider.script(answer)
    got = await gateway.ask(path)
    assert (got.status, got.broken) == (200, False)
    record = gateway.record
    assert (record.input_tokens, record.cache_read_tokens, record.output_tokens) == counts
    assert record.outcome is ModelOutcome.OK


async def test_what_costs_nothing_is_not_counted(gateway: Bench) -> None:
    gateway.provider.script(whole({"input_tokens": 500}))
    assert (await gateway.ask("/v1/messages/count_tokens")).body == {"input_tokens": 500}
    assert (await gateway.ask("/v1/models", "GET")).status == 200
    gateway.provider.script(status(404))
    assert (await gateway.ask("/api/show")).status == 404
    assert gateway.parts.ledger.record().requests == 0
    assert gateway.parts.ledger.record().outcome is ModelOutcome.NONE


async def test_a_compressed_answer_is_read_all_the_same(gateway: Bench) -> None:
    async def compressed(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": SSE})
        response.enable_compression(web.ContentCoding.gzip)
        await response.prepare(request)
        for part in WHOLE:
            await response.write(part)
        return response

    gateway.provider.script(compressed)
    got = await gateway.ask()
    assert got.content == b"".join(WHOLE)
    assert gateway.record.output_tokens == 20


async def test_metrics_and_health_are_served_beside(gateway: Bench) -> None:
    await gateway.ask()
    async with gateway.client.get(f"{gateway.metrics_url}/metrics") as response:
        page = await response.text()
    for sample in (
        'gastown_gateway_requests_total{status="200"} 1.0',
        'gastown_gateway_tokens_total{kind="output"} 20.0',
        "gastown_gateway_cost_usd_total 0.0006",
        "gastown_gateway_first_byte_seconds_count 1.0",
    ):
        assert sample in page
    async with gateway.client.get(f"{gateway.metrics_url}/healthz") as response:
        assert response.status == 200
    async with gateway.client.post(f"{gateway.metrics_url}/v1/messages") as response:
        assert response.status == 404
