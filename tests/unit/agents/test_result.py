"""What is read from an agent's last words, and that nothing in them does harm."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gastown_operator.agents.result import MAXIMUM_TAIL, AgentResult, read_result

NOTHING = AgentResult()
DONE = AgentResult(finished=True)


def lines(*events: Any) -> bytes:
    return b"".join(
        event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n" for event in events
    )


INIT = {"type": "system", "subtype": "init"}
SAYS = {"type": "assistant", "message": {}}
RESULT = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "result": "Done.",
    "permission_denials": [],
}
STEP = {"type": "step_start"}
STOP = {"type": "step_finish", "part": {"reason": "stop"}}
CALLS = {"type": "step_finish", "part": {"reason": "tool-calls"}}
REFUSED = {"type": "error", "error": {"name": "APIError", "data": {"message": "no\tmore", "statusCode": 401}}}


@pytest.mark.parametrize(
    ("agent", "transcript", "expected"),
    [
        ("claude-code", b"", NOTHING),
        ("claude-code", b"plain text\n", NOTHING),
        ("claude-code", lines(INIT, SAYS, RESULT), DONE),
        ("claude-code", lines(RESULT, b"a line of stderr\n"), DONE),
        ("claude-code", b'half of a line", "x": 1}\n' + lines(RESULT), DONE),
        ("claude-code", lines(INIT, SAYS), AgentResult(finished=False, reason="NoResult")),
        (
            "claude-code",
            lines({**RESULT, "is_error": True, "api_error_status": 401, "result": "Invalid API key\x1b[2J"}),
            AgentResult(finished=False, failed=True, reason="ModelError", message="Invalid API key [2J"),
        ),
        (
            "claude-code",
            lines({"type": "result", "subtype": "error_max_turns", "is_error": True}),
            AgentResult(finished=False, failed=True, reason="TurnLimit", message="error_max_turns"),
        ),
        (
            "claude-code",
            lines({**RESULT, "permission_denials": [{"tool_name": "Edit"}, {"tool_name": "Bash"}, 7]}),
            AgentResult(finished=True, reason="PermissionDenied", message="Bash, Edit"),
        ),
        (
            "claude-code",
            lines({"type": "result"}),
            AgentResult(finished=False, failed=True, reason="AgentFailed"),
        ),
        ("opencode", b"", NOTHING),
        ("opencode", lines(STEP, CALLS, STEP, STOP), DONE),
        (
            "opencode",
            lines(STEP, CALLS),
            AgentResult(finished=False, reason="Unfinished", message="last step: tool-calls"),
        ),
        ("opencode", lines(STEP, CALLS, STEP), AgentResult(finished=False, reason="Unfinished")),
        (
            "opencode",
            lines(STEP, CALLS, REFUSED),
            AgentResult(finished=False, failed=True, reason="ModelError", message="no more"),
        ),
        (
            "opencode",
            lines({"type": "error", "error": {"name": "UnknownError"}}),
            AgentResult(finished=False, failed=True, reason="AgentFailed", message="UnknownError"),
        ),
        (
            "opencode",
            lines(STEP, b"! permission requested: edit; auto-rejecting\n", CALLS),
            AgentResult(finished=False, failed=True, reason="PermissionDenied"),
        ),
        ("aider", b"", NOTHING),
        ("aider", b"Aider v0.86.2\n", NOTHING),
        ("aider", b"Tokens: 2.5k sent, 31 received.\nApplied edit to a.py\n", DONE),
        ("aider", b"Tokens: 2.5k sent, 31 received.\n", DONE),
        (
            "aider",
            b"litellm.AuthenticationError: no such key\n",
            AgentResult(
                finished=False,
                failed=True,
                reason="ModelError",
                message="litellm.AuthenticationError: no such key",
            ),
        ),
        (
            "aider",
            b"litellm.RateLimitError: slow\nRetrying in 0.2 seconds...\nTokens: 1 sent\nApplied edit to a\n",
            DONE,
        ),
        (
            "aider",
            b"Applied edit to a\nOnly 3 reflections allowed, stopping.\n",
            AgentResult(
                finished=False,
                failed=True,
                reason="EditFormat",
                message="Only 3 reflections allowed, stopping.",
            ),
        ),
        ("aider", b"it says litellm.AuthenticationError somewhere\nTokens: 1\nTokens: 2 sent\n", DONE),
        (
            "aider",
            b"Retrying in 2.0 seconds...\nI'll begin with" + b" " * 40 + b"litellm.BadRequestError: ended\n",
            AgentResult(
                finished=False, failed=True, reason="ModelError", message="litellm.BadRequestError: ended"
            ),
        ),
        ("custom", lines(RESULT), NOTHING),
        ("another", lines(RESULT), NOTHING),
    ],
)
def test_the_last_words_tell_how_it_ended(agent: str, transcript: bytes, expected: AgentResult) -> None:
    assert read_result(agent, transcript) == expected


AGENTS = st.sampled_from(["claude-code", "opencode", "aider", "custom", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "subtype",
                    "part",
                    "reason",
                    "error",
                    "data",
                    "name",
                    "message",
                    "is_error",
                    "result",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
EVENTS = st.builds(
    lambda kind, rest: {
        **(rest if isinstance(rest, dict) else {"result": rest, "errors": rest}),
        "type": kind,
    },
    st.sampled_from(["result", "error", "step_finish", "system", "text"]),
    VALUES,
)
WORDS = st.sampled_from(
    [
        b"litellm.XError",
        b"Applied edit to ",
        b"Retrying in 1 seconds",
        b"auto-rejecting",
        b"{",
        b"\n",
        b"\xff",
    ]
)


@settings(deadline=None)
@given(
    AGENTS,
    st.lists(EVENTS.map(lambda event: json.dumps(event).encode() + b"\n") | WORDS | st.binary(max_size=40)),
)
def test_no_transcript_does_harm(agent: str, pieces: list[bytes]) -> None:
    result = read_result(agent, b"".join(pieces))
    assert result.finished in {None, True, False}
    assert not (result.finished and result.failed)
    assert len(result.message) <= 300
    assert result.message.isprintable()
    assert result.reason.isalnum() or not result.reason


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"type":"result","n":' + b"9" * 100_000 + b"}",
        b'{"type":"result"}' * 60_000,
        b"{}}\n" * 250_000,
        b'{"type":"x"}\n' * 80_000,
        b"litellm." * 120_000,
        b"\x00\xff" * 500_000,
    ],
    ids=["arrays", "objects", "a number", "no line", "no JSON", "many events", "words", "no text"],
)
@pytest.mark.parametrize("agent", ["claude-code", "opencode", "aider"])
def test_the_longest_transcript_takes_no_time(agent: str, line: bytes) -> None:
    started = time.process_time()
    read_result(agent, line)
    assert time.process_time() - started < 3


def test_only_the_end_of_a_transcript_counts() -> None:
    assert read_result("claude-code", lines(RESULT) + b"x" * MAXIMUM_TAIL) == NOTHING
