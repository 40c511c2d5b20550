"""The APIs that the scripted model server speaks, byte by byte."""

import http.client
import json
from collections.abc import Sequence
from typing import Any

import pytest

from hack.model_server.chat import Chat
from hack.model_server.conversation import Answer, Conversation, Dialect, HttpError, ToolCall, Usage
from hack.model_server.messages import Messages
from hack.model_server.ollama import Ollama
from hack.model_server.responses import Responses
from hack.model_server.script import load_script
from hack.model_server.server import ModelServer

INPUT = {"command": "echo 'a long command that does not fit in one part of a stream' # ü"}
ANSWER = Answer(
    model="m",
    identity="0123",
    texts=("A text that is longer than forty characters. ", "And one after a pause."),
    tool=ToolCall("bash", INPUT),
    usage=Usage(input=100, output=20, cache_read=7, cache_write=3),
)
TEXT = "A text that is longer than forty characters. And one after a pause."
DIALECTS: Sequence[Dialect] = [Messages(), Chat(), Responses(), Ollama()]
NAMES = ["messages", "chat", "responses", "ollama"]


def parts(dialect: Dialect, answer: Answer = ANSWER) -> list[bytes]:
    return [*dialect.body(answer), *dialect.ending(answer)]


def events(stream: Sequence[bytes]) -> list[dict[str, Any]]:
    """Return the data of server-sent events, checking that each names its type twice."""
    result = []
    for event in filter(None, stream):
        name, data = event.decode().strip().split("\n")
        fields = json.loads(data.removeprefix("data: "))
        assert name == f"event: {fields['type']}"
        result.append(fields)
    return result


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
def test_a_stream_pauses_between_texts_and_holds_nothing_after_its_ending(dialect: Dialect) -> None:
    stream = parts(dialect)
    assert stream.count(b"") == 1
    assert all(part.endswith(b"\n") for part in stream if part)
    assert list(dialect.body(ANSWER)) == list(dialect.body(ANSWER))


def test_messages_streams_exactly_the_message() -> None:
    stream = events(parts(Messages()))
    texts: dict[int, str] = {}
    for event in stream:
        if event["type"] == "content_block_delta":
            delta = event["delta"]
            texts[event["index"]] = texts.get(event["index"], "") + (
                delta.get("text") or delta["partial_json"]
            )
    assert (texts[0], json.loads(texts[1])) == (TEXT, INPUT)
    assert [event["type"] for event in stream][0 :: len(stream) - 1] == ["message_start", "message_stop"]
    assert stream[0]["message"]["content"] == []
    assert stream[0]["message"]["usage"] == {
        "input_tokens": 100,
        "cache_creation_input_tokens": 3,
        "cache_read_input_tokens": 7,
        "output_tokens": 1,
    }
    assert stream[-2]["delta"]["stop_reason"] == "tool_use"
    assert stream[-2]["usage"]["output_tokens"] == 20


def test_chat_streams_exactly_the_message() -> None:
    stream = [part for part in parts(Chat()) if part]
    assert stream[-1] == b"data: [DONE]\n\n"
    chunks = [json.loads(part.removeprefix(b"data: ")) for part in stream[:-1]]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert "".join(delta.get("content", "") for delta in deltas) == TEXT
    assert (calls[0]["id"], calls[0]["function"]["name"]) == ("call_0123", "bash")
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == INPUT
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert reasons == [None] * (len(reasons) - 1) + ["tool_calls"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {
        "prompt_tokens": 110,
        "completion_tokens": 20,
        "total_tokens": 130,
        "prompt_tokens_details": {"cached_tokens": 7},
    }


def test_chat_sends_usage_only_where_it_was_asked_for() -> None:
    asked = Chat().read({"messages": [], "stream": True, "stream_options": {"include_usage": True}})
    silent = Chat().read({"messages": [], "stream": True})
    assert (asked.usage_wanted, silent.usage_wanted) == (True, False)
    answer = Answer("m", "0", ("x",), None, Usage(1, 1), usage_wanted=False)
    assert b"usage" not in b"".join(parts(Chat(), answer))
    assert Chat().whole(answer)["usage"]["prompt_tokens"] == 1


def test_responses_streams_exactly_the_response() -> None:
    stream = events(parts(Responses()))
    assert [event["sequence_number"] for event in stream] == list(range(len(stream)))
    deltas: dict[str, str] = {}
    for event in stream:
        if event["type"].endswith(".delta"):
            deltas[event["type"]] = deltas.get(event["type"], "") + event["delta"]
    assert deltas["response.output_text.delta"] == TEXT
    assert json.loads(deltas["response.function_call_arguments.delta"]) == INPUT
    assert [stream[0]["type"], stream[-1]["type"]] == ["response.created", "response.completed"]
    response = stream[-1]["response"]
    assert response["status"] == "completed"
    assert [item["type"] for item in response["output"]] == ["message", "function_call"]
    assert response["usage"]["input_tokens"] == 110
    assert response["usage"]["input_tokens_details"] == {"cached_tokens": 7}
    assert stream[0]["response"]["usage"] is None


def test_ollama_streams_lines_of_which_only_the_last_is_done() -> None:
    lines = [json.loads(part) for part in parts(Ollama()) if part]
    assert "".join(line["message"]["content"] for line in lines) == TEXT
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-2]["message"]["tool_calls"] == [{"function": {"name": "bash", "arguments": INPUT}}]
    assert (lines[-1]["prompt_eval_count"], lines[-1]["eval_count"]) == (110, 20)


