"""One decision about a polecat, and what the stored status has told already."""

from datetime import datetime

from attrs import evolve, frozen

from gastown_operator.api.conditions import get_condition, is_true
from gastown_operator.api.polecat import Polecat, PolecatPhase, PolecatStatus
from gastown_operator.controllers.polecat.status import DEGRADED, READY, State
from gastown_operator.runtime.plan import Action


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


def next_round(polecat: Polecat) -> Decision:
    """The user changed something about a polecat that was stuck: try again, from where the last round ended."""
    status = polecat.status
    state = State(
        phase=PolecatPhase.IDLE,
        reason="Retrying",
        message="the Polecat was changed; trying again",
        progressing=True,
    )
    fresh = evolve(
        status,
        round=(status.round or 1) + 1,
        attempt=(status.attempt or 1) + 1,
        finished_at=None,
        started_at=None,
    )
    return Decision(state, fresh)


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
