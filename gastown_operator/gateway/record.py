"""The running record of an attempt: its sums, and how the last request of the work ended."""

from decimal import Decimal, InvalidOperation

from attrs import define, field

from gastown_operator.gateway.budget import Meter
from gastown_operator.gateway.failures import Failure
from gastown_operator.gateway.message import GatewayRecord, ModelOutcome
from gastown_operator.gateway.usage import Usage


@define
class Ledger:
    """Collects what becomes of requests.

    Args:
        meter: has the sums.
        model: the model of the work, where it is known beforehand.
    """

    meter: Meter
    model: str = ""
    requests: int = field(init=False, default=0)
    side_requests: int = field(init=False, default=0)
    stopped: str = field(init=False, default="")
    _status: int = field(init=False, default=0)
    _outcome: ModelOutcome = field(init=False, default=ModelOutcome.NONE)
    _reason: str = field(init=False, default="")
    _message: str = field(init=False, default="")

    def resume(self, record: GatewayRecord) -> None:
        """Go on where a gateway of the same attempt was killed. Raises ValueError where the record cannot be ours."""
        usage = Usage(
            record.input_tokens,
            record.cache_read_tokens,
            record.cache_write_tokens,
            output=record.output_tokens,
        )
        cost = _money(record.cost_usd)
        priced = cost is not None and not record.unpriced
        self.meter.resume(usage, cost or Decimal(0), priced=priced, estimated=record.estimated)
        self.requests, self.stopped, self._status = record.requests, record.stopped, record.status
        self.model = record.model or self.model
        self._outcome, self._reason, self._message = record.outcome, record.reason, record.message

    def sent(self, model: str, *, side: bool) -> None:
        """A request that costs something is sent on."""
        self.requests += 1
        self.side_requests += side
        if not side:
            self.model = model

    def succeeded(self, status: int) -> None:
        """A request of the work was answered to its end."""
        self._status = status
        if not self.stopped:
            self._outcome, self._reason, self._message = ModelOutcome.OK, "", ""

    def failed(self, failure: Failure) -> None:
        """A request of the work was not answered, or not to its end. Nothing comes after the end of the budget."""
        if not self.stopped:
            self._status = failure.status
            self._outcome, self._reason, self._message = failure.outcome, failure.reason, failure.message

    def stop(self, failure: Failure) -> None:
        """The gateway stops the agent; that stays the outcome."""
        self._outcome, self._reason, self._message = failure.outcome, failure.reason, failure.message
        self.stopped = "budget"

    def record(self) -> GatewayRecord:
        """What is known so far, also of the answers that still pass: a gateway that is killed goes on with that."""
        meter = self.meter
        used, cost, priced = meter.so_far
        return GatewayRecord(
            outcome=self._outcome,
            reason=self._reason,
            message=self._message,
            requests=self.requests,
            input_tokens=used.input,
            cache_read_tokens=used.cache_read,
            cache_write_tokens=used.cache_write,
            output_tokens=used.output,
            cost_usd=f"{cost.normalize():f}" if priced or cost else None,
            estimated=meter.estimated,
            stopped=self.stopped,
            model=self.model,
            status=self._status,
            unpriced=not priced,
        )


def _money(text: str | None) -> Decimal | None:
    try:
        amount = None if text is None else Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if amount is not None and not amount.is_finite():
        raise ValueError(f"{text!r} is no cost")
    return amount
