"""What one request costs: an estimate while it is under way, then what the provider says, and at the end the sum, once."""

from attrs import define, field

from gastown_operator.agents.prices import Price
from gastown_operator.gateway.bodies import Prepared
from gastown_operator.gateway.dialects.answer import Reader
from gastown_operator.gateway.failures import Failure
from gastown_operator.gateway.services import Services
from gastown_operator.gateway.usage import Usage, request_tokens


@define(eq=False)
class Account:
    """Counts a request in the ledger.

    Args:
        works: whether the request costs anything at all.
    """

    services: Services
    works: bool
    reader: Reader | None = field(init=False, default=None)
    settled: bool = field(init=False, default=False)
    _content: bytes = field(init=False, default=b"")
    _asked: int | None = field(init=False, default=None)
    _sent: bool = field(init=False, default=False)
    _price: Price | None = field(init=False, default=None)

    def begin(self, prepared: Prepared) -> None:
        """The request is known, and about to be sent. Raises FailedError where money is limited and its model has no price."""
        self._content = prepared.content or b""
        if self.works:
            self._price = self.services.price(prepared.model)
            self.services.ledger.sent(prepared.model, side=prepared.side)

    def sending(self) -> None:
        """It is on its way to the provider."""
        self._sent = self.works

    def failed(self, failure: Failure) -> None:
        """What the provider refuses costs nothing; what takes too long is paid all the same."""
        self._sent = self.works and failure.reason == "TimedOut"

    def reserve(self) -> None:
        """Let a request that is on its way count as soon as it takes a while: many at a time would pass the budget by much.

        Its price is that of a prompt from the cache until the provider says more.
        """
        if self._sent and not self.settled:
            asked = self._estimate()
            self.services.ledger.meter.running(id(self), Usage(asked, cache_read=asked), self._price)

    def answered(self, reader: Reader | None) -> None:
        """The answer has begun. The request is forgotten: it would be held for as long as the answer takes."""
        if self.works and reader is not None:
            self.reader = reader
            self._usage(reader)
        self._content = b""

    def passing(self, reader: Reader) -> None:
        """Count what is known of the answer so far."""
        usage, _ = self._usage(reader)
        self.services.ledger.meter.running(id(self), usage, self._price)

    async def settle(self) -> None:
        """Before the agent sees the end of its answer and perhaps ends, since the keeper then reads the record."""
        if self.settled:
            return
        self.settled = True
        usage, estimated = Usage(), False
        if self.reader is not None:
            usage, estimated = self._usage(self.reader)
        elif self._sent:
            usage, estimated = Usage(self._estimate()), True
        if self.works:
            self.services.settle(id(self), usage, self._price, estimated=estimated)
            self.services.check_budget()
            await self.services.publish()

    def _usage(self, reader: Reader) -> tuple[Usage, bool]:
        """So far; the request is measured only where the provider has not yet done so."""
        asked = self._estimate() if reader.answer.reported.uncached is None else 0
        return reader.usage(asked)

    def _estimate(self) -> int:
        if self._asked is None:
            self._asked = request_tokens(self._content)
        return self._asked
