"""What a polecat's users read: phase and conditions, always set together."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import evolve, frozen

from gastown_operator.api.codec import to_json
from gastown_operator.api.common import Condition, ConditionStatus
from gastown_operator.api.conditions import get_condition, observe_generation, set_condition
from gastown_operator.api.polecat import Polecat, PolecatPhase, PolecatStatus
from gastown_operator.runtime.plan import EventNote

READY: Final = "Ready"
AVAILABLE: Final = "Available"
PROGRESSING: Final = "Progressing"
DEGRADED: Final = "Degraded"
QUEUED: Final = "Queued"
PUSHED: Final = "Pushed"
MERGED: Final = "Merged"

#: What the conditions beside Ready say that need somebody's eye: the whole story is told once, in Ready.
_SEE_READY: Final = "see the condition Ready"


@frozen(kw_only=True)
class State:
    """One thing to say about a polecat.

    Attributes:
        phase: summary for the printer column.
        reason: CamelCase; the reason of `Ready`, and of every other condition that holds because of it.
        message: for people, with the next step where one is needed.
        ready: whether the polecat is as its spec wants it.
        available: whether its agent is running.
        progressing: whether it will change without anybody's help.
        degraded: whether somebody must help.
        queued: whether it waits for its turn; None leaves the condition out once it was never set.
        event: type of the Event that tells of the change; None for none.
    """

    phase: PolecatPhase
    reason: str
    message: str
    ready: bool = False
    available: bool = False
    progressing: bool = False
    degraded: bool = False
    queued: bool = False
    event: str | None = None


def describe(polecat: Polecat, status: PolecatStatus, state: State, now: datetime) -> PolecatStatus:
    """Return `status` with the phase and the conditions of `state`; equal to it if that says nothing new."""
    conditions = status.conditions
    for type_, holds in (
        (READY, state.ready),
        (AVAILABLE, state.available),
        (PROGRESSING, state.progressing),
        (DEGRADED, state.degraded),
        (QUEUED, state.queued),
    ):
        if type_ == QUEUED and not holds and get_condition(conditions, QUEUED) is None:
            continue
        conditions = set_condition(
            conditions,
            type_,
            ConditionStatus.TRUE if holds else ConditionStatus.FALSE,
            state.reason,
            state.message if type_ == READY else _SEE_READY if holds and not state.ready else "",
            observed_generation=polecat.metadata.generation,
            now=now,
        )
    conditions = observe_generation(conditions, polecat.metadata.generation)
    return evolve(status, phase=state.phase, assigned_bead=polecat.spec.bead_id, conditions=conditions)


def set_pushed(
    conditions: tuple[Condition, ...],
    *,
    pushed: bool,
    reason: str,
    message: str,
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """Say whether the work is on the remote."""
    status = ConditionStatus.TRUE if pushed else ConditionStatus.FALSE
    return set_condition(conditions, PUSHED, status, reason, message, observed_generation=generation, now=now)


def events(before: PolecatStatus, after: PolecatStatus, state: State) -> tuple[EventNote, ...]:
    """One Event when what is said changes in phase or reason, none when it is said again."""
    former = get_condition(before.conditions, READY)
    if state.event is None or (
        former is not None and (before.phase, former.reason) == (after.phase, state.reason)
    ):
        return ()
    type_: Any = state.event
    return (EventNote(type_, state.reason, state.message),)


def written(before: PolecatStatus, after: PolecatStatus) -> Mapping[str, Any] | None:
    """The status to apply, or None if it is stored already. The claim is the town bridge's to write."""
    ours = to_json(evolve(after, claim=None))
    return None if ours == to_json(evolve(before, claim=None)) else ours
