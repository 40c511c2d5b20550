"""The money of a rig's day: what polecats that are being deleted had cost, which counts all the same, and where the budget stands."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal

from gastown_operator.api.common import Budget
from gastown_operator.api.labels import SPENDING_FINALIZER
from gastown_operator.api.polecat import Polecat
from gastown_operator.api.rig import Rig
from gastown_operator.api.rig_status import MAX_COUNTED, DayBudget, DaySpending
from gastown_operator.controllers.polecat.budget import end_of_day, reserved_by, rest
from gastown_operator.controllers.polecat.spending import NOTHING, of_day, of_gone, recorded_today


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
    # Those that are counted stay in the list until they are gone, or they would be counted twice.
    waiting.sort(key=lambda polecat: polecat.metadata.uid not in counted)
    chosen = waiting[:MAX_COUNTED]
    total = of_gone(former, today)
    for polecat in chosen:
        if polecat.metadata.uid not in counted:
            total += of_day(polecat, today)
    return DaySpending(
        day=today.isoformat(),
        tokens=total.stored_tokens,
        cost_usd=total.known_cost,
        cost_is_lower_bound=total.is_lower_bound,
        counted=tuple(sorted(polecat.metadata.uid for polecat in chosen)),
    )


def day_budget(
    rig: Rig, gone: DaySpending | None, polecats: Iterable[Polecat], now: datetime
) -> DayBudget | None:
    """Where the budget of the day stands by what the polecats' status says; None where the rig has none.

    Args:
        rig: with the budget.
        gone: what polecats that are gone had cost.
        polecats: all of the rig.
        now: decides the day.
    """
    if rig.spec.budget == Budget():
        return None
    members, today = list(polecats), now.astimezone(UTC).date()
    used = recorded_today(gone, members, today)
    running = (polecat.status for polecat in members if polecat.status.pod_active)
    reserved = sum((reserved_by(status.reserved) for status in running), NOTHING)
    budget = rig.spec.budget
    left = rest(budget, used + reserved)
    return DayBudget(
        day=today.isoformat(),
        spent_tokens=used.stored_tokens,
        spent_cost_usd=_short(used.known_cost),
        cost_is_lower_bound=used.is_lower_bound,
        reserved_tokens=reserved.stored_tokens if budget.max_tokens is not None else None,
        reserved_cost_usd=_short(reserved.known_cost) if budget.max_cost_usd is not None else None,
        left_tokens=left.max_tokens,
        left_cost_usd=_short(left.max_cost_usd),
        resets_at=end_of_day(now),
    )


def _short(amount: Decimal | None) -> Decimal | None:
    """Without the zeros at its end: people read it in a column."""
    return amount.normalize() if amount is not None else None
