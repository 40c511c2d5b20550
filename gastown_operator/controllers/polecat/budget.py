"""What an attempt may cost: the polecat's own budget in full, a share of what its rig has left of the day (DESIGN §6).

Shared money is reserved: an attempt is charged what it may use until its gateway's last word says what it used. So attempts that
run at once can never spend more than there is, and one whose gateway left no word costs all that it was allowed to.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Final, TypeVar

from attrs import field, frozen

from gastown_operator.api import labels, names
from gastown_operator.api.common import Budget
from gastown_operator.api.core import Pod
from gastown_operator.api.polecat import Polecat
from gastown_operator.api.rig import Rig
from gastown_operator.controllers.polecat.spending import (
    MICRODOLLAR,
    NOTHING,
    Spending,
    dollars_in,
    recorded_today,
    spending,
    tokens_in,
)

T = TypeVar("T", int, Decimal)

#: Below these a share is not worth a start: an agent's first request alone costs about as much.
_LEAST_TOKENS: Final = 1000
_LEAST_COST: Final = Decimal("0.001")


@frozen
class Grant:
    """What an attempt may use; `reason` and `message` say why it may not start, where it may not.

    `settles`: an attempt has ended, and what it did not use is free again as soon as that is recorded.
    """

    budget: Budget = field(default=Budget())
    reason: str = ""
    message: str = ""
    settles: bool = False


def polecats_budget(polecat: Polecat, rig: Rig) -> Budget:
    """The polecat's own limits for all its attempts, with the rig's defaults."""
    own, default = polecat.spec.budget, rig.spec.defaults.budget
    return Budget(
        max_tokens=own.max_tokens if own.max_tokens is not None else default.max_tokens,
        max_cost_usd=own.max_cost_usd if own.max_cost_usd is not None else default.max_cost_usd,
    )


def is_limited(polecat: Polecat, rig: Rig) -> bool:
    """Whether anything limits what the polecat may cost."""
    return polecats_budget(polecat, rig) != Budget() or rig.spec.budget != Budget()


def limits_cost(polecat: Polecat, rig: Rig) -> bool:
    """Whether dollars are limited, so that the price of the model must be known."""
    return polecats_budget(polecat, rig).max_cost_usd is not None or rig.spec.budget.max_cost_usd is not None


def grant(polecat: Polecat, rig: Rig, spent_today: Spending, slots: int) -> Grant:
    """What the next attempt may use: the polecat's own rest, at most a share of the rig's rest of the day.

    Args:
        polecat: with what its attempts have cost so far in its status.
        rig: with the budget of a day.
        spent_today: of the whole rig, reservations of running attempts included.
        slots: how many polecats could start now, this one included: each gets the same share.
    """
    limits, used = polecats_budget(polecat, rig), spending(polecat.status.usage)
    own = rest(limits, used)
    if own.max_tokens == 0 or own.max_cost_usd == 0:
        text = f"its budget is used up ({_words(limits, used)}); raise spec.budget, or spec.defaults.budget of its Rig if it has none, to go on"
        return Grant(reason="BudgetExceeded", message=text)
    day = rest(rig.spec.budget, spent_today)
    share = _share(day, slots)
    if _is_too_little(share):
        text = (
            f'Rig "{rig.metadata.name}" has spent or reserved {_words(rig.spec.budget, spent_today)} of its day (spec.budget); '
            "this one starts at 00:00 UTC, or before that when a running attempt leaves enough unused; to start it now, raise "
            f"the budget: kubectl edit rig {rig.metadata.name}"
        )
        return Grant(reason="RigBudgetUsedUp", message=text)
    return Grant(
        Budget(
            max_tokens=_least(own.max_tokens, share.max_tokens),
            max_cost_usd=_least(own.max_cost_usd, share.max_cost_usd),
        )
    )


def own_rest(polecat: Polecat, rig: Rig) -> Budget:
    """What is left of the polecat's own budget for its next attempt."""
    return rest(polecats_budget(polecat, rig), spending(polecat.status.usage))


def in_words(budget: Budget) -> str:
    """A budget for people."""
    parts = [f"{budget.max_tokens} tokens"] if budget.max_tokens is not None else []
    parts += [f"{budget.max_cost_usd:f} US dollars"] if budget.max_cost_usd is not None else []
    return " and ".join(parts)


