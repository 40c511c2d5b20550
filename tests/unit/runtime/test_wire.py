"""Reading what a watch or a list sends, where nothing can be taken for granted but the bytes."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown_operator.runtime.errors import ApiError, Gone, UnexpectedResponse
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.wire import (
    MAX_DEPTH,
    decode_event,
    decode_json,
    ends_initial_events,
    key_of,
    uid_of,
    version_of,
)

values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["metadata", "name", "type", "object", "code"]) | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_an_event_is_a_type_and_an_object() -> None:
    assert decode_event(b'{"type":"ADDED","object":{"a":1}}') == ("ADDED", {"a": 1})


def test_an_error_event_is_the_error_that_it_stands_for() -> None:
    with pytest.raises(Gone, match="too old"):
        decode_event(b'{"type":"ERROR","object":{"code":410,"message":"too old"}}')


@pytest.mark.parametrize(
    "line",
    [
        b"<html>",
        b"",
        b"3",
        b"[]",
        b'{"type":"ADDED"}',
        b'{"object":{}}',
        b'{"type":"ADDED","object":[]}',
        b'{"type":["ADDED"],"object":{}}',
        b'{"type":{},"object":{}}',
        b'{"type":null,"object":{}}',
        b'{"type":"ADDED","object":{}',
        b'{"type":"ADDED","object":{}}}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_event_is_an_unexpected_response(line: bytes) -> None:
    with pytest.raises(UnexpectedResponse):
        decode_event(line)


@given(
    st.binary(max_size=60)
    | values.map(encoded)
    | values.map(lambda value: encoded({"type": "ADDED", "object": value}))
)
def test_whatever_comes_is_an_event_or_an_api_error(line: bytes) -> None:
    try:
        kind, raw = decode_event(line)
    except ApiError:
        return
    assert isinstance(kind, str)
    assert isinstance(raw, dict)


@given(values)
def test_the_key_and_the_version_of_anything_can_be_asked_for(value: Any) -> None:
    for raw in (value, {"metadata": value}):
        assert isinstance(key_of(raw), ObjectKey)
        assert isinstance(uid_of(raw), str)
        assert version_of(raw) >= 0
        assert ends_initial_events(raw) in {True, False}


@pytest.mark.parametrize("text", ["9" * 5000, "²", "-3", "1.5", "", "x", "\u0661"])
def test_a_version_that_is_no_number_of_the_api_is_none(text: str) -> None:
    assert version_of({"metadata": {"resourceVersion": text}}) == 0


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b'"}]\\"{["' + b"}" * depth


def test_json_as_deep_as_the_parser_takes_is_read_whole() -> None:
    assert decode_json(nested(900)) == orjson.loads(nested(900))


@pytest.mark.parametrize("depth", [1025, 9999])
@pytest.mark.parametrize("where", ["object", "list"])
def test_what_lies_too_deep_is_left_out_and_all_else_is_read(depth: int, where: str) -> None:
    """A user may store 10,000 levels in a field without a schema, and must not blind us to everybody else's objects."""
    deep = nested(depth) if where == "object" else b"[" * depth + b"]" * depth
    text = b'{"metadata":{"name":"x"},"deep":' + deep + b',"after":[1,"]"]}'
    read = decode_json(text)
    assert read["metadata"] == {"name": "x"}
    assert read["after"] == [1, "]"]
    value, levels = read["deep"], 0
    while value:
        value = value["a"] if isinstance(value, dict) else value[0]
        levels += 1
    assert levels == MAX_DEPTH - 1


@given(st.binary(max_size=200))
def test_what_is_no_json_stays_an_error(text: bytes) -> None:
    broken = nested(2000) + b"}" + text
    with pytest.raises(orjson.JSONDecodeError):
        decode_json(broken)
