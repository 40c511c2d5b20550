"""How the agent ended, by all that is known of it together: an exit status alone proves nothing (facts of the real programs)."""

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from gastown_operator.agents.result import AgentResult
from gastown_operator.gateway.failures import CREDENTIAL_MISSING, UNREACHABLE
from gastown_operator.gateway.message import GatewayRecord, ModelOutcome, clean
from gastown_operator.workload.message import Outcome
from gastown_operator.workload.wrapper_report import WrapperReport

DISK_FULL: Final = "DiskFull"
"""The reason where a volume of the pod has no room left."""
MORE_ROOM: Final = "leave large files out of git (.gitignore), or give the pod more ephemeral storage"
NAME_CREDENTIAL: Final = (
    "set spec.providers[].secretRef of the Rig, or spec.agentConfig.modelProvider.apiKeySecretRef"
)
CHECK_THE_PROVIDER: Final = "check spec.providers[] of the Rig (endpoint, secretRef.name and key), agentConfig.modelProvider, and the Secret"
CHECK_THE_ENDPOINT: Final = "check spec.providers[].endpoint of the Rig"
_SILENT: Final = AgentResult(finished=None, failed=False, reason="", message="")
_LOG: Final = "kubectl logs POD -c agent"
_MAXIMUM_TEXT: Final = 200


@attrs.frozen
class Evidence:
    """What is known when the agent has ended.

    Attributes:
        report: the wrapper's report.
        cause: why the agent was asked to stop: `deadline`, `idle`, `budget`; empty if it was not.
        result: what the agent's program itself says.
        gateway: how the model's provider answered; None without a gateway, or without its record.
        full: volumes without any room left.
    """

    report: WrapperReport
    cause: str = ""
    result: AgentResult = _SILENT
    gateway: GatewayRecord | None = None
    full: Sequence[str] = ()

    @property
    def model(self) -> ModelOutcome:
        """How the last request to the model ended."""
        return self.gateway.outcome if self.gateway is not None else ModelOutcome.NONE

    @property
    def failed(self) -> bool:
        """Whether the agent failed by its exit status, or says so."""
        return self.report.code != 0 or self.result.failed or self.result.finished is False


@attrs.frozen
class AgentEnd:
    """The judgement.

    Attributes:
        outcome: the outcome, where the delivery of the work does not change it.
        reason: CamelCase reason for a condition.
        text: what happened and what to do next, for a person.
    """

    outcome: Outcome
    reason: str
    text: str

    @property
    def succeeded(self) -> bool:
        """Whether the agent did what it was asked: only then uncommitted changes are committed, and the round is done."""
        return self.outcome is Outcome.SUCCEEDED

    def on_full_disk(self) -> "AgentEnd":
        """The end of an agent whose work could not all be stored: neither a success nor the agent's own failure."""
        if self.outcome not in (Outcome.SUCCEEDED, Outcome.AGENT_ERROR):
            return self
        text = f"{self.text}; the keeper's volume is full, so not all of its work could be saved; {MORE_ROOM}"
        return AgentEnd(Outcome.RESOURCE_EXCEEDED, DISK_FULL, text)


def judge(evidence: Evidence) -> AgentEnd:
    """The first of these that applies; what a person can change comes before what only happened because of it.

    1. The budget is used up (it was refused to the agent last, or the agent was stopped for it).
    2. The provider refuses the credential, or the gateway cannot use it: stopping such an agent late changes nothing of that.
    3. The agent was stopped at its deadline, or because it did nothing.
    4. The container was told to end, or ended without a report: somebody else's doing, unless a volume is full.
    5. The provider's last answer was a failure, whatever the agent made of it.
    6. A volume is full, and the agent failed or could not be set up.
    7. The user's files could not be copied, or the setup command failed.
    8. The program says itself that it failed, or that it is not finished.
    9. The exit status is not 0.
    10. Else it succeeded.
    """
    for rule in _RULES:
        end = rule(evidence)
        if end is not None:
            return end
    denied = f"; it was denied {_quoted(evidence)}" if evidence.result.reason == "PermissionDenied" else ""
    return AgentEnd(Outcome.SUCCEEDED, "Succeeded", f"the agent ended with exit status 0{denied}")


def _budget(evidence: Evidence) -> AgentEnd | None:
    stopped_for_it = evidence.cause == "budget" or (evidence.gateway and evidence.gateway.stopped == "budget")
    if evidence.model is not ModelOutcome.BUDGET and (evidence.report.clean or not stopped_for_it):
        return None
    text = f"the agent was stopped at its budget{_said(evidence)}; raise spec.budget and ask for a retry"
    return AgentEnd(Outcome.BUDGET_EXCEEDED, "BudgetExceeded", text)


def _credential(evidence: Evidence) -> AgentEnd | None:
    if evidence.cause == "" and _told_to_end(evidence) is not None:
        return None
    if evidence.model is ModelOutcome.AUTH and _reason(evidence) == CREDENTIAL_MISSING:
        text = f"the agent cannot use its model{_said(evidence)}; {NAME_CREDENTIAL}"
        return AgentEnd(Outcome.AUTH_ERROR, CREDENTIAL_MISSING, text)
    if evidence.model is ModelOutcome.AUTH:
        text = f"the model's provider refuses the credential{_said(evidence)}; renew the Secret and ask for a retry"
        return AgentEnd(Outcome.AUTH_ERROR, "InvalidCredential", text)
    if evidence.gateway is not None and evidence.model is ModelOutcome.CONFIG:
        text = f"the gateway cannot reach the model's provider as it is configured{_said(evidence)}; {CHECK_THE_PROVIDER}"
        return AgentEnd(Outcome.CONFIG_ERROR, evidence.gateway.reason or "ModelConfiguration", text)
    return None


