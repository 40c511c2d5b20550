"""What came of an attempt, read off its pod: phase, exit codes and termination messages together (DESIGN §6)."""

import re
from typing import Final

from attrs import evolve, frozen

from gastown_operator.api import labels
from gastown_operator.api.common import OutcomeClass
from gastown_operator.api.core import ContainerStatus, Pod, Terminated
from gastown_operator.controllers.polecat.containers import AGENT, CLONE, GATEWAY, KEEPER
from gastown_operator.controllers.polecat.provider_end import ended_by_provider
from gastown_operator.gateway.failures import CREDENTIAL_MISSING
from gastown_operator.gateway.message import GatewayRecord, ModelOutcome, clean
from gastown_operator.gateway.message import decode as decode_record
from gastown_operator.workload.message import Outcome, TerminationMessage, decode

#: What the API takes as the reason of a condition, and as the name of a commit.
_WORD: Final = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]{0,127}[A-Za-z0-9_])?")
_OBJECT: Final = re.compile("([0-9a-f]{40}|[0-9a-f]{64})?")
_MOST_COMMITS: Final = 2**31
_LONGEST_TEXT: Final = 2048
_OOM_KILLED: Final = "OOMKilled"
#: Reason of a polecat that is stuck because the provider refuses the credential that its rig lends.
RIG_CREDENTIAL_REJECTED: Final = "RigCredentialRejected"
#: Reason of one that is stuck because the provider asks for a credential where its rig names none.
RIG_CREDENTIAL_MISSING: Final = "RigCredentialMissing"
_SETUP_FAILED: Final = "SetupFailed"
_EXIT_CODE: Final = "AgentExitCode"
COMMAND_NOT_FOUND: Final = "AgentCommandNotFound"
_NOT_FOUND: Final = 127  # POSIX shells
_NOT_EXECUTABLE: Final = 126
_DELETED: Final = "PodDeleted"
_INTERRUPTED: Final = "PodInterrupted"
#: How the end of a pod looks that the operator has deleted.
_FROM_OUTSIDE: Final = frozenset({_DELETED, _INTERRUPTED, "Interrupted"})
_FAILED_START: Final = ("StartError", "ContainerCannotRun", "CreateContainerError")

#: What the keeper knows better than the agent's exit code: it has read the gateway's record and the program's own result.
_KEEPER_KNOWS: Final = frozenset(
    {Outcome.AUTH_ERROR, Outcome.BUDGET_EXCEEDED, Outcome.STALLED, Outcome.RESOURCE_EXCEEDED}
)


@frozen
class Conclusion:
    """How an attempt ended.

    Attributes:
        outcome: decides what happens next.
        reason: CamelCase, for the condition.
        message: what happened and what to do, for a person.
        proof: the keeper's message where it shows the pushed commit, or what of the work is where.
        gateway: what the gateway measured; None where there was none, or it left no word.
        ran: whether the agent may have run, and so may have cost something.
    """

    outcome: OutcomeClass
    reason: str
    message: str
    proof: TerminationMessage | None = None
    gateway: GatewayRecord | None = None
    ran: bool = True


def judge(pod: Pod) -> Conclusion:
    """Judge a pod that is terminal. An exit code proves nothing by itself: success needs the keeper's proof."""
    gateway = _terminated(pod.container(GATEWAY))
    record = decode_record(gateway.message) if gateway is not None else None
    found = _judge(pod, record)
    # The programs in a pod do not know its name.
    log = f"kubectl -n {pod.metadata.namespace} logs {pod.metadata.name} "
    judged = evolve(
        found,
        reason=found.reason if _WORD.fullmatch(found.reason) else "Unknown",
        message=clean(found.message.replace("kubectl logs POD ", log), _LONGEST_TEXT),
        gateway=record,
    )
    of_rig = pod.metadata.annotations.get(labels.CREDENTIAL) == "rig"
    if judged.outcome is OutcomeClass.AUTH_ERROR and of_rig:
        missing = judged.reason == CREDENTIAL_MISSING
        return evolve(judged, reason=RIG_CREDENTIAL_MISSING if missing else RIG_CREDENTIAL_REJECTED)
    return judged


