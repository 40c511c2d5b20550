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

    def resume(self, usage: Usage, cost: Decimal | None, *, estimated: bool) -> None:
        """Go on with what was settled before; a cost of None has parts without a price."""
        self.settled, self.estimated = usage, estimated
        self.cost, self.priced = cost or _NOTHING, cost is not None

    @property
    def so_far(self) -> tuple[Usage, Decimal]:
        """What was used and what it cost, with the answers that still pass."""
        usages = (used.usage for used in self._running.values())
        return sum(usages, self.settled), self.cost + self._cost

    def running(self, key: int, usage: Usage, price: Price | None) -> None:
        """Replace what is known of an answer that still passes."""
        self._forget(key)
        used = _Used(usage, usage.cost(price) if price else _NOTHING)
        self._running[key] = used
        self._tokens += usage.total
        self._cost += used.cost

    def settle(self, key: int, usage: Usage, price: Price | None, *, estimated: bool) -> Decimal:
        """Add an answer that has ended to the sums; what it cost."""
        self._forget(key)
        self.settled += usage
        self.estimated = self.estimated or (estimated and usage.total > 0)
        self.priced = self.priced and (price is not None or usage.total == 0)
        cost = usage.cost(price) if price else _NOTHING
        self.cost += cost
        return cost

    def _forget(self, key: int) -> None:
        if (used := self._running.pop(key, None)) is not None:
            self._tokens -= used.usage.total
            self._cost -= used.cost
