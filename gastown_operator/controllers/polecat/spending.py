"""What attempts have cost, as sums in which no cost is invented: tokens without a known price leave a lower bound (DESIGN §6)."""

from collections.abc import Iterable
from datetime import UTC, date
from decimal import Decimal, InvalidOperation
from typing import Final

from attrs import frozen

from gastown_operator.api.common import Budget, Usage
from gastown_operator.api.polecat import Polecat
from gastown_operator.api.rig_status import DaySpending
from gastown_operator.gateway.message import GatewayRecord

#: The API stores this many decimals of a dollar.
MICRODOLLAR: Final = Decimal("0.000001")
#: The most that the API stores; a sum beyond it would be refused with everything else that the status says.
_MOST_TOKENS: Final = 2**63 - 1
_MOST_COST: Final = Decimal("9999999.999999")


@frozen
class Spending:
    """Tokens and dollars, spent or reserved; `unpriced` tokens are among them, so that the dollars are a lower bound."""

    tokens: int = 0
    cost: Decimal = Decimal(0)
    unpriced: bool = False

    def __add__(self, other: "Spending") -> "Spending":
        """Both together."""
        unpriced = self.unpriced or other.unpriced
        return Spending(self.tokens + other.tokens, self.cost + other.cost, unpriced)

    @property
    def stored_tokens(self) -> int:
        """What the API can store of them."""
        return _tokens(self.tokens)

    @property
    def known_cost(self) -> Decimal | None:
        """What the API can store of the dollars; None where no price was known: nothing is ever invented."""
        return None if self.unpriced and not self.cost else min(self.cost, _MOST_COST)

    @property
    def is_lower_bound(self) -> bool | None:
        """Whether what `known_cost` says is not all; None where it is, or says nothing."""
        return True if self.unpriced and self.cost else None


NOTHING: Final = Spending()


def charge(record: GatewayRecord | None, reserved: Budget | None) -> Usage | None:
    """What an attempt has cost: what its gateway measured, else all that it was allowed to; None where neither is known."""
    if record is not None:
        return Usage(
            input_tokens=_tokens(record.input_tokens),
            output_tokens=_tokens(record.output_tokens),
            cost_usd=dollars_in(record.cost_usd) if record.cost_usd is not None else None,
            cost_is_lower_bound=True if record.unpriced and record.cost_usd is not None else None,
        )
    if reserved is None:
        return None
    return Usage(input_tokens=reserved.max_tokens or 0, cost_usd=reserved.max_cost_usd)


def added(former: Usage | None, more: Usage | None) -> Usage | None:
    """Both together."""
    if former is None or more is None:
        return former or more
    both = spending(former) + spending(more)
    return Usage(
        input_tokens=_tokens(former.input_tokens + more.input_tokens),
        output_tokens=_tokens(former.output_tokens + more.output_tokens),
        cost_usd=both.known_cost,
        cost_is_lower_bound=both.is_lower_bound,
    )


def spending(usage: Usage | None) -> Spending:
    """The sum of a usage."""
    if usage is None:
        return NOTHING
    return _spent(usage.input_tokens + usage.output_tokens, usage.cost_usd, usage.cost_is_lower_bound)


def recorded_today(gone: DaySpending | None, polecats: Iterable[Polecat], today: date) -> Spending:
    """What is recorded as spent today: by polecats that are gone, and by those that there are and are not counted with them."""
    total = of_gone(gone, today)
    counted = set(gone.counted) if gone is not None else set()
    for polecat in polecats:
        if polecat.metadata.uid not in counted:
            total += of_day(polecat, today)
    return total


def of_gone(stored: DaySpending | None, day: date) -> Spending:
    """What polecats that are gone had cost on a day."""
    if stored is None or stored.day != day.isoformat():
        return NOTHING
    return _spent(stored.tokens, stored.cost_usd, stored.cost_is_lower_bound)


def of_day(polecat: Polecat, day: date) -> Spending:
    """What the attempts of a polecat that ended on a day have cost."""
    total = NOTHING
    for attempt in polecat.status.attempts:
        if attempt.finished_at is not None and attempt.finished_at.astimezone(UTC).date() == day:
            total += spending(attempt.usage)
    return total


def _spent(tokens: int, cost: Decimal | None, is_lower_bound: bool | None) -> Spending:
    """What is stored of a spending."""
    return Spending(
        tokens, cost or Decimal(0), unpriced=bool(is_lower_bound) or (cost is None and tokens > 0)
    )


def tokens_in(text: str) -> int:
    """A number of tokens that one of our own programs wrote, as far as the API can store it."""
    return int(min(_number(text), Decimal(_MOST_TOKENS)))


def dollars_in(text: str) -> Decimal:
    """An amount of dollars that one of our own programs wrote, as far as the API can store it."""
    return min(_number(text), _MOST_COST).quantize(MICRODOLLAR)


def _tokens(count: int) -> int:
    return max(0, min(count, _MOST_TOKENS))


def _number(text: str) -> Decimal:
    """0 for anything else, since a pod's annotation is not proof."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return Decimal(0)
    return value if value.is_finite() and value >= 0 else Decimal(0)