REQUESTS: dict[str, dict[str, Any]] = {
    "messages": {
        "system": [{"type": "text", "text": "Be brief."}],
        "tools": [{"name": "bash"}],
        "messages": [
            {"role": "user", "content": "Do it"},
            {"role": "assistant", "content": [{"type": "text", "text": "Yes."}, {"type": "tool_use"}]},
            {"role": "user", "content": [{"type": "tool_result", "content": [{"text": "done"}]}]},
        ],
    },
    "chat": {
        "tools": [{"type": "function", "function": {"name": "bash"}}],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Do it"}]},
            {"role": "assistant", "content": "Yes.", "tool_calls": []},
            {"role": "tool", "content": "done"},
        ],
    },
    "responses": {
        "instructions": "Be brief.",
        "tools": [{"type": "function", "name": "bash"}],
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Do it"}]},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]},
            {"type": "function_call_output", "output": "done"},
        ],
    },
    "ollama": {
        "tools": [{"type": "function", "function": {"name": "bash"}}],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Do it"},
            {"role": "assistant", "content": "Yes."},
            {"role": "tool", "content": "done"},
        ],
    },
}


@pytest.mark.parametrize(("dialect", "name"), list(zip(DIALECTS, NAMES, strict=True)), ids=NAMES)
def test_a_request_says_the_same_in_every_dialect(dialect: Dialect, name: str) -> None:
    read = dialect.read({"model": "m", "stream": True, **REQUESTS[name]})
    assert (read.model, read.streamed) == ("m", True)
    assert (list(read.tools), list(read.results)) == (["bash"], ["done"])
    assert [text.strip() for text in read.said] == ["Yes."]
    assert all(text in read.everything for text in ("Be brief.", "Do it", "Yes.", "done"))


def test_equal_conversations_have_equal_identities_and_others_other_ones() -> None:
    def identity(text: str) -> str:
        return Conversation("m", [], [], [], text, streamed=True).identity

    assert identity("a") == identity("a") != identity("b")


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (Messages(), {"type": "error", "error": {"type": "t", "message": "no"}}),
        (Chat(), {"error": {"message": "no", "type": "t", "param": None, "code": None}}),
        (Responses(), {"error": {"message": "no", "type": "t", "param": None, "code": None}}),
        (Ollama(), {"error": "no"}),
    ],
    ids=NAMES,
)
def test_an_error_has_the_form_of_the_api(dialect: Dialect, body: object) -> None:
    assert dialect.error(HttpError(429, "t", "no", {})) == body


PATHS = {
    "messages": "/v1/messages?beta=true",
    "chat": "/r/run-1/v1/chat/completions",
    "responses": "/v1/responses",
    "ollama": "/api/chat",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_every_api_is_served(name: str, stream: bool) -> None:
    request = {"model": "success", **REQUESTS[name], "stream": stream}
    with ModelServer(load_script("demo")) as server:
        connection = http.client.HTTPConnection(server.address, server.port, timeout=10)
        connection.request("POST", PATHS[name], json.dumps(request))
        response = connection.getresponse()
        body = response.read()
        connection.close()
    assert response.status == 200
    assert b"The file is written." in body
    kind = response.headers["Content-Type"]
    assert kind == (
        {"ollama": "application/x-ndjson"}.get(name, "text/event-stream") if stream else "application/json"
    )


def test_head_counts_and_shows_are_answered() -> None:
    with ModelServer(load_script("demo")) as server:
        connection = http.client.HTTPConnection(server.address, server.port, timeout=10)
        connection.request("HEAD", "/")
        head = connection.getresponse()
        head.read()
        connection.request("POST", "/v1/messages/count_tokens", json.dumps(REQUESTS["messages"]))
        count = json.loads(connection.getresponse().read())
        connection.request("POST", "/api/show", json.dumps({"model": "m"}))
        shown = json.loads(connection.getresponse().read())
        connection.close()
    assert head.status == 200
    assert count["input_tokens"] > 10
    assert shown["model_info"]["scripted.context_length"] == 131_072
