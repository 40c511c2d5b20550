"""Reading answers: the usage is the same however the bytes are cut, and nothing that a server says breaks the reader."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gastown_operator.gateway.dialects import anthropic, ollama, openai_chat, openai_responses
from gastown_operator.gateway.dialects.answer import Dialect, Reader
from gastown_operator.gateway.framing import JsonLines, Lines, ServerSentEvents, Whole
from gastown_operator.gateway.usage import Usage, request_tokens


def sse(*events: Any, end: str = "\n\n") -> bytes:
    return "".join(f"data: {json.dumps(event)}{end}" for event in events).encode()


def lines(*events: Any) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


ANTHROPIC = sse(
    {
        "type": "message_start",
        "message": {
            "usage": {
                "input_tokens": 10,
                "cache_read_input_tokens": 20,
                "cache_creation_input_tokens": 30,
                "cache_creation": {"ephemeral_1h_input_tokens": 5},
                "output_tokens": 1,
            }
        },
    },
    {"type": "ping"},
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hällo"}},
    {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{}"}},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 40}},
    {"type": "message_stop"},
    end="\r\n\r\n",
)
CHAT = (
    sse(
        {"choices": [{"delta": {"content": "a"}, "finish_reason": None}], "usage": None},
        {
            "choices": [
                {"delta": {"tool_calls": [{"function": {"arguments": "{}"}}]}, "finish_reason": "tool_calls"}
            ]
        },
        {
            "choices": [],
            "usage": {
                "prompt_tokens": 60,
                "completion_tokens": 40,
                "prompt_tokens_details": {"cached_tokens": 20},
            },
        },
    )
    + b"data: [DONE]\n\n"
)
RESPONSES = sse(
    {"type": "response.created", "response": {"usage": None}},
    {"type": "response.output_text.delta", "delta": "a"},
    {
        "type": "response.completed",
        "response": {
            "status": "completed",
            "usage": {"input_tokens": 60, "output_tokens": 40, "input_tokens_details": {"cached_tokens": 20}},
        },
    },
)
OLLAMA = lines(
    {"message": {"content": "a"}, "done": False}, {"done": True, "prompt_eval_count": 60, "eval_count": 40}
)

STREAMS: dict[str, tuple[Dialect, bytes, Usage]] = {
    "anthropic": (anthropic.MESSAGES, ANTHROPIC, Usage(60, 20, 30, 5, 40)),
    "chat": (openai_chat.CHAT, CHAT, Usage(60, 20, 0, 0, 40)),
    "responses": (openai_responses.RESPONSES, RESPONSES, Usage(60, 20, 0, 0, 40)),
    "ollama": (ollama.CHAT, OLLAMA, Usage(60, 0, 0, 0, 40)),
}


def read(dialect: Dialect, pieces: list[bytes], *, streamed: bool = True) -> Reader:
    reader = Reader(dialect, streamed)
    for piece in pieces:
        reader.feed(piece)
    reader.end()
    return reader


def pieces_of(content: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(content) + 1) for cut in cuts), len(content)]
    return [content[start:end] for start, end in pairwise(places)]


@pytest.mark.parametrize(("dialect", "content", "usage"), STREAMS.values(), ids=STREAMS)
@given(cuts=st.lists(st.integers(0, 10_000), max_size=20))
def test_any_cutting_of_the_bytes_gives_the_same_usage(
    dialect: Dialect, content: bytes, usage: Usage, cuts: list[int]
) -> None:
    reader = read(dialect, pieces_of(content, cuts))
    assert reader.usage(999) == (usage, False)
    assert reader.answer.complete
    assert reader.answer.broken is None


@pytest.mark.parametrize(("dialect", "content", "usage"), STREAMS.values(), ids=STREAMS)
@given(at=st.integers(0, 10_000))
def test_a_part_of_a_stream_is_complete_only_with_its_last_event(
    dialect: Dialect, content: bytes, usage: Usage, at: int
) -> None:
    part = content[: at % (len(content) - 4)]
    reader = read(dialect, [part])
    assert not reader.answer.complete
    measured, _ = reader.usage(60)
    assert measured.output <= usage.output
    assert measured.input <= usage.input


KEYS = [
    *("type", "message", "usage", "delta", "choices", "finish_reason", "tool_calls", "function", "arguments"),
    *(
        "error",
        "response",
        "status",
        "content",
        "output",
        "done",
        "eval_count",
        "output_tokens",
        "input_tokens",
    ),
    *("prompt_tokens", "completion_tokens", "prompt_tokens_details", "cached_tokens", "cache_creation"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
KINDS = [
    *("message_start", "message_delta", "message_stop", "content_block_delta", "error", "response.completed"),
    *("response.failed", "x.delta"),
]
EVENT = st.builds(
    lambda kind, rest: {**rest, "type": kind},
    st.sampled_from(KINDS),
    st.dictionaries(st.sampled_from(KEYS), JSON),
)


@pytest.mark.parametrize("dialect", [row[0] for row in STREAMS.values()], ids=STREAMS)
@pytest.mark.parametrize("streamed", [True, False])
@settings(max_examples=30)
@given(events=st.lists(EVENT | JSON | st.binary(max_size=20), max_size=5))
def test_nothing_that_a_server_says_breaks_the_reader(
    dialect: Dialect, streamed: bool, events: list[Any]
) -> None:
    said = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    start = b"" if dialect.lines or not streamed else b"data: "
    reader = read(dialect, [start + one + b"\n\n" for one in said], streamed=streamed)
    usage, _ = reader.usage(7)
    assert all(
        0 <= count <= 10**13 for count in (usage.input, usage.output, usage.cache_read, usage.cache_write)
    )


def test_what_breaks_off_is_estimated_by_the_length_of_its_text() -> None:
    events = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 1}}},
        {"type": "content_block_delta", "delta": {"text": "x" * 400}},
    ]
    assert read(anthropic.MESSAGES, [sse(*events)]).usage(999) == (Usage(10, output=100), True)
    chat = {"choices": [{"delta": {"content": "x" * 400}}]}
    assert read(openai_chat.CHAT, [sse(chat)]).usage(999) == (Usage(999, output=100), True)


def test_a_later_count_that_is_smaller_takes_nothing_back() -> None:
    """Some endpoints say the input at the start and 0 of it at the end."""
    events = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 700, "output_tokens": 1}}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"input_tokens": 0, "output_tokens": 9},
        },
        {"type": "message_stop"},
    ]
    assert read(anthropic.MESSAGES, [*map(sse, events)]).usage(0) == (Usage(700, output=9), False)


def test_accounts_that_come_with_a_choice_do_not_open_it_again() -> None:
    """LiteLLM sends them so."""
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    events = [
        {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": None}], "usage": usage},
    ]
    reader = read(openai_chat.CHAT, [*map(sse, events), b"data: [DONE]\n\n"])
    assert reader.answer.complete
    assert reader.usage(0) == (Usage(7, output=3), False)


def test_pictures_in_a_request_are_not_counted_by_their_length() -> None:
    text = b'{"text":"' + b"word " * 400 + b'"}'
    picture = b'{"data":"' + b"iVBORw0K" * 50_000 + b'"}'
    assert request_tokens(text) == 503
    assert request_tokens(text + picture) < 2200


def test_a_whole_answer_that_is_too_long_to_read_is_complete_and_estimated() -> None:
    reader = Reader(anthropic.MESSAGES, streamed=False)
    for _ in range(5):
        reader.feed(b" " * 1024 * 1024)
    reader.end()
    assert reader.answer.complete
    usage, estimated = reader.usage(10)
    assert estimated
    assert usage.output > 1_000_000


@given(
    st.lists(st.sampled_from([b"a", b"bb", b"\n", b"\r\n", b"\r", b"data: x\n\n"]), max_size=30),
    st.integers(1, 7),
)
def test_lines_are_those_of_the_whole(parts: list[bytes], size: int) -> None:
    content = b"".join(parts)
    framing = Lines()
    cut = [line for at in range(0, len(content), size) for line in framing.feed(content[at : at + size])]
    found = [line for line in (*cut, *framing.end()) if line]
    assert found == [line for line in content.replace(b"\r", b"\n").split(b"\n") if line]


def test_a_line_that_is_too_long_is_skipped_and_the_next_one_read() -> None:
    framing = Lines(maximum=10)
    assert list(framing.feed(b"x" * 8)) == []
    assert list(framing.feed(b"x" * 8)) == []
    assert list(framing.feed(b"x\nshort\n")) == [b"short"]


def test_other_fields_of_server_sent_events_are_left_out() -> None:
    framing = ServerSentEvents()
    assert list(framing.feed(b": comment\nevent: ping\nid: 1\ndata:{}\n\ndata: {}\n\n")) == [b"{}", b"{}"]
    assert list(framing.end()) == []


def test_one_json_line_needs_no_end() -> None:
    framing = JsonLines()
    assert list(framing.feed(b'{"done":true}')) == []
    assert list(framing.end()) == [b'{"done":true}']


def test_a_whole_answer_comes_at_its_end() -> None:
    framing = Whole(maximum=4)
    assert list(framing.feed(b"{}")) == []
    assert list(framing.end()) == [b"{}"]
    list(framing.feed(b"123"))
    assert framing.too_long
    assert list(framing.end()) == []
