"""Conditions as values: setting one returns a new tuple, and the same tuple when nothing is new."""

from datetime import UTC, datetime
from typing import Final

from attrs import evolve

from gastown_operator.api.common import Condition, ConditionStatus

MAX_MESSAGE_BYTES: Final = 2048
"""Messages may quote an agent's output; the schema would allow 32,768 characters."""
_CUT: Final = "…"


def get_condition(conditions: tuple[Condition, ...], type_: str) -> Condition | None:
    """Return the condition of that type, if there is one."""
    return next((condition for condition in conditions if condition.type == type_), None)


def is_true(conditions: tuple[Condition, ...], type_: str) -> bool:
    """Whether the condition is present and holds."""
    condition = get_condition(conditions, type_)
    return condition is not None and condition.status is ConditionStatus.TRUE


def set_condition(
    conditions: tuple[Condition, ...],
    type_: str,
    status: ConditionStatus,
    reason: str,
    message: str,
    *,
    observed_generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return the conditions, sorted by type, with this one set; equal to the given ones if it says nothing new.

    `lastTransitionTime` becomes `now`, in whole seconds as the API stores it, only if the status changes.
    The message is cut to 2 KiB of UTF-8.
    """
    former = get_condition(conditions, type_)
    flipped = former is None or former.status is not status
    condition = Condition(
        type=type_,
        status=status,
        reason=reason,
        message=bounded(message),
        last_transition_time=now.astimezone(UTC).replace(microsecond=0)
        if former is None or flipped
        else former.last_transition_time,
        observed_generation=observed_generation,
    )
    return _sorted((*remove_condition(conditions, type_), condition))


def observe_generation(conditions: tuple[Condition, ...], generation: int) -> tuple[Condition, ...]:
    """Return the conditions, all of them marked as determined from this generation."""
    return tuple(evolve(condition, observed_generation=generation) for condition in conditions)


def remove_condition(conditions: tuple[Condition, ...], type_: str) -> tuple[Condition, ...]:
    """Return the conditions without that of the given type."""
    return tuple(condition for condition in conditions if condition.type != type_)


def bounded(message: str, limit: int = MAX_MESSAGE_BYTES) -> str:
    """Cut a message to at most `limit` bytes of UTF-8, between characters; a cut one ends in `…`."""
    encoded = message.encode(errors="replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return encoded[: limit - len(_CUT.encode())].decode(errors="ignore") + _CUT


def _sorted(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    return tuple(sorted(conditions, key=lambda condition: condition.type))
