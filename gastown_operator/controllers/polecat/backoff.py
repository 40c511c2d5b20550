"""How long a polecat waits for its next attempt: after the infrastructure ended one, and after a failure that it may retry."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from gastown_operator.api.common import OutcomeClass
from gastown_operator.api.polecat import Attempt, Polecat, PolecatStatus

_BASE: Final = 10.0
_CAP: Final = 300.0
#: A model or an agent that failed is seldom well again in seconds, and each attempt costs money.
_RETRY_BASE: Final = 30.0
_RETRY_CAP: Final = 600.0


def infrastructure_failures(status: PolecatStatus) -> int:
    """How many attempts in a row, up to the last one, the infrastructure ended since a person asked for the work."""
    count = 0
    for attempt in reversed(_since_asked(status)):
        if attempt.outcome is not OutcomeClass.INFRASTRUCTURE:
            break
        count += 1
    return count


def backoff(failures: int) -> float:
    """Seconds from the last of so many failures of the infrastructure to the next attempt."""
    return min(_BASE * 2.0 ** max(0, failures - 1), _CAP)


def retry_backoff(retries: int) -> float:
    """Seconds from a failure to the attempt that is the so many-th retry."""
    return min(_RETRY_BASE * 2.0 ** max(0, retries - 1), _RETRY_CAP)


def backoff_left(polecat: Polecat, now: datetime) -> float:
    """Seconds until the next attempt may start; 0 or less when it may."""
    status = polecat.status
    if not status.attempts:
        return 0.0
    ended = _since_asked(status)
    last = ended[-1].finished_at if ended else None
    failed = infrastructure_failures(status)
    if last is None or not (failed or status.retries):
        return 0.0
    delay = backoff(failed) if failed else retry_backoff(status.retries or 0)
    return (last + timedelta(seconds=delay) - now).total_seconds()


def _since_asked(status: PolecatStatus) -> Sequence[Attempt]:
    """The attempts that have ended since a person asked for the work, as far as they are kept."""
    first = status.first_attempt or 0
    return [attempt for attempt in status.attempts if attempt.number >= first]