def _judge(pod: Pod, record: GatewayRecord | None) -> Conclusion:
    clone = _terminated(pod.container(CLONE))
    if clone is not None and clone.exit_code != 0:
        return evolve(_clone_failed(clone), ran=False)
    agent = _terminated(pod.container(AGENT))
    keeper = _terminated(pod.container(KEEPER))
    word = _word_of(keeper)
    if _evicted_for_own_use(pod):
        # The kubelet gives such a pod no time to save anything.
        kept = _kept(pod, word) or "; what it did since its last checkpoint is lost"
        more = "raise spec.kubernetes.workspace.size or resources.limits.ephemeral-storage"
        text = f"{_of_pod(pod)}{kept}; {more}"
        return Conclusion(OutcomeClass.RESOURCE_EXCEEDED, "EphemeralStorageExceeded", text, word)
    if agent is None:
        return _agent_unknown(pod, word)
    if agent.exit_code == 0:
        # Whatever the pod's phase: a keeper that is an ordinary container and was killed makes it Failed.
        return _agent_succeeded(word)
    if keeper is not None and keeper.exit_code != 0 and word is None:
        return _killed(pod, agent, keeper, record)
    return _agent_failed(pod, agent, word, record)


def _word_of(container: Terminated | None) -> TerminationMessage | None:
    """Its message; none where it says what the API would refuse, and the whole status with it."""
    word = decode(container.message) if container is not None else None
    if word is None or not all(_OBJECT.fullmatch(name) for name in (word.base, word.head)):
        return None
    return word if 0 <= word.commits < _MOST_COMMITS and word.branch.isprintable() else None


def clone_failed(pod: Pod) -> bool:
    """Whether the clone container ran and ended badly, so that the agent never runs."""
    clone = _terminated(pod.container(CLONE))
    return clone is not None and clone.exit_code != 0 and clone.started_at is not None


def paused(pod: Pod | None, conclusion: Conclusion) -> Conclusion:
    """The same of an attempt that the user has ended for now: that its pod was deleted is no accident."""
    said = f"; {conclusion.message}"
    if conclusion.reason in _FROM_OUTSIDE:
        said = _kept(pod, conclusion.proof) if pod is not None else ""
    return evolve(conclusion, reason="Paused", message=f"paused by spec.desiredState: Idle{said}")


def lost() -> Conclusion:
    """Judge an attempt whose pod is gone without a trace."""
    return Conclusion(OutcomeClass.INFRASTRUCTURE, "PodLost", "the pod is gone and its end was not seen")


def _clone_failed(clone: Terminated) -> Conclusion:
    word = _word_of(clone)
    if word is None:
        text = (
            f"the clone container ended with exit status {clone.exit_code} and no readable message; "
            f"see kubectl logs POD -c {CLONE}"
        )
        return Conclusion(OutcomeClass.INFRASTRUCTURE, "CloneFailed", text)
    return Conclusion(_class_of(word.outcome), word.reason, word.message)


def _agent_succeeded(word: TerminationMessage | None) -> Conclusion:
    if word is None:
        text = "the agent ended with exit status 0, but the keeper's message is missing or cut short; the git server is asked"
        return Conclusion(OutcomeClass.INFRASTRUCTURE, "KeeperMessageMissing", text)
    if word.outcome is Outcome.SUCCEEDED and not (word.pushed and word.head and word.commits > 0):
        text = "the keeper reports success without a pushed commit"
        return Conclusion(OutcomeClass.INFRASTRUCTURE, "ProofMissing", text, word)
    if word.outcome is Outcome.INTERRUPTED:
        # The agent's container says 0 and its report says otherwise: the report is the agent's to write, the 0 is not proof.
        text = f"the agent's exit status is 0, but the keeper saw: {word.message}"
        return Conclusion(OutcomeClass.INFRASTRUCTURE, word.reason, text, word)
    return Conclusion(_class_of(word.outcome), word.reason, word.message, word)


