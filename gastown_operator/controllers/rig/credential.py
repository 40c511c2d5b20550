"""Whether the model's provider still refuses what a rig lends its polecats: what they met last decides."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from gastown_operator.api.common import ConditionStatus, OutcomeClass
from gastown_operator.api.conditions import get_condition
from gastown_operator.api.polecat import Attempt, Polecat, PolecatPhase
from gastown_operator.api.rig import Rig
from gastown_operator.controllers.polecat.outcome import RIG_CREDENTIAL_MISSING, RIG_CREDENTIAL_REJECTED
from gastown_operator.controllers.polecat.provider import Loan, loan
from gastown_operator.controllers.polecat.status import READY


def trouble(polecat: Polecat) -> str:
    """Why a polecat is stuck, where that is the credential of its rig: refused, or none to send. Empty otherwise."""
    ready = get_condition(polecat.status.conditions, READY)
    if ready is None or polecat.status.phase is not PolecatPhase.STUCK:
        return ""
    return ready.reason if ready.reason in (RIG_CREDENTIAL_REJECTED, RIG_CREDENTIAL_MISSING) else ""


def in_trouble(rig: Rig, polecats: Sequence[Polecat]) -> Sequence[Polecat]:
    """The polecats whose trouble with the rig's credential still tells of it: it has not worked since."""
    stuck = [polecat for polecat in polecats if trouble(polecat)]
    if not stuck:
        return ()
    worked = _worked(rig, polecats)
    return [polecat for polecat in stuck if not _is_over(rig, polecat, worked)]


def _worked(rig: Rig, polecats: Iterable[Polecat]) -> dict[Loan, datetime]:
    """When an attempt last ended that had used each loan with success."""
    found: dict[Loan, datetime] = {}
    for polecat in polecats:
        ends = [attempt.finished_at for attempt in polecat.status.attempts if _has_asked_its_model(attempt)]
        last = max((end for end in ends if end is not None), default=None)
        lent = loan(polecat, rig) if last is not None else None
        if last is not None and lent is not None:
            found[lent] = max(last, found.get(lent, last))
    return found


def _has_asked_its_model(attempt: Attempt) -> bool:
    usage = attempt.usage
    return attempt.outcome is OutcomeClass.SUCCEEDED and usage is not None and usage.output_tokens > 0


def _is_over(rig: Rig, polecat: Polecat, worked: dict[Loan, datetime]) -> bool:
    refused = polecat.status.attempts[-1].finished_at if polecat.status.attempts else None
    lent = loan(polecat, rig)
    if refused is not None and lent in worked and worked[lent] > refused:
        return True
    # Those that succeeded may be gone: that the rig has become ready since then says that there were some.
    ready = get_condition(rig.status.conditions, READY)
    known = polecat.status.finished_at
    return (
        ready is not None
        and ready.status is ConditionStatus.TRUE
        and known is not None
        and ready.last_transition_time > known
    )
