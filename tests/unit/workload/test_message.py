"""Termination messages: small, ASCII, and believed only when whole."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown_operator.workload.message import MAXIMUM_BYTES, Outcome, TerminationMessage, decode

MESSAGES = st.builds(
    TerminationMessage,
    outcome=st.sampled_from(Outcome),
    reason=st.from_regex(r"[A-Z][A-Za-z]{0,40}", fullmatch=True),
    message=st.text(max_size=3000),
    branch=st.text(alphabet="abc/-", max_size=120),
    base=st.sampled_from(["", "a" * 40]),
    head=st.sampled_from(["", "b" * 40]),
    commits=st.integers(0, 10_000),
    pushed=st.booleans(),
    checkpoint=st.sampled_from(["", "c" * 40]),
)


@given(MESSAGES)
def test_an_encoded_message_fits_and_says_the_same_but_for_the_length_of_its_text(
    message: TerminationMessage,
) -> None:
    encoded = message.encode()

    assert len(encoded) <= MAXIMUM_BYTES
    decoded = decode(encoded.decode("ascii"))
    assert decoded is not None
    assert message.message.startswith(decoded.message)
    assert attrs.evolve(decoded, message="") == attrs.evolve(message, message="")


@given(MESSAGES, st.data())
def test_a_message_cut_short_is_absent(message: TerminationMessage, data: st.DataObject) -> None:
    encoded = message.encode().decode("ascii")
    cut = data.draw(st.integers(0, len(encoded) - 1))

    assert decode(encoded[:cut]) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"v"',
        "{}",
        '{"v":2,"outcome":"Succeeded","reason":"x"}',
        '{"v":1,"outcome":"Great","reason":"x"}',
        '{"v":1,"outcome":"Succeeded","reason":7}',
        '{"v":1,"outcome":"Succeeded","reason":"x","pushed":"yes"}',
        '{"v":1,"outcome":["Succeeded"],"reason":"x"}',
        "[" * 4000,
        "error: cannot open /dev/termination-log",
    ],
)
def test_what_is_not_ours_is_absent(text: str) -> None:
    assert decode(text) is None
