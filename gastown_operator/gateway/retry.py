"""When to try again, and when it was tried often enough."""

from typing import Final

from attrs import define, field

from gastown_operator.gateway.failures import Answered, Failure

#: How often the gateway tries again before the first byte of an answer.
RETRIES: Final = 2
#: Longer than that is left to the agent, which may have better things to do.
_LONGEST_WAIT: Final = 5.0
#: Longer than that means: not in this run. An agent would sleep through it without a word.
_LONGEST_FOR_AGENT: Final = 30.0

_FAILURES: Final = 4
_FAILURES_AT_LEAST: Final = 2
_SECONDS: Final = 45.0
_PAUSE: Final = 30.0


def wait_before(failure: Failure, tries: int) -> float | None:
    """Seconds until the gateway tries again after `tries` tries; None where it does not."""
    if failure.answered is not Answered.AGAIN or failure.reason == "TimedOut" or tries > RETRIES:
        return None
    wait = failure.retry_after if failure.retry_after is not None else 0.25 * 4 ** (tries - 1)
    return wait if wait <= _LONGEST_WAIT else None


def ends(failure: Failure) -> bool:
    """Whether the agent has to end after this one alone."""
    return failure.answered is Answered.ENDING or (
        failure.retry_after is not None and failure.retry_after > _LONGEST_FOR_AGENT
    )


@define
class Breaker:
    """Ends a run whose requests fail again and again, so that a storm is over within about a minute.

    Agents repeat one request 11 to 36 times. Requests that fail at the same time count as one: they have one cause.
    It opens after four failures, or after 45 seconds with at least two; after 30 seconds more one request may try again.
    """

    _count: int = field(init=False, default=0)
    _since: float = field(init=False, default=0.0)
    _last: float = field(init=False, default=float("-inf"))

    def succeeded(self) -> None:
        """A request was answered to its end."""
        self._count = 0

    def failed(self, started: float, now: float) -> None:
        """A request that was started then has failed now."""
        if self._count == 0:
            self._since = started
        if self._count == 0 or started >= self._last:
            self._count += 1
        self._last = now

    def tripped(self) -> bool:
        """Whether it was too often."""
        return self._count >= _FAILURES or (
            self._count >= _FAILURES_AT_LEAST and self._last - self._since >= _SECONDS
        )

    def refuses(self, now: float) -> bool:
        """Whether a request is not even tried."""
        return self.tripped() and now - self._last < _PAUSE


@define
class RequestRate:
    """Catches an agent that asks for ever: so many requests at once, and then so many per minute.

    Args:
        per_minute: how many of them.
    """

    per_minute: float
    _left: float = field(init=False)
    _at: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self._left = self.per_minute

    def takes(self, now: float) -> bool:
        """Whether one more is within the rate; it counts if so."""
        self._left = min(self.per_minute, self._left + (now - self._at) * self.per_minute / 60)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