def _stopped(evidence: Evidence) -> AgentEnd | None:
    if evidence.report.clean:
        return None
    if evidence.cause == "deadline":
        text = "the agent was stopped at its deadline; raise spec.kubernetes.activeDeadlineSeconds"
        return AgentEnd(Outcome.DEADLINE_EXCEEDED, "DeadlineExceeded", text + _trouble(evidence))
    if evidence.cause == "idle":
        text = (
            "the agent was stopped because it did nothing for spec.maxIdleSeconds: it printed nothing, changed no file, asked no "
            f"model and used no CPU; see its log ({_LOG})"
        )
        return AgentEnd(Outcome.STALLED, "Stalled", text + _trouble(evidence))
    return None


def _told_to_end(evidence: Evidence) -> AgentEnd | None:
    if evidence.report.stopped:
        text = "the pod was told to end while the agent was working"
        return AgentEnd(Outcome.INTERRUPTED, "Interrupted", text)
    if evidence.report.code is None and not evidence.full:
        text = "the agent's wrapper left no report: its container was killed or never started"
        return AgentEnd(Outcome.INTERRUPTED, "AgentEndUnknown", text)
    return None


_PROVIDER: Final = {
    ModelOutcome.RATE_LIMITED: (
        "RateLimited",
        "the model's provider limits how much may be asked",
        "run fewer polecats at once (maxPolecats of the rig) or raise the provider's limit, and ask for a retry",
    ),
    ModelOutcome.UNAVAILABLE: (
        "ModelUnavailable",
        "the model's provider could not be used",
        "ask for a retry when it is back",
    ),
    ModelOutcome.REFUSED: (
        "ModelRefused",
        "the model's provider refused what the agent asked",
        "check agentConfig.model and agentConfig.modelProvider",
    ),
}


def _provider(evidence: Evidence) -> AgentEnd | None:
    if evidence.model not in _PROVIDER:
        return None
    reason, what, step = _PROVIDER[evidence.model]
    if _reason(evidence) == UNREACHABLE:
        step = f"{CHECK_THE_ENDPOINT}, or {step}"
    return AgentEnd(Outcome.AGENT_ERROR, reason, f"{what}{_said(evidence)}; {step}")


def _disk(evidence: Evidence) -> AgentEnd | None:
    if not evidence.full or not evidence.failed:
        return None
    how = "ended without a report" if evidence.report.code is None else f"ended with {evidence.report.code}"
    text = f"no room is left in {', '.join(evidence.full)}, and the agent {how}; raise spec.kubernetes.resources or use a larger volume"
    return AgentEnd(Outcome.RESOURCE_EXCEEDED, DISK_FULL, text)


def _setup(evidence: Evidence) -> AgentEnd | None:
    match evidence.report.setup:
        case "":
            return None
        case "copy":
            what = "the files of agentConfig.configMapRef could not be copied to the agent's home"
        case status:
            what = f"spec.setupCommand ended with exit status {status}"
    text = f"{what}, so the agent was not started; see its output: {_LOG}"
    return AgentEnd(Outcome.CONFIG_ERROR, "SetupFailed", text)


def _program(evidence: Evidence) -> AgentEnd | None:
    result = evidence.result
    if not result.failed and result.finished is not False:
        return None
    said = _quoted(evidence)
    what = "says that it failed" if result.failed else "ended before it was finished"
    text = f"the agent {what}{f': {said}' if said else ''} (exit status {evidence.report.code}); see its log: {_LOG}"
    return AgentEnd(Outcome.AGENT_ERROR, "AgentFailed", text)


def _status(evidence: Evidence) -> AgentEnd | None:
    if evidence.report.code == 0:
        return None
    text = f"the agent ended with exit status {evidence.report.code}; see its log: {_LOG}"
    return AgentEnd(Outcome.AGENT_ERROR, "AgentExitCode", text)


_RULES: Final[Sequence[Callable[[Evidence], AgentEnd | None]]] = (
    _budget,
    _credential,
    _stopped,
    _told_to_end,
    _provider,
    _disk,
    _setup,
    _program,
    _status,
)


def _quoted(evidence: Evidence) -> str:
    """The program's own words."""
    return clean(evidence.result.message, _MAXIMUM_TEXT)


def _reason(evidence: Evidence) -> str:
    """The gateway's word for how the last request ended."""
    return evidence.gateway.reason if evidence.gateway is not None else ""


def _said(evidence: Evidence) -> str:
    """The gateway's words, where it has any."""
    message = evidence.gateway.message if evidence.gateway is not None else ""
    return f": {clean(message, _MAXIMUM_TEXT)}" if message else ""


def _trouble(evidence: Evidence) -> str:
    """What the provider may have to do with an end that it did not decide."""
    if evidence.model not in _PROVIDER:
        return ""
    return f"; before that, {_PROVIDER[evidence.model][1]}{_said(evidence)}"
