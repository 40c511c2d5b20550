"""What follows from the end of an attempt: done, stuck, terminated, or another attempt."""

from datetime import UTC, date, datetime
from functools import reduce
from typing import Final

from attrs import evolve

from gastown_operator.api import labels
from gastown_operator.api.common import OutcomeClass, Retry
from gastown_operator.api.core import Pod
from gastown_operator.api.polecat import (
    MAX_ATTEMPTS_KEPT,
    Attempt,
    DesiredState,
    Polecat,
    PolecatPhase,
    PolecatStatus,
)
from gastown_operator.api.rig import Rig
from gastown_operator.controllers.polecat.backoff import backoff, infrastructure_failures, retry_backoff
from gastown_operator.controllers.polecat.budget import in_words, own_rest, reservation
from gastown_operator.controllers.polecat.containers import AGENT
from gastown_operator.controllers.polecat.decision import (
    Decision,
    another_round,
    changed_since,
    next_round,
    whole_seconds,
)
from gastown_operator.controllers.polecat.outcome import COMMAND_NOT_FOUND, Conclusion, paused
from gastown_operator.controllers.polecat.spending import added, charge
from gastown_operator.controllers.polecat.status import State, set_pushed

MAXIMUM_INFRASTRUCTURE_ATTEMPTS: Final = 10
DEFAULT_ATTEMPTS: Final = 3
#: From so many in a row on it looks like a mistake in the rig (a mistyped host) rather than an accident.
PERSISTENT_FAILURES: Final = 3


def conclude(
    polecat: Polecat, rig: Rig | None, pod: Pod | None, conclusion: Conclusion, now: datetime
) -> Decision:
    """Record how the attempt ended, once, and decide what follows from it."""
    conclusion = _in_its_own_words(polecat, rig, pod, conclusion)
    status = _with_attempt(polecat, pod, conclusion, now)
    if conclusion.outcome is OutcomeClass.SUCCEEDED:
        return _done(status, conclusion.reason, conclusion.message, now)
    if polecat.spec.desired_state is DesiredState.TERMINATED:
        return _terminated(status, conclusion, now)
    if polecat.spec.desired_state is DesiredState.IDLE and conclusion.outcome is OutcomeClass.INFRASTRUCTURE:
        return _paused(status, conclusion)
    if conclusion.outcome is OutcomeClass.NO_CHANGES and polecat.spec.allow_no_changes:
        return _done(
            status, conclusion.reason, "the agent changed nothing, which spec.allowNoChanges permits", now
        )
    if conclusion.outcome is OutcomeClass.INFRASTRUCTURE:
        return _again(polecat, status, conclusion, now)
    if conclusion.outcome is OutcomeClass.CONFIG_ERROR and changed_since(polecat):
        return next_round(evolve(polecat, status=status))
    if retries_left(polecat, rig, conclusion.outcome):
        return _retry(status, conclusion)
    return _stuck(polecat, status, conclusion.reason, conclusion.message, now)


def _in_its_own_words(
    polecat: Polecat, rig: Rig | None, pod: Pod | None, conclusion: Conclusion
) -> Conclusion:
    """What only the specifications tell: who wanted the end, and whose budget it was."""
    if polecat.spec.desired_state is DesiredState.IDLE and conclusion.outcome is OutcomeClass.INFRASTRUCTURE:
        return paused(pod, conclusion)
    if conclusion.reason == COMMAND_NOT_FOUND:
        return evolve(conclusion, message=f"{conclusion.message}{_shell_line(polecat, rig)}")
    got = (reservation(pod) if pod is not None else None) or polecat.status.reserved
    if conclusion.outcome is not OutcomeClass.BUDGET_EXCEEDED or rig is None or got is None:
        return conclusion
    if got == own_rest(polecat, rig):
        return conclusion
    text = (
        f'the agent used up what this attempt got of the day of Rig "{rig.metadata.name}" ({in_words(got)}: what was left, divided by '
        "the free slots); ask for a retry, raise the Rig's spec.budget, or lower its settings.maxPolecats"
    )
    return evolve(conclusion, message=text)


