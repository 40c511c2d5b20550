"""The budget of one attempt, kept while answers pass."""

from decimal import Decimal
from typing import Final

from attrs import define, field, frozen

from gastown_operator.agents.prices import Price
from gastown_operator.gateway.usage import Usage

_NOTHING: Final = Decimal(0)


@frozen
class Limits:
    """What may be used.

    Attributes:
        tokens: input and output together; 0 for any number.
        cost: USD; None for any.
    """

    tokens: int = 0
    cost: Decimal | None = None


@frozen
class _Used:
    usage: Usage
    cost: Decimal
    priced: bool


@define
class Meter:
    """Sums what was used and what is being used."""

    limits: Limits
    settled: Usage = field(init=False, factory=Usage)
    cost: Decimal = field(init=False, default=_NOTHING)
    priced: bool = field(init=False, default=True)
    estimated: bool = field(init=False, default=False)
    _running: dict[int, _Used] = field(init=False, factory=dict)
    _tokens: int = field(init=False, default=0)
    _cost: Decimal = field(init=False, default=_NOTHING)

    @property
    def tokens_spent(self) -> bool:
        """Whether the limit of tokens is reached."""
        return bool(self.limits.tokens) and self.settled.total + self._tokens >= self.limits.tokens

    @property
    def spent(self) -> bool:
        """Whether the budget is used up, by what was settled and what is known of the answers that still pass."""
        if self.tokens_spent:
            return True
        return self.limits.cost is not None and self.cost + self._cost >= self.limits.cost

    def resume(self, usage: Usage, cost: Decimal, *, priced: bool, estimated: bool) -> None:
        """Go on with what was settled before."""
        self.settled, self.estimated = usage, estimated
        self.cost, self.priced = cost, priced

    @property
    def so_far(self) -> tuple[Usage, Decimal, bool]:
        """What was used, what the part with a price cost, and whether that is all; with the answers that still pass."""
        running = self._running.values()
        used = sum((one.usage for one in running), self.settled)
        return used, self.cost + self._cost, self.priced and all(one.priced for one in running)

    def running(self, key: int, usage: Usage, price: Price | None) -> None:
        """Replace what is known of an answer that still passes."""
        self._forget(key)
        used = _Used(usage, usage.cost(price) if price else _NOTHING, _is_priced(usage, price))
        self._running[key] = used
        self._tokens += usage.total
        self._cost += used.cost

    def settle(self, key: int, usage: Usage, price: Price | None, *, estimated: bool) -> Decimal:
        """Add an answer that has ended to the sums; what it cost."""
        self._forget(key)
        self.settled += usage
        self.estimated = self.estimated or (estimated and usage.total > 0)
        self.priced = self.priced and _is_priced(usage, price)
        cost = usage.cost(price) if price else _NOTHING
        self.cost += cost
        return cost

    def _forget(self, key: int) -> None:
        if (used := self._running.pop(key, None)) is not None:
            self._tokens -= used.usage.total
            self._cost -= used.cost


def _is_priced(usage: Usage, price: Price | None) -> bool:
    """Whether its cost is known: that of nothing is."""
    return price is not None or usage.total == 0