def spent_today(rig: Rig, polecats: Iterable[tuple[Polecat, Sequence[Pod]]], today: date) -> Spending:
    """What a rig's polecats have cost today, with what those that run may still cost.

    Args:
        rig: its status holds what polecats that are gone had cost.
        polecats: the rig's, each with its pods: that of an attempt that has not ended still costs its reservation.
        today: the day (UTC).
    """
    members = list(polecats)
    total = recorded_today(rig.status.spent, (polecat for polecat, _ in members), today)
    for polecat, pods in members:
        ended = {attempt.pod_uid for attempt in polecat.status.attempts}
        metadata = polecat.metadata
        current = names.pod_name(metadata.name, polecat.status.attempt or 1, metadata.uid)
        if polecat.status.pod_active and current not in {pod.metadata.name for pod in pods}:
            total += reserved_by(polecat.status.reserved)  # its pod is gone, and that is not recorded yet
        for pod in pods:
            # Earlier ones have ended, though the status may not list them any more.
            if pod.metadata.name == current and pod.metadata.uid not in ended:
                total += reserved_by(reservation(pod))
    return total


def settles(polecat: Polecat, pods: Iterable[Pod]) -> bool:
    """Whether an attempt of a polecat has ended that its status does not list yet."""
    recorded = {attempt.pod_uid for attempt in polecat.status.attempts}
    named = names.pod_name(polecat.metadata.name, polecat.status.attempt or 1, polecat.metadata.uid)
    current = [pod for pod in pods if pod.metadata.name == named]
    if not current:
        return polecat.status.pod_active
    return any(pod.phase.terminal and pod.metadata.uid not in recorded for pod in current)


def reservation(pod: Pod) -> Budget | None:
    """What a pod's attempt may use; None where nothing limits it."""
    noted = pod.metadata.annotations
    tokens, cost = noted.get(labels.RESERVED_TOKENS), noted.get(labels.RESERVED_COST)
    if tokens is None and cost is None:
        return None
    return Budget(
        max_tokens=tokens_in(tokens) if tokens is not None else None,
        max_cost_usd=dollars_in(cost) if cost is not None else None,
    )


def reserved_by(budget: Budget | None) -> Spending:
    """What is set aside for an attempt that may use so much."""
    return (
        Spending(budget.max_tokens or 0, budget.max_cost_usd or Decimal(0)) if budget is not None else NOTHING
    )


def reservation_notes(budget: Budget) -> dict[str, str]:
    """Annotations of the pod from which `reservation` reads."""
    notes = {}
    if budget.max_tokens is not None:
        notes[labels.RESERVED_TOKENS] = str(budget.max_tokens)
    if budget.max_cost_usd is not None:
        notes[labels.RESERVED_COST] = format(budget.max_cost_usd, "f")
    return notes


def end_of_day(now: datetime) -> datetime:
    """When the next day (UTC) begins, and the budget of a rig is whole again."""
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), datetime.min.time(), UTC)


def seconds_until_tomorrow(now: datetime) -> float:
    """Seconds until the end of the day."""
    return (end_of_day(now) - now).total_seconds()


def rest(budget: Budget, used: Spending) -> Budget:
    """What is left of a budget; 0 is a limit that is reached."""
    return Budget(
        max_tokens=max(0, budget.max_tokens - used.tokens) if budget.max_tokens is not None else None,
        max_cost_usd=max(Decimal(0), budget.max_cost_usd - used.cost)
        if budget.max_cost_usd is not None
        else None,
    )


def _share(day: Budget, slots: int) -> Budget:
    """An equal share of what is left, but never so little that nobody could start though enough for one is left."""
    tokens, cost = day.max_tokens, day.max_cost_usd
    return Budget(
        max_tokens=max(tokens // slots, min(tokens, _LEAST_TOKENS)) if tokens is not None else None,
        max_cost_usd=max((cost / slots).quantize(MICRODOLLAR, ROUND_DOWN), min(cost, _LEAST_COST))
        if cost is not None
        else None,
    )


def _is_too_little(share: Budget) -> bool:
    tokens, cost = share.max_tokens, share.max_cost_usd
    return (tokens is not None and tokens < _LEAST_TOKENS) or (cost is not None and cost < _LEAST_COST)


def _least(*limits: T | None) -> T | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _words(budget: Budget, used: Spending) -> str:
    """How much of what is limited is used."""
    parts = [f"{used.tokens} of {budget.max_tokens} tokens"] if budget.max_tokens is not None else []
    if budget.max_cost_usd is not None:
        least = "at least " if used.unpriced else ""
        parts.append(f"{least}{used.cost.normalize():f} of {budget.max_cost_usd:f} US dollars")
    return " and ".join(parts)
