"""The scripted model server: what it decides, and how its answers go right and wrong."""

import http.client
import json
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hack.model_server.conversation import Conversation, ToolCall
from hack.model_server.messages import Messages
from hack.model_server.script import SCRIPTS, Script, ScriptError, load_script, parse_script
from hack.model_server.server import ModelServer
from hack.model_server.steps import ASKS_FOR_EDITS, HALF_AN_EDIT, Reply, reply
from tests.support.waiting import eventually

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


def conversation(*results: object, model: str = "m") -> dict[str, Any]:
    """Return a request of the Messages API in whose conversation that many tools have answered."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Repair it"}]
    for number, result in enumerate(results):
        call = {"type": "tool_use", "id": f"t{number}", "name": "Bash", "input": {}}
        answer = {"type": "tool_result", "tool_use_id": f"t{number}", "content": result}
        messages += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [answer]}]
    tools = [{"name": "Bash"}, {"name": "Write"}]
    return {"model": model, "max_tokens": 9, "stream": True, "tools": tools, "messages": messages}


def answered(script: Script, request: dict[str, Any]) -> Reply:
    return reply(script, Messages().read(request))


def talk(*tools: str, everything: str = "", said: tuple[str, ...] = ()) -> Conversation:
    return Conversation("m", tools, [], said, everything, streamed=True)


@contextmanager
def connected(
    script: Script = SCRIPT, key: str | None = None
) -> Iterator[tuple[ModelServer, http.client.HTTPConnection]]:
    with ModelServer(script, key=key) as server:
        connection = http.client.HTTPConnection(server.address, server.port, timeout=10)
        yield server, connection
        connection.close()


def post(
    connection: http.client.HTTPConnection, path: str, body: object, **headers: str
) -> tuple[int, bytes]:
    connection.request("POST", path, json.dumps(body), headers)
    response = connection.getresponse()
    return response.status, response.read()


def test_the_turn_follows_from_the_number_of_tool_results() -> None:
    says = [answered(SCRIPT, conversation(*["x"] * count)).answer.text for count in range(5)]
    assert says == ["Where?", "Read.", "Done.", "Done.", "Done."]


def test_a_repeated_turn_comes_that_often() -> None:
    script = parse_script({"turns": [{"say": "a", "run": "true", "repeat": 3}, {"say": "b"}]})
    says = [answered(script, conversation(*["x"] * count)).answer.text for count in range(5)]
    assert says == ["a", "a", "a", "b", "b"]


@pytest.mark.parametrize(
    "result",
    [
        "/work\n",
        [{"type": "text", "text": "/work"}],
        "/work<system-reminder>\nbe careful\n</system-reminder>",
    ],
)
def test_earlier_results_fill_later_inputs(result: object) -> None:
    tool = answered(SCRIPT, conversation(result)).answer.tool
    assert tool == ToolCall("Read", {"file_path": "/work/a b.py", "list": ["$x"]})


def test_a_request_without_tools_gets_a_short_text() -> None:
    answer = answered(SCRIPT, {"messages": [{"role": "user", "content": "a title, please"}]}).answer
    assert answer.tool is None
    assert len(answer.text) < 40


WRITES = parse_script({"turns": [{"say": "s", "write": {"path": "a.txt", "text": "x\n"}}, {"say": "end"}]})
WHERE = "Working directory: /work/repo\n"


@pytest.mark.parametrize(
    ("request_", "tool"),
    [
        (talk("Bash", "Write", everything=WHERE), ("Write", "file_path", "/work/repo/a.txt")),
        (talk("bash", "write", everything=WHERE), ("write", "filePath", "/work/repo/a.txt")),
        (talk("bash", "write"), ("bash", "command", "cat >a.txt <<'END'\nx\nEND")),
    ],
    ids=["Claude Code", "opencode", "a directory that is not known"],
)
def test_a_file_is_written_with_what_the_agent_offers(
    request_: Conversation, tool: tuple[str, str, str]
) -> None:
    call = reply(WRITES, request_).answer.tool
    assert call is not None
    assert (call.name, call.input[tool[1]]) == (tool[0], tool[2])


def test_an_agent_that_asks_for_edits_gets_one_and_is_asked_no_more() -> None:
    text = reply(WRITES, talk(everything=ASKS_FOR_EDITS)).answer.text
    assert text == "s\n\na.txt\n```\n<<<<<<< SEARCH\n=======\nx\n>>>>>>> REPLACE\n```\n\n"


def test_an_agent_that_asks_for_edits_goes_on_through_edits_that_fail() -> None:
    said: list[str] = []
    for _ in range(4):
        answer = reply(load_script("slow"), talk(everything=ASKS_FOR_EDITS, said=tuple(said))).answer
        said.append(answer.text)
    assert "this line is not there" in said[0]
    assert said[1].endswith(HALF_AN_EDIT)
    assert said[1].count("I'll go on.") == 120
    assert "outcome.txt\n" in said[2]
    assert said[3].strip() == "The work is done."


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({}, "needs turns"),
        ({"turns": [{"tool": {"name": "Bash", "input": {}}}]}, "would never end"),
        ({"turns": [{"run": "true"}]}, "would never end"),
        ({"turns": [{"sya": "x"}]}, "turn 1: unknown fields sya"),
        ({"turns": [{"cut": True, "error": {}}]}, "only one of"),
        ({"turns": [{"run": "x", "write": {}}]}, "only one of"),
        ({"turns": [{"stall": "soon"}]}, "turn 1: a stall is"),
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


@pytest.mark.parametrize("name", ["nothing", "../script", "nothing.json"])
def test_an_unknown_script_is_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(ScriptError, match="demo"):
        load_script(name)


def test_the_demo_edits_a_line_that_the_sample_project_has() -> None:
    edit = next(turn.tool for turn in load_script("demo").turns if turn.tool and turn.tool.name == "Edit")
    file = edit.input["file_path"].removeprefix("$result1/")
    text = (SCRIPTS.parents[1] / "sample_project" / file).read_text()
    assert text.count(edit.input["old_string"]) == 1


def test_starting_asks_no_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the lab's network none answers, and the question takes ten seconds."""
    monkeypatch.setattr(socket, "getfqdn", lambda *_: pytest.fail("asked for a name"))
    with ModelServer(SCRIPT):
        pass


