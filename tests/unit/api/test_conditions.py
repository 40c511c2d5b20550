"""Conditions as values."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from gastown_operator.api.codec import from_json, to_json
from gastown_operator.api.common import Condition, ConditionStatus
from gastown_operator.api.conditions import (
    MAX_MESSAGE_BYTES,
    bounded,
    get_condition,
    is_true,
    observe_generation,
    remove_condition,
    set_condition,
)

T0 = datetime(2026, 11, 24, 1, 2, 3, tzinfo=UTC)

Change = tuple[str, ConditionStatus, str, str, int]
changes: st.SearchStrategy[Change] = st.tuples(
    st.sampled_from(["Ready", "Available", "Queued"]),
    st.sampled_from(ConditionStatus),
    st.sampled_from(["One", "Two"]),
    st.text(max_size=20),
    st.integers(0, 3),
)


moments = st.floats(0, 2**32).map(
    lambda number: datetime.fromtimestamp(number, timezone(timedelta(hours=-5)))
)


def applied(conditions: tuple[Condition, ...], change: Change, now: datetime = T0) -> tuple[Condition, ...]:
    type_, status, reason, message, generation = change
    return set_condition(conditions, type_, status, reason, message, observed_generation=generation, now=now)


@given(st.lists(changes, min_size=1, max_size=6))
def test_saying_the_same_again_later_changes_nothing(history: list[Change]) -> None:
    conditions: tuple[Condition, ...] = ()
    for change in history:
        conditions = applied(conditions, change)
    assert applied(conditions, history[-1], T0 + timedelta(hours=1)) == conditions


@given(st.lists(changes, max_size=8))
def test_the_transition_time_moves_exactly_when_the_status_does(history: list[Change]) -> None:
    conditions: tuple[Condition, ...] = ()
    for second, change in enumerate(history):
        former = get_condition(conditions, change[0])
        now = T0 + timedelta(seconds=second)
        conditions = applied(conditions, change, now)
        latter = get_condition(conditions, change[0])
        assert latter is not None
        flipped = former is None or former.status is not latter.status
        assert latter.last_transition_time == (
            now if flipped or former is None else former.last_transition_time
        )


@given(st.lists(changes, max_size=8))
def test_there_is_one_condition_per_type_in_the_order_of_types(history: list[Change]) -> None:
    conditions: tuple[Condition, ...] = ()
    for change in history:
        conditions = applied(conditions, change)
    types = [condition.type for condition in conditions]
    assert types == sorted({change[0] for change in history})


@given(changes, moments)
def test_a_condition_equals_itself_after_a_round_trip_through_the_api(change: Change, now: datetime) -> None:
    (condition,) = applied((), change, now)
    assert from_json(Condition, to_json(condition)) == condition


@given(st.text(max_size=3000), st.integers(3, 3000))
def test_messages_are_cut_between_characters(message: str, limit: int) -> None:
    cut = bounded(message, limit)
    assert len(cut.encode()) <= limit
    assert cut == message or cut.endswith("…")


def test_a_condition_keeps_at_most_two_kibibytes_of_an_agents_output() -> None:
    (condition,) = applied((), ("Ready", ConditionStatus.FALSE, "AgentError", "é" * 10_000, 1))
    assert len(condition.message.encode()) <= MAX_MESSAGE_BYTES


def test_a_lone_surrogate_in_a_message_does_not_break_the_status() -> None:
    assert bounded("a\ud800b") == "a?b"


def test_conditions_are_looked_up_marked_and_removed_by_type() -> None:
    conditions = applied((), ("Ready", ConditionStatus.TRUE, "Fine", "", 1))
    conditions = applied(conditions, ("Queued", ConditionStatus.FALSE, "Started", "", 1))
    assert is_true(conditions, "Ready")
    assert not is_true(conditions, "Queued")
    assert not is_true(conditions, "Merged")
    assert {condition.observed_generation for condition in observe_generation(conditions, 2)} == {2}
    assert get_condition(remove_condition(conditions, "Ready"), "Ready") is None
