"""The scripted model server: what it decides, and what it says on the wire."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hack.model_server.messages import events, message
from hack.model_server.script import SCRIPTS, Script, ScriptError, ToolCall, Turn, load_script, parse_script
from hack.model_server.server import ModelServer

TOOLS = [{"name": "Bash"}]
SCRIPT = parse_script(
    {
        "turns": [
            {"say": "Where?", "tool": {"name": "Bash", "input": {"command": "pwd"}}},
            {
                "say": "Read.",
                "tool": {"name": "Read", "input": {"file_path": "$result1/a b.py", "list": ["$$x"]}},
            },
            {"say": "Done."},
        ]
    }
)


def conversation(*results: object) -> dict[str, Any]:
    """Return a request in whose conversation that many tools have answered."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Repair it"}]
    for number, result in enumerate(results):
        call = {"type": "tool_use", "id": f"t{number}", "name": "Bash", "input": {}}
        answer = {"type": "tool_result", "tool_use_id": f"t{number}", "content": result}
        messages += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [answer]}]
    return {"model": "m", "max_tokens": 9, "stream": True, "tools": TOOLS, "messages": messages}


def parsed(stream: bytes) -> list[dict[str, Any]]:
    """Return the data of server-sent events, checking that each names its type twice."""
    result = []
    for event in stream.decode().strip().split("\n\n"):
        name, data = event.split("\n")
        fields = json.loads(data.removeprefix("data: "))
        assert name == f"event: {fields['type']}"
        result.append(fields)
    return result


@contextmanager
def connected(script: Script, key: str | None = None) -> Iterator[http.client.HTTPConnection]:
    with ModelServer(script, key=key) as server:
        connection = http.client.HTTPConnection(server.address, server.port, timeout=10)
        yield connection
        connection.close()


def post(
    connection: http.client.HTTPConnection, path: str, body: object, **headers: str
) -> tuple[int, bytes]:
    connection.request("POST", path, json.dumps(body), headers)
    response = connection.getresponse()
    return response.status, response.read()


def test_the_turn_follows_from_the_number_of_tool_results() -> None:
    says = [SCRIPT.answer(conversation(*["x"] * count)).say for count in range(5)]
    assert says == ["Where?", "Read.", "Done.", "Done.", "Done."]


@pytest.mark.parametrize(
    "result",
    [
        "/work\n",
        [{"type": "text", "text": "/work"}],
        "/work<system-reminder>\nbe careful\n</system-reminder>",
    ],
)
def test_earlier_results_fill_later_inputs(result: object) -> None:
    turn = SCRIPT.answer(conversation(result))
    assert turn.tool == ToolCall("Read", {"file_path": "/work/a b.py", "list": ["$x"]})


def test_a_request_without_tools_gets_a_short_text() -> None:
    turn = SCRIPT.answer({"messages": [{"role": "user", "content": "a title, please"}]})
    assert turn.tool is None
    assert len(turn.say) < 40


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({}, "needs turns"),
        ({"turns": [{"tool": {"name": "Bash", "input": {}}}]}, "would never end"),
        ({"turns": [{"sya": "x"}]}, "turn 1: unknown fields sya"),
        ({"turns": [{"cut": True, "error": {}}]}, "only one of"),
        ({"turns": [{"tool": {"name": "Bash", "input": {"command": "$result1"}}}, {}]}, "turn 1: 'result1'"),
        (
            {"turns": [{"tool": {"name": "Bash", "input": {"command": "$("}}}, {}]},
            "turn 1: Invalid placeholder",
        ),
    ],
)
def test_a_script_that_cannot_be_followed_is_refused(data: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ScriptError, match=complaint.replace("(", r"\(")):
        parse_script(data)


@pytest.mark.parametrize("name", sorted(path.stem for path in SCRIPTS.glob("*.json")))
def test_every_shipped_script_can_be_followed(name: str) -> None:
    assert load_script(name).turns


def test_an_unknown_script_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ScriptError, match="demo"):
        load_script("nothing")


def test_the_demo_edits_a_line_that_the_sample_project_has() -> None:
    edit = next(turn.tool for turn in load_script("demo").turns if turn.tool and turn.tool.name == "Edit")
    file = edit.input["file_path"].removeprefix("$result1/")
    text = (SCRIPTS.parents[1] / "sample_project" / file).read_text()
    assert text.count(edit.input["old_string"]) == 1