def test_the_model_chooses_the_script_and_its_requests_are_counted() -> None:
    with connected() as (server, connection):
        refused, _ = post(connection, "/v1/messages", conversation(model="exit-1"))
        _, written = post(connection, "/v1/messages", conversation(model="success"))
        _, default = post(connection, "/v1/messages", conversation(model="claude-opus-4-8"))
        post(connection, "/v1/messages", conversation(model="success"))
        connection.request("GET", "/requests")
        told = json.loads(connection.getresponse().read())
        counted = {model: server.requests(model) for model in ("exit-1", "success", "claude-opus-4-8", "x")}
    assert refused == 400
    assert b"outcome.txt" in written
    assert b"Where?" in default
    assert counted == {**told, "x": 0} == {"exit-1": 1, "success": 2, "claude-opus-4-8": 1, "x": 0}


def test_unknown_routes_and_broken_bodies_are_errors_of_the_api() -> None:
    with connected() as (_, connection):
        status, body = post(connection, "/v1/complete", {})
        connection.request("POST", "/v1/messages", "{")
        broken = connection.getresponse()
        complaint = json.loads(broken.read())
    assert (status, json.loads(body)["error"]["type"]) == (404, "not_found_error")
    assert (broken.status, complaint["error"]["type"]) == (400, "invalid_request_error")


def test_an_agent_without_a_shell_is_told_what_it_lacks() -> None:
    request = {**conversation(model="no-changes"), "tools": [{"name": "Grep"}]}
    with connected() as (_, connection):
        status, body = post(connection, "/v1/messages", request)
    assert status == 400
    assert b"offers no shell" in body


