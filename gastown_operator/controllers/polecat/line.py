"""The order in which those who wait are served, and who is in it: by age in the queue, priority, and age (DESIGN §7)."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from gastown_operator.api.common import ConditionStatus
from gastown_operator.api.conditions import get_condition
from gastown_operator.api.polecat import DesiredState, Polecat, PolecatPhase, PolecatStatus
from gastown_operator.controllers.polecat.status import QUEUED

#: After so long in the queue a polecat goes before every priority, so that none starves.
AGING_SECONDS: Final = 3600.0
_ABOVE_EVERY_PRIORITY: Final = 1001  # spec.priority is at most 1000
_NO_TIME: Final = datetime.max.replace(tzinfo=UTC)


class Wait(StrEnum):
    """Why a polecat waits; reasons of its `Queued` condition."""

    BEAD_IN_USE = "BeadInUse"
    DEPENDENCY = "DependencyPending"
    RIG_AT_CAPACITY = "RigAtCapacity"
    RIG_BUDGET = "RigBudgetUsedUp"
    CREDENTIAL_EXPIRED = "CredentialExpired"
    NETWORK_BLOCKED = "NetworkBlocked"
    NETWORK_POLICY = "NetworkPolicyPending"
    CREDENTIAL_INVALID = "CredentialInvalid"
    QUOTA_EXCEEDED = "QuotaExceeded"
    SERVICE_ACCOUNT_MISSING = "ServiceAccountMissing"
    POD_NAME_IN_USE = "PodNameInUse"


#: Waits that only somebody can end.
NEED_HELP: Final = frozenset({Wait.CREDENTIAL_EXPIRED, Wait.CREDENTIAL_INVALID, Wait.NETWORK_BLOCKED})
_NO_MATTER_OF_SLOTS: Final = frozenset(
    {
        Wait.QUOTA_EXCEEDED,
        Wait.SERVICE_ACCOUNT_MISSING,
        Wait.POD_NAME_IN_USE,
        Wait.CREDENTIAL_EXPIRED,
        Wait.CREDENTIAL_INVALID,
        Wait.NETWORK_BLOCKED,
        Wait.NETWORK_POLICY,
    }
)


def is_candidate(polecat: Polecat) -> bool:
    """Whether a polecat wants a slot: it shall work, has no pod, and has neither ended nor been refused."""
    return (
        polecat.metadata.deletion_timestamp is None
        and polecat.spec.desired_state is DesiredState.WORKING
        and polecat.status.phase is PolecatPhase.IDLE
        and not polecat.status.pod_active
    )


def cannot_start(polecat: Polecat) -> bool:
    """Whether what it waits for, as its status says, is nothing that a slot would help with."""
    queued = get_condition(polecat.status.conditions, QUEUED)
    return (
        queued is not None and queued.status is ConditionStatus.TRUE and queued.reason in _NO_MATTER_OF_SLOTS
    )


def rank(polecat: Polecat, now: datetime) -> tuple[int, datetime, str, str]:
    """Position in the queue: those that have waited too long, then by priority, then by age; the name settles what is left."""
    metadata = polecat.metadata
    since = polecat.status.enqueued_at
    starves = since is not None and (now - since).total_seconds() >= AGING_SECONDS
    return (
        -_ABOVE_EVERY_PRIORITY if starves else -polecat.spec.priority,
        metadata.creation_timestamp or _NO_TIME,
        metadata.namespace,
        metadata.name,
    )


def until_it_starves(status: PolecatStatus, now: datetime) -> float | None:
    """Seconds until one that waits goes before every priority; None where it does, or does not wait for a slot."""
    if status.enqueued_at is None:
        return None
    left = AGING_SECONDS - (now - status.enqueued_at).total_seconds()
    return left if left > 0 else None


def age(polecat: Polecat) -> tuple[datetime, str]:
    """Position among those who want the same thing: the oldest first."""
    return polecat.metadata.creation_timestamp or _NO_TIME, polecat.metadata.name


def wants_bead(polecat: Polecat) -> bool:
    """Whether a polecat shall work on its bead and has not ended."""
    return (
        polecat.metadata.deletion_timestamp is None
        and polecat.spec.desired_state is DesiredState.WORKING
        and polecat.status.phase in (PolecatPhase.IDLE, PolecatPhase.WORKING)
    )