def test_a_stream_carries_exactly_the_message() -> None:
    request = conversation("/work")
    answer = message(request, SCRIPT.answer(request))
    stream = parsed(b"".join(events(answer)))
    texts: dict[int, str] = {}
    for event in stream:
        if event["type"] == "content_block_delta":
            delta = event["delta"]
            texts[event["index"]] = texts.get(event["index"], "") + (
                delta.get("text") or delta["partial_json"]
            )
    assert texts[0] == "Read."
    assert json.loads(texts[1]) == {"file_path": "/work/a b.py", "list": ["$x"]}
    assert [event["type"] for event in stream][0 :: len(stream) - 1] == ["message_start", "message_stop"]
    assert stream[0]["message"]["content"] == []
    assert stream[-2]["delta"]["stop_reason"] == "tool_use"
    assert stream[-2]["usage"]["output_tokens"] == answer["usage"]["output_tokens"] > 1


def test_the_last_turn_ends_the_agents_work() -> None:
    request = conversation("a", "b")
    assert message(request, SCRIPT.answer(request))["stop_reason"] == "end_turn"


def test_equal_conversations_get_equal_answers_and_others_other_identities() -> None:
    first, again, later = (message(conversation(*rest), Turn("x")) for rest in ((), (), ("a",)))
    assert first == again
    assert first["id"] != later["id"]


def test_a_connection_serves_head_stream_whole_message_and_count() -> None:
    with connected(SCRIPT) as connection:
        connection.request("HEAD", "/")
        head = connection.getresponse()
        head.read()
        streamed, stream = post(connection, "/v1/messages?beta=true", conversation())
        whole, body = post(connection, "/r/run-1/v1/messages", {**conversation(), "stream": False})
        counted, count = post(connection, "/v1/messages/count_tokens", conversation())
    assert (head.status, streamed, whole, counted) == (200, 200, 200, 200)
    assert parsed(stream)[-1]["type"] == "message_stop"
    assert json.loads(body)["content"][1]["input"] == {"command": "pwd"}
    assert json.loads(count)["input_tokens"] > 10


def test_starting_asks_no_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the lab's network none answers, and the question takes ten seconds."""
    monkeypatch.setattr(socket, "getfqdn", lambda *_: pytest.fail("asked for a name"))
    with ModelServer(SCRIPT):
        pass


def test_unknown_routes_and_broken_bodies_are_errors_of_the_api() -> None:
    with connected(SCRIPT) as connection:
        status, body = post(connection, "/v1/complete", {})
        connection.request("POST", "/v1/messages", "{")
        broken = connection.getresponse()
        complaint = json.loads(broken.read())
    assert (status, json.loads(body)["error"]["type"]) == (404, "not_found_error")
    assert (broken.status, complaint["error"]["type"]) == (400, "invalid_request_error")


def test_a_wrong_key_is_refused_and_both_headers_carry_the_right_one() -> None:
    with connected(SCRIPT, key="k1") as connection:
        statuses = [
            post(connection, "/v1/messages", conversation(), **headers)[0]
            for headers in ({}, {"x-api-key": "k2"}, {"x-api-key": "k1"}, {"Authorization": "Bearer k1"})
        ]
    assert statuses == [401, 401, 200, 200]


def test_a_scripted_error_has_its_status_body_and_headers() -> None:
    error = {"status": 429, "type": "rate_limit_error", "message": "slow", "headers": {"retry-after": "2"}}
    with connected(parse_script({"turns": [{"error": error}]})) as connection:
        connection.request("POST", "/v1/messages", json.dumps(conversation()))
        response = connection.getresponse()
        body = json.loads(response.read())
    assert (response.status, response.headers["retry-after"]) == (429, "2")
    assert body == {"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}


def test_a_cut_answer_breaks_off_before_its_end() -> None:
    with connected(load_script("cut")) as connection:
        connection.request("POST", "/v1/messages", json.dumps(conversation()))
        with pytest.raises(http.client.IncompleteRead) as broken:
            connection.getresponse().read()
    assert b"content_block_delta" in broken.value.partial
    assert b"message_stop" not in broken.value.partial