def test_a_wrong_key_is_refused_and_both_headers_carry_the_right_one() -> None:
    with connected(key="k1") as (_, connection):
        statuses = [
            post(connection, "/v1/messages", conversation(), **headers)[0]
            for headers in ({}, {"x-api-key": "k2"}, {"x-api-key": "k1"}, {"Authorization": "Bearer k1"})
        ]
    assert statuses == [401, 401, 200, 200]


def test_an_error_has_its_status_body_and_headers() -> None:
    with connected() as (_, connection):
        connection.request("POST", "/v1/messages", json.dumps(conversation(model="storm")))
        response = connection.getresponse()
        body = json.loads(response.read())
        page = post(connection, "/v1/messages", conversation(model="html"))
    assert (response.status, response.headers["retry-after"]) == (429, "1")
    assert body == {"type": "error", "error": {"type": "rate_limit_error", "message": "too many requests"}}
    assert page == (502, b"<html><body><h1>502 Bad Gateway</h1></body></html>\n")


def test_an_error_that_passes_is_given_to_the_first_requests() -> None:
    with connected() as (_, connection):
        statuses = [post(connection, "/v1/messages", conversation(model="recovers"))[0] for _ in range(4)]
    assert statuses == [529, 529, 200, 200]


def test_what_passes_passes_in_each_conversation_by_itself() -> None:
    with connected() as (_, connection):
        for text in ("one agent", "another"):
            asked = conversation(model="limited") | {"system": text}
            statuses = [post(connection, "/v1/messages", asked)[0] for _ in range(3)]
            assert statuses == [429, 429, 200]


def test_a_cut_answer_breaks_off_before_its_end() -> None:
    with connected() as (_, connection):
        connection.request("POST", "/v1/messages", json.dumps(conversation(model="cut")))
        with pytest.raises(http.client.IncompleteRead) as broken:
            connection.getresponse().read()
    assert b"content_block_delta" in broken.value.partial
    assert b"message_stop" not in broken.value.partial


def test_an_unfinished_answer_ends_properly_without_its_end() -> None:
    with connected() as (_, connection):
        status, stream = post(connection, "/v1/messages", conversation(model="unfinished"))
    assert status == 200
    assert b"content_block_stop" in stream
    assert b"message_delta" not in stream


def test_a_stall_lasts_until_the_client_leaves() -> None:
    with connected() as (server, connection):
        for model in ("stall", "stall-middle"):
            connection.request("POST", "/v1/messages", json.dumps(conversation(model=model)))
            assert connection.sock is not None
            connection.sock.settimeout(0.1)
            with pytest.raises(TimeoutError):
                connection.getresponse().read()
            connection.close()
        eventually(
            lambda: (server.requests("stall"), server.requests("stall-middle")) == (1, 1), "one request each"
        )


def test_an_answer_is_held_until_it_is_released() -> None:
    with connected() as (server, connection):
        server.hold("m")
        connection.request("POST", "/v1/messages", json.dumps(conversation()))
        eventually(lambda: server.requests("m") == 1, "the request")
        assert connection.sock is not None
        assert select.select([connection.sock], [], [], 0.3)[0] == []
        server.release("m")
        assert connection.getresponse().status == 200


def test_a_stall_ends_with_the_server() -> None:
    server = ModelServer(SCRIPT)
    server.start()
    connection = http.client.HTTPConnection(server.address, server.port, timeout=10)
    connection.request("POST", "/v1/messages", json.dumps(conversation(model="stall-middle")))
    response = connection.getresponse()
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    stopping.join(10)
    connection.close()
    assert not stopping.is_alive()


def test_a_pause_comes_before_the_answer_and_before_each_of_its_texts() -> None:
    turn = {"say": "on", "run": "true", "pause": 0.05, "repeat": 4}
    script = parse_script({"turns": [turn, {"say": "x", "run": "true"}, {"say": "y"}]})
    edits = {**conversation(), "tools": [], "system": ASKS_FOR_EDITS}
    with connected(script) as (_, connection):
        started = time.monotonic()
        post(connection, "/v1/messages", conversation())
        once = time.monotonic() - started
        post(connection, "/v1/messages", edits)
        each = time.monotonic() - started - once
    assert once >= 0.05
    assert each >= 0.2