def _shell_line(polecat: Polecat, rig: Rig | None) -> str:
    """A hint where somebody has taken `command` for a line that a shell takes apart."""
    own = polecat.spec.agent_config.command
    command = own or (rig.spec.defaults.agent_config.command if rig is not None else ())
    if not command or " " not in command[0].strip():
        return ""
    return '; its first word has a space, and a command is no shell line: write ["sh", "-c", "…"], or each word by itself'


def retries_left(polecat: Polecat, rig: Rig | None, outcome: OutcomeClass) -> int:
    """How often `retry`, the polecat's with its rig's defaults, lets it try again after such an outcome."""
    own = polecat.spec.retry
    default = rig.spec.defaults.retry if rig is not None else Retry()
    classes = own.classes or default.classes
    attempts = own.max_attempts or default.max_attempts or DEFAULT_ATTEMPTS
    if outcome.value not in {chosen.value for chosen in classes}:
        return 0
    return max(0, attempts - 1 - (polecat.status.retries or 0))


def _terminated(status: PolecatStatus, conclusion: Conclusion, now: datetime) -> Decision:
    state = State(
        phase=PolecatPhase.TERMINATED,
        reason="Terminated",
        message=f"stopped by spec.desiredState; {conclusion.message}",
        ready=True,
        event="Normal",
    )
    return Decision(state, evolve(status, finished_at=whole_seconds(now)))


def _paused(status: PolecatStatus, conclusion: Conclusion) -> Decision:
    """The user stopped it for now: the next attempt, when it is wanted, starts from what is saved."""
    state = State(
        phase=PolecatPhase.IDLE,
        reason="Idle",
        message=f"{conclusion.message}; set it to Working to go on",
        ready=True,
        event="Normal",
    )
    number = (status.attempt or 1) + 1
    # From here on it is a new request: what ended the attempt is no failure to count.
    return Decision(state, evolve(status, attempt=number, first_attempt=number, enqueued_at=None))


def _retry(status: PolecatStatus, conclusion: Conclusion) -> Decision:
    """`spec.retry` asks for another attempt, from what is saved, after a delay."""
    retries = (status.retries or 0) + 1
    state = State(
        phase=PolecatPhase.IDLE,
        reason=conclusion.reason,
        message=f"{conclusion.message}; spec.retry has it try again, from what is saved, after a delay",
        progressing=True,
        queued=True,
        event="Warning",
    )
    return Decision(
        state, evolve(another_round(status), retries=retries), requeue_after=retry_backoff(retries)
    )


def _with_attempt(polecat: Polecat, pod: Pod | None, conclusion: Conclusion, now: datetime) -> PolecatStatus:
    status = polecat.status
    agent = pod.container(AGENT) if pod is not None else None
    ended = agent.terminated if agent is not None else None
    reserved = (reservation(pod) if pod is not None else None) or status.reserved
    usage = charge(conclusion.gateway, reserved if conclusion.ran else None)
    attempt = Attempt(
        pod_uid=pod.metadata.uid if pod is not None else "",
        number=status.attempt or 1,
        outcome=conclusion.outcome,
        reason=conclusion.reason,
        started_at=ended.started_at if ended is not None else None,
        finished_at=_end(pod) or whole_seconds(now),
        usage=usage,
    )
    status = evolve(
        status,
        round=status.round or 1,
        attempt=status.attempt or 1,
        first_attempt=status.first_attempt or status.attempt or 1,
        attempts=_kept((*status.attempts, attempt)),
        pod_name=pod.metadata.name if pod is not None else status.pod_name,
        pod_active=False,
        reserved=None,
        usage=added(status.usage, usage),
        started_at=status.started_at or attempt.started_at,
    )
    return _with_proof(polecat, status, conclusion, now)


