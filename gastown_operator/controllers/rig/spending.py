"""What polecats that are being deleted had cost: it counts against the rig's budget of the day all the same."""

from collections.abc import Iterable
from datetime import date

from gastown_operator.api.labels import SPENDING_FINALIZER
from gastown_operator.api.polecat import Polecat
from gastown_operator.api.rig import DaySpending, Rig
from gastown_operator.controllers.polecat.budget import Spending, of_day


def is_account(polecat: Polecat) -> bool:
    """Whether a polecat that is being deleted has ended, so that what it had cost is known and waits to be counted."""
    metadata, status = polecat.metadata, polecat.status
    leaving = metadata.deletion_timestamp is not None and SPENDING_FINALIZER in metadata.finalizers
    return leaving and status.finished_at is not None and not status.pod_active


def spent(rig: Rig, accounts: Iterable[Polecat], today: date) -> DaySpending | None:
    """What is stored of the day, with the accounts that were not counted yet; those of polecats that are gone are forgotten.

    An account is counted in the same write that says so, and its polecat goes only when it has seen that: once each, whenever the
    operator is killed.
    """
    former = rig.status.spent
    waiting = sorted(accounts, key=lambda polecat: polecat.metadata.uid)
    if not waiting and (former is None or not former.counted):
        return former
    counted = set(former.counted) if former is not None else set()
    same_day = former is not None and former.day == today.isoformat()
    total = Spending(former.tokens, former.cost_usd) if former is not None and same_day else Spending()
    for polecat in waiting:
        if polecat.metadata.uid not in counted:
            total += of_day(polecat, today)
    return DaySpending(
        day=today.isoformat(),
        tokens=total.tokens,
        cost_usd=total.cost,
        counted=tuple(polecat.metadata.uid for polecat in waiting),
    )
