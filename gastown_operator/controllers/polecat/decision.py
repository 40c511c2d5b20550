"""One decision about a polecat, and what the stored status has told already."""

from datetime import datetime
from typing import Final

from attrs import evolve, frozen

from gastown_operator.api import labels
from gastown_operator.api.conditions import get_condition, is_true
from gastown_operator.api.polecat import Polecat, PolecatPhase, PolecatStatus
from gastown_operator.controllers.polecat.status import DEGRADED, READY, State
from gastown_operator.runtime.plan import Action

_LONGEST_RETRY_VALUE: Final = 128


@frozen
class Decision:
    """A state to tell (None: the stored one still holds), with what else changes in the status and what is done."""

    state: State | None
    status: PolecatStatus
    actions: tuple[Action, ...] = ()
    requeue_after: float | None = None


def changed_since(polecat: Polecat) -> bool:
    """Whether the spec was changed after the state was told."""
    ready = get_condition(polecat.status.conditions, READY)
    return ready is not None and (ready.observed_generation or 0) < polecat.metadata.generation


def retry_value(polecat: Polecat) -> str:
    """The value of the annotation that asks for another round, as far as the status can hold it."""
    return polecat.metadata.annotations.get(labels.RETRY, "")[:_LONGEST_RETRY_VALUE]


def retry_asked(polecat: Polecat) -> bool:
    """Whether the annotation asks for another round, and that was not acted upon yet."""
    return retry_value(polecat) not in ("", polecat.status.handled_retry)


def next_round(polecat: Polecat) -> Decision:
    """A person wants it to be tried again: from where the last round ended, and with all its retries."""
    state = State(
        phase=PolecatPhase.IDLE,
        reason="Retrying",
        message=f"annotation {labels.RETRY} asks for another round"
        if retry_asked(polecat)
        else "the Polecat was changed; trying again",
        progressing=True,
    )
    fresh = another_round(polecat.status)
    asked_anew = evolve(
        fresh,
        first_attempt=fresh.attempt,
        retries=None,
        handled_retry=retry_value(polecat) or fresh.handled_retry,
    )
    return Decision(state, asked_anew)


def another_round(status: PolecatStatus) -> PolecatStatus:
    """The status from which the next round starts."""
    return evolve(
        status,
        round=(status.round or 1) + 1,
        attempt=(status.attempt or 1) + 1,
        finished_at=None,
        started_at=None,
        enqueued_at=None,
    )


def recorded(polecat: Polecat) -> State:
    """The state that the stored status tells."""
    ready = get_condition(polecat.status.conditions, READY)
    return State(
        phase=polecat.status.phase,
        reason=ready.reason if ready is not None else str(polecat.status.phase),
        message=ready.message if ready is not None else "",
        ready=is_true(polecat.status.conditions, READY),
        degraded=is_true(polecat.status.conditions, DEGRADED),
    )


def whole_seconds(moment: datetime) -> datetime:
    """The API stores whole seconds; anything finer would differ from itself when read back."""
    return moment.replace(microsecond=0)