def _agent_failed(
    pod: Pod, agent: Terminated, word: TerminationMessage | None, record: GatewayRecord | None
) -> Conclusion:
    kept = _kept(pod, word)
    if agent.reason == _OOM_KILLED:
        text = f"the agent's container ran out of memory{kept}; raise spec.kubernetes.resources.limits.memory"
        return Conclusion(OutcomeClass.RESOURCE_EXCEEDED, _OOM_KILLED, text, word)
    if agent.reason in _FAILED_START or agent.exit_code in (_NOT_FOUND, _NOT_EXECUTABLE):
        said = agent.message or f"exit status {agent.exit_code}"
        text = f"the agent's command cannot be run in its image: {said}; check agentConfig.image and agentConfig.command"
        return Conclusion(OutcomeClass.CONFIG_ERROR, COMMAND_NOT_FOUND, text, word)
    if pod.reason == "DeadlineExceeded" or (word is not None and word.outcome is Outcome.DEADLINE_EXCEEDED):
        text = f"the agent was stopped at its deadline{kept}; raise spec.kubernetes.activeDeadlineSeconds"
        return Conclusion(OutcomeClass.DEADLINE_EXCEEDED, "DeadlineExceeded", text, word)
    if _disrupted(pod) or (word is not None and word.outcome is Outcome.INTERRUPTED):
        return Conclusion(OutcomeClass.INFRASTRUCTURE, _disruption(pod), f"{_of_pod(pod)}{kept}", word)
    if word is not None and word.outcome in _KEEPER_KNOWS:
        return Conclusion(_class_of(word.outcome), word.reason, f"{word.message}{kept}", word)
    ended = ended_by_provider(record) if word is None and record is not None else None
    if ended is not None:
        return Conclusion(*ended)
    unconfigured = record is not None and record.outcome is ModelOutcome.CONFIG
    if (
        word is not None
        and word.outcome is Outcome.CONFIG_ERROR
        and (unconfigured or word.reason == _SETUP_FAILED)
    ):
        return Conclusion(OutcomeClass.CONFIG_ERROR, word.reason, f"{word.message}{kept}", word)
    if word is not None and word.outcome is Outcome.CONFIG_ERROR:
        # The agent failed by itself, and its work could not be delivered besides.
        text = f"the agent ended with exit status {agent.exit_code}, and {word.message}"
        return Conclusion(OutcomeClass.AGENT_ERROR, word.reason, text, word)
    if word is not None and word.outcome is Outcome.AGENT_ERROR and word.reason != _EXIT_CODE:
        return Conclusion(OutcomeClass.AGENT_ERROR, word.reason, f"{word.message}{kept}", word)
    text = (
        f"the agent ended with exit status {agent.exit_code}{kept}; "
        f"its log: kubectl -n {pod.metadata.namespace} logs {pod.metadata.name} -c {AGENT}"
    )
    return Conclusion(OutcomeClass.AGENT_ERROR, _EXIT_CODE, text, word)


def _killed(pod: Pod, agent: Terminated, keeper: Terminated, record: GatewayRecord | None) -> Conclusion:
    """The keeper, whose own exit status is always 0, was killed: then the agent's may be the killer's as well (a machine that failed)."""
    judged = _agent_failed(pod, agent, None, record)
    if (judged.outcome, judged.reason) != (OutcomeClass.AGENT_ERROR, _EXIT_CODE):
        return judged
    text = f"the pod was killed (the agent's exit status is {agent.exit_code}, the keeper's {keeper.exit_code}); the git server is asked"
    return Conclusion(OutcomeClass.INFRASTRUCTURE, _disruption(pod), text)


def _agent_unknown(pod: Pod, word: TerminationMessage | None) -> Conclusion:
    if pod.reason == "DeadlineExceeded":
        text = f"the pod reached its deadline{_kept(pod, word)}; raise spec.kubernetes.activeDeadlineSeconds"
        return Conclusion(OutcomeClass.DEADLINE_EXCEEDED, "DeadlineExceeded", text, word)
    return Conclusion(
        OutcomeClass.INFRASTRUCTURE, _disruption(pod), f"{_of_pod(pod)}{_kept(pod, word)}", word
    )


def _class_of(outcome: Outcome) -> OutcomeClass:
    match outcome:
        case Outcome.INTERRUPTED:
            return OutcomeClass.INFRASTRUCTURE
        case _:
            return OutcomeClass(outcome.value)


def _terminated(status: ContainerStatus | None) -> Terminated | None:
    return status.terminated if status is not None else None


def _disrupted(pod: Pod) -> bool:
    condition = pod.condition("DisruptionTarget")
    ended_from_outside = pod.metadata.deletion_timestamp is not None or pod.reason in (
        "Evicted",
        "NodeLost",
        "Shutdown",
    )
    return ended_from_outside or (condition is not None and condition.status == "True")


def _disruption(pod: Pod) -> str:
    condition = pod.condition("DisruptionTarget")
    if condition is not None and condition.reason:
        return condition.reason
    return pod.reason or (_DELETED if pod.metadata.deletion_timestamp is not None else _INTERRUPTED)


def _evicted_for_own_use(pod: Pod) -> bool:
    """The kubelet's words for a pod over its own limits; pkg/kubelet/eviction/helpers.go and eviction_manager.go."""
    own = (
        "exceeds the total limit of containers",
        "exceeded its local ephemeral storage limit",
        "Usage of EmptyDir volume",
    )
    return pod.reason == "Evicted" and any(text in pod.message for text in own)


def _of_pod(pod: Pod) -> str:
    condition = pod.condition("DisruptionTarget")
    said = (pod.message or (condition.message if condition is not None else "")).strip()
    return f"the pod was ended while the agent was working ({said or _disruption(pod)})"


def _kept(pod: Pod, word: TerminationMessage | None) -> str:
    if word is None:
        return ""
    if word.pushed:
        return f"; its commits are on branch {word.branch}"
    if word.checkpoint:
        ref = pod.metadata.annotations.get(labels.CHECKPOINT, "a checkpoint")
        return f"; its work is kept under {ref} on the git server"
    return ""
