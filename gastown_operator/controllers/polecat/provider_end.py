"""How the model's provider ended an attempt, by the gateway's record alone: the keeper could not say anything any more."""

from collections.abc import Mapping
from typing import Final

from gastown_operator.api.common import OutcomeClass
from gastown_operator.gateway.failures import CREDENTIAL_MISSING
from gastown_operator.gateway.message import GatewayRecord, ModelOutcome
from gastown_operator.workload.agent_end import CHECK_THE_ENDPOINT, CHECK_THE_PROVIDER, NAME_CREDENTIAL

_CLASSES: Final[Mapping[ModelOutcome, tuple[OutcomeClass, str, str]]] = {
    ModelOutcome.AUTH: (OutcomeClass.AUTH_ERROR, "InvalidCredential", "renew the Secret"),
    ModelOutcome.BUDGET: (OutcomeClass.BUDGET_EXCEEDED, "BudgetExceeded", "raise spec.budget"),
    ModelOutcome.RATE_LIMITED: (
        OutcomeClass.AGENT_ERROR,
        "RateLimited",
        "run fewer polecats at once (settings.maxPolecats of the Rig), or raise the provider's limit",
    ),
    ModelOutcome.UNAVAILABLE: (
        OutcomeClass.AGENT_ERROR,
        "ModelUnavailable",
        f"wait until it is back, or {CHECK_THE_ENDPOINT}",
    ),
    ModelOutcome.REFUSED: (
        OutcomeClass.AGENT_ERROR,
        "ModelRefused",
        "check agentConfig.model and agentConfig.modelProvider",
    ),
    ModelOutcome.CONFIG: (
        OutcomeClass.CONFIG_ERROR,
        "ModelConfiguration",
        CHECK_THE_PROVIDER,
    ),
}


def ended_by_provider(record: GatewayRecord) -> tuple[OutcomeClass, str, str] | None:
    """Class, reason and message; None where the provider did not end it."""
    if record.outcome not in _CLASSES:
        return None
    outcome, reason, step = _CLASSES[record.outcome]
    if record.outcome is ModelOutcome.AUTH and record.reason == CREDENTIAL_MISSING:
        reason, step = CREDENTIAL_MISSING, NAME_CREDENTIAL
    return outcome, reason, f"the model's provider ended the work: {record.message}; {step}"
