"""What all requests of one gateway share."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal

from attrs import define, field

from gastown_operator.agents.prices import Price, price_of
from gastown_operator.gateway import failures
from gastown_operator.gateway.bodies import Memory
from gastown_operator.gateway.control import ControlFiles
from gastown_operator.gateway.credentials import Credential, CredentialFiles, CredentialMissingError
from gastown_operator.gateway.failures import Failure
from gastown_operator.gateway.logs import Journal
from gastown_operator.gateway.message import ModelOutcome
from gastown_operator.gateway.metrics import Metrics
from gastown_operator.gateway.record import Ledger
from gastown_operator.gateway.redact import Redactor
from gastown_operator.gateway.retry import Breaker, RequestRate
from gastown_operator.gateway.settings import GatewaySettings
from gastown_operator.gateway.upstream import FailedError, Upstream
from gastown_operator.gateway.usage import Usage


@define(eq=False)
class Services:
    """The parts of a gateway.

    Args:
        overrides: prices that the user gave.
        clock: monotonic seconds.
        on_budget: called once, when the budget is used up.
    """

    settings: GatewaySettings
    upstream: Upstream
    credentials: CredentialFiles
    overrides: Mapping[str, Price]
    ledger: Ledger
    breaker: Breaker
    rate: RequestRate
    control: ControlFiles
    metrics: Metrics
    redactor: Redactor
    journal: Journal
    clock: Callable[[], float]
    on_budget: Callable[[], None] = field(default=lambda: None)
    memory: Memory = field(factory=Memory)
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep)
    _asked_to_stop: bool = field(init=False, default=False)
    _publishing: asyncio.Lock = field(init=False, factory=asyncio.Lock)

    def refusal(self) -> Failure | None:
        """Why a request is not even read."""
        if self.check_budget():
            return self.spent()
        now = self.clock()
        if not self.rate.takes(now):
            said = f"this run asks more than {self.settings.requests_per_minute:g} times a minute, as in an endless loop"
            return failures.ending(ModelOutcome.REFUSED, "RequestRate", said)
        if self.breaker.refuses(now):
            said = "the provider failed several times in a row, so this run is ended"
            return failures.ending(ModelOutcome.UNAVAILABLE, failures.NOT_TRIED, said)
        return None

    def credential(self) -> Credential | None:
        """The credential as it is now; None where none is sent. Raises FailedError."""
        if not self.settings.secret:
            return None
        try:
            credential = self.credentials.read()
        except CredentialMissingError as error:
            raise FailedError(
                failures.ending(ModelOutcome.CONFIG, failures.CREDENTIAL_MISSING, str(error))
            ) from error
        self.redactor.know(credential.token)
        return credential

    def price(self, model: str) -> Price | None:
        """The price of a model. Raises FailedError where money is limited and there is none."""
        price = price_of(model, self.overrides)
        if price is None and self.ledger.meter.limits.cost is not None:
            said = (
                f"the price of model {model!r} is not known, and the budget is one of money; give its price"
            )
            raise FailedError(failures.ending(ModelOutcome.CONFIG, "PriceUnknown", said))
        return price

    def spent(self) -> Failure:
        """The budget is used up."""
        limits, meter = self.ledger.meter.limits, self.ledger.meter
        if limits.cost is None or meter.tokens_spent:
            said = f"the budget of this run is used up: {limits.tokens} tokens"
        else:
            said = f"the budget of this run is used up: {limits.cost:f} USD"
        return failures.ending(ModelOutcome.BUDGET, "BudgetExceeded", said)

    def check_budget(self) -> bool:
        """Whether the budget is used up; the first time, the agent is stopped."""
        if not self.ledger.stopped:
            if not self.ledger.meter.spent:
                return False
            self.ledger.stop(self.spent())
            self.journal("budget used up")
            self.on_budget()
        if not self._asked_to_stop:
            try:
                first = self.control.stop("budget")
            except (
                OSError
            ) as error:  # tried again with the next request; the refusals end the agent meanwhile
                self.journal("cannot write the stop request", cause=str(error))
                return True
            self._asked_to_stop = True
            self.journal("asking the agent to stop", first=first)
        return True

    def traffic(self) -> None:
        """Bytes pass."""
        try:
            self.control.traffic()
        except OSError as error:
            self.journal("cannot write that bytes pass", cause=str(error))

    def settle(self, key: int, usage: Usage, price: Price | None, *, estimated: bool) -> None:
        """Count an answer that has ended."""
        cost = self.ledger.meter.settle(key, usage, price, estimated=estimated)
        self.metrics.used(usage, None if price is None else float(max(cost, Decimal(0))))

    async def publish(self) -> None:
        """Write the record where the keeper reads it; a file system that takes its time holds up nobody else."""
        async with self._publishing:
            try:
                await asyncio.to_thread(self.control.publish, self.ledger.record())
            except OSError as error:  # a full volume; written again with the next change
                self.journal("cannot write the record", cause=str(error))