def _kept(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """The latest ones; what is not listed any more had its cost, which the rig's budget of the day still counts."""
    kept, dropped = attempts[-MAX_ATTEMPTS_KEPT:], attempts[:-MAX_ATTEMPTS_KEPT]
    first = kept[0]
    same_day = (each.usage for each in dropped if _day(each) == _day(first))
    return (evolve(first, usage=reduce(added, same_day, first.usage)), *kept[1:])


def _day(attempt: Attempt) -> date | None:
    return attempt.finished_at.astimezone(UTC).date() if attempt.finished_at is not None else None


def _end(pod: Pod | None) -> datetime | None:
    """When the last of its containers ended; the keeper may take longer than the agent."""
    statuses = (*pod.init_container_statuses, *pod.container_statuses) if pod is not None else ()
    ends = [status.terminated.finished_at for status in statuses if status.terminated is not None]
    return max((end for end in ends if end is not None), default=None)


def _with_proof(
    polecat: Polecat, status: PolecatStatus, conclusion: Conclusion, now: datetime
) -> PolecatStatus:
    proof = conclusion.proof
    if proof is None:
        return status
    pushed = proof.pushed and proof.commits > 0
    message = (
        f"{proof.head[:12]} is on branch {proof.branch}"
        if pushed
        else "nothing was pushed to the branch; status.attempts has how that attempt ended"
    )
    return evolve(
        status,
        branch=proof.branch or status.branch,
        base_commit=proof.base or None,
        head_commit=proof.head if pushed else None,
        commits=proof.commits,
        conditions=set_pushed(
            status.conditions,
            pushed=pushed,
            reason="Pushed" if pushed else conclusion.reason,
            message=message,
            generation=polecat.metadata.generation,
            now=now,
        ),
    )


def _done(status: PolecatStatus, reason: str, message: str, now: datetime) -> Decision:
    if status.head_commit:
        commits = "1 commit" if status.commits == 1 else f"{status.commits} commits"
        message = f"{message}: {commits} on branch {status.branch}, at {status.head_commit[:12]}"
    state = State(
        phase=PolecatPhase.DONE,
        reason="Done" if reason == "Succeeded" else reason,
        message=message,
        ready=True,
        event="Normal",
    )
    return Decision(state, evolve(status, finished_at=whole_seconds(now)))


def _stuck(polecat: Polecat, status: PolecatStatus, reason: str, message: str, now: datetime) -> Decision:
    metadata = polecat.metadata
    where = ", from where it ended" if status.started_at is not None else ""  # where its agent ran
    text = (
        f"{message}. To try again{where}: change the Polecat, or kubectl -n {metadata.namespace} annotate polecat "
        f'{metadata.name} --overwrite {labels.RETRY}="$(date +%s)"'
    )
    state = State(phase=PolecatPhase.STUCK, reason=reason, message=text, degraded=True, event="Warning")
    return Decision(state, evolve(status, finished_at=whole_seconds(now)))


def _again(polecat: Polecat, status: PolecatStatus, conclusion: Conclusion, now: datetime) -> Decision:
    """Nobody's fault: a new attempt from the checkpoint, after a delay, but not for ever."""
    failed = infrastructure_failures(status)
    if failed >= MAXIMUM_INFRASTRUCTURE_ATTEMPTS:
        text = f"{failed} attempts in a row were ended by the infrastructure, see status.attempts; the last one: {conclusion.message}"
        return _stuck(polecat, status, "InfrastructureFailures", text, now)
    delay = backoff(failed)
    state = State(
        phase=PolecatPhase.IDLE,
        reason=conclusion.reason,
        # Without the delay, so that the same cause is the same Event.
        message=f"{conclusion.message}; another attempt starts from what is saved, after a delay",
        progressing=True,
        degraded=failed >= PERSISTENT_FAILURES,
        queued=True,
        event="Warning",
    )
    status = evolve(status, attempt=(polecat.status.attempt or 1) + 1)
    return Decision(state, status, requeue_after=delay)
