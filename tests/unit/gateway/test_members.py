"""What is not to be changed in a request is passed on as it came, and means the same to everybody."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown_operator.gateway.members import parse
from gastown_operator.gateway.usage import request_tokens

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
#: JSON can have halves of surrogate pairs only in escapes.
TEXT = st.text(st.characters(codec="utf-8"))


@given(
    st.dictionaries(TEXT | st.just("model"), JSON, max_size=5),
    st.booleans(),
    st.sampled_from([None, 1]),
)
def test_only_what_is_changed_is_changed(body: dict[str, Any], ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(body, ensure_ascii=ascii_only, indent=indent)
    content = text.encode("utf-8", "replace")
    body = json.loads(content)
    assert parse(content).replaced({}) is content
    changed = parse(content).replaced({"model": "mine", "n": {"a": 1}})
    assert json.loads(changed) == {**body, "model": "mine", "n": {"a": 1}}


@pytest.mark.parametrize(
    "content",
    [
        b'{"model":"a","x":[1],"model":"b"}',
        b'{"model":"a","x":[1],"m\\u006fdel":"b"}',
        b' {"m\\u006fdel" : "a" ,"x":[1],"model":"b"}\n',
    ],
)
def test_a_name_that_is_there_twice_is_there_once(content: bytes) -> None:
    members = parse(content)
    assert members.values() == {"model": "b", "x": [1]}
    pairs = json.loads(members.replaced({}), object_pairs_hook=list)
    assert sorted(pairs) == [("model", "b"), ("x", [1])]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"a"}',
        b'{"a":}',
        b'{"a":1,}',
        b'{"a":1 "b":2}',
        b"{1:2}",
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":"\xff"}',
        b'{"a":"\n"}',
        b'{"model":"a"}{"model":"b"}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":' + b"[" * 100_000,
        b'{"a":' + b"9" * 5000 + b"}",
    ],
)
def test_what_others_could_read_in_another_way_is_refused(content: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        parse(content)


@pytest.mark.parametrize("value", [b"[],", b"{},", b'{"":0},', b"1e1,", b'"ab",'])
def test_a_request_whose_values_would_fill_the_memory_is_refused(value: bytes) -> None:
    content = b'{"a":[' + value * (200_000 // len(value)) + b"0]}"
    assert parse(content).found
    with pytest.raises(ValueError, match="too many values"):
        parse(content.replace(b"[", b"[" + value * (6_000_000 // len(value)), 1))


@pytest.mark.timeout(20)
def test_the_time_for_an_estimate_grows_with_the_length_alone() -> None:
    assert request_tokens((b"A" * 999 + b" ") * 8_000) == 2_000_000
