"""How long a polecat whose attempts the infrastructure ended waits for the next one."""

from datetime import datetime, timedelta
from typing import Final

from gastown_operator.api.common import OutcomeClass
from gastown_operator.api.polecat import Polecat, PolecatStatus

_BASE: Final = 10.0
_CAP: Final = 300.0


def infrastructure_failures(status: PolecatStatus) -> int:
    """How many attempts in a row, up to the last one, the infrastructure ended."""
    count = 0
    for attempt in reversed(status.attempts):
        if attempt.outcome is not OutcomeClass.INFRASTRUCTURE:
            break
        count += 1
    return count


def backoff(failures: int) -> float:
    """Seconds from the last of so many failures to the next attempt."""
    return min(_BASE * 2.0 ** max(0, failures - 1), _CAP)


def backoff_left(polecat: Polecat, now: datetime) -> float:
    """Seconds until the next attempt may start; 0 or less when it may."""
    failed = infrastructure_failures(polecat.status)
    last = polecat.status.attempts[-1].finished_at if failed else None
    if last is None:
        return 0.0
    return (last + timedelta(seconds=backoff(failed)) - now).total_seconds()
