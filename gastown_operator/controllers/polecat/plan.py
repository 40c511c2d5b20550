"""What to do about a polecat: pure, and in the order in which a person would tell it.

Gone or ending? Ended for good? Not wanted? Refused? Its pod: ended, ending, running, starting, stuck. No pod: its turn, or waiting.
"""

from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, frozen

from gastown_operator.api import labels
from gastown_operator.api.agentconfig import Agent
from gastown_operator.api.common import OutcomeClass
from gastown_operator.api.conditions import get_condition, is_true
from gastown_operator.api.core import POD, Pod, PodPhase
from gastown_operator.api.polecat import (
    MAX_ATTEMPTS_KEPT,
    Attempt,
    DesiredState,
    Polecat,
    PolecatPhase,
    PolecatStatus,
)
from gastown_operator.controllers.polecat import outcome
from gastown_operator.controllers.polecat.observe import Observed
from gastown_operator.controllers.polecat.outcome import Conclusion
from gastown_operator.controllers.polecat.pod import AGENT, build_pod
from gastown_operator.controllers.polecat.resolve import RefusedError, Resolved, resolve
from gastown_operator.controllers.polecat.status import (
    DEGRADED,
    READY,
    State,
    describe,
    events,
    set_pushed,
    written,
)
from gastown_operator.controllers.settings import OperatorSettings
from gastown_operator.runtime.errors import Forbidden
from gastown_operator.runtime.execution import NotOurs
from gastown_operator.runtime.plan import Action, Create, Delete, Plan

MAXIMUM_INFRASTRUCTURE_ATTEMPTS: Final = 10
_BACKOFF_BASE: Final = 10.0
_BACKOFF_CAP: Final = 300.0
#: A quota becomes free without an event that we watch.
_QUOTA_RETRY: Final = 30.0


@frozen
class Decision:
    """A state to tell (None: the stored one still holds), with what else changes in the status and what is done."""

    state: State | None
    status: PolecatStatus
    actions: tuple[Action, ...] = ()
    requeue_after: float | None = None


def plan(observed: Observed, settings: OperatorSettings, now: datetime) -> Plan:
    """Return the actions, the status if it differs from the stored one, and the events that tell of the change."""
    polecat = observed.polecat
    if polecat.metadata.deletion_timestamp is not None:
        return Plan()  # its pod goes with it, after the keeper's last push
    decision = _decide(observed, settings, now)
    if decision.state is None:
        return Plan(actions=decision.actions, requeue_after=decision.requeue_after)
    after = describe(polecat, decision.status, decision.state, now)
    return Plan(
        actions=decision.actions,
        status=written(polecat.status, after),
        events=events(polecat.status, after, decision.state),
        requeue_after=decision.requeue_after,
    )


def _decide(observed: Observed, settings: OperatorSettings, now: datetime) -> Decision:
    polecat, pod = observed.polecat, observed.pod
    if polecat.status.finished_at is not None:
        return _ended(observed)
    if pod is not None and pod.phase.terminal:
        return _conclude(polecat, pod, _of_ended_pod(polecat, pod), now)
    if polecat.spec.desired_state is DesiredState.TERMINATED:
        return _terminate(observed, now)
    if pod is not None:
        return _follow(polecat, pod, settings, now)
    if polecat.status.pod_active:
        return _conclude(polecat, None, _of_vanished_pod(polecat), now)
    if polecat.spec.desired_state is DesiredState.IDLE:
        return _idle(polecat)
    return _start(observed, settings, now)


def _ended(observed: Observed) -> Decision:
    """The work ended and that is recorded: nothing starts again by itself; what is said stays as it is."""
    polecat = observed.polecat
    state = _recorded(polecat)
    if polecat.status.phase is PolecatPhase.STUCK and _changed_since(polecat):
        return _next_round(polecat)
    status = polecat.status
    if status.pod_active and (observed.pod is None or observed.pod.phase.terminal):
        status = evolve(status, pod_active=False)
    return Decision(state, status)


def _changed_since(polecat: Polecat) -> bool:
    """Whether the spec was changed after the state was told."""
    ready = get_condition(polecat.status.conditions, READY)
    return ready is not None and (ready.observed_generation or 0) < polecat.metadata.generation


def _next_round(polecat: Polecat) -> Decision:
    """The user changed something about a polecat that was stuck: try again, from where the last round ended."""
    status = polecat.status
    state = State(
        phase=PolecatPhase.IDLE,
        reason="Retrying",
        message="the Polecat was changed; trying again",
        progressing=True,
    )
    fresh = evolve(
        status,
        round=(status.round or 1) + 1,
        attempt=(status.attempt or 1) + 1,
        finished_at=None,
        started_at=None,
    )
    return Decision(state, fresh)


def _recorded(polecat: Polecat) -> State:
    """The state that the stored status tells."""
    ready = get_condition(polecat.status.conditions, READY)
    return State(
        phase=polecat.status.phase,
        reason=ready.reason if ready is not None else str(polecat.status.phase),
        message=ready.message if ready is not None else "",
        ready=is_true(polecat.status.conditions, READY),
        degraded=is_true(polecat.status.conditions, DEGRADED),
    )


def _terminate(observed: Observed, now: datetime) -> Decision:
    """The user wants it to stop: the pod gets its grace, in which the keeper pushes."""
    polecat, pod = observed.polecat, observed.pod
    if pod is not None:
        state = State(
            phase=PolecatPhase.WORKING,
            reason="Terminating",
            message="its pod is ending; its work is being pushed",
            progressing=True,
        )
        return Decision(state, evolve(polecat.status, pod_active=True), _deletion(pod))
    state = State(
        phase=PolecatPhase.TERMINATED,
        reason="Terminated",
        message="spec.desiredState is Terminated",
        ready=True,
        event="Normal",
    )
    return Decision(state, evolve(polecat.status, pod_active=False, finished_at=_seconds(now)))


def _idle(polecat: Polecat) -> Decision:
    state = State(
        phase=PolecatPhase.IDLE,
        reason="Idle",
        message="spec.desiredState is Idle; set it to Working to start",
        ready=True,
    )
    return Decision(state, polecat.status)


def _follow(polecat: Polecat, pod: Pod, settings: OperatorSettings, now: datetime) -> Decision:
    """Its pod is there and has not ended."""
    status = _with_pod(polecat, pod)
    if pod.metadata.deletion_timestamp is not None and status.phase is not PolecatPhase.STUCK:
        return _ending(status)
    if pod.phase is PodPhase.RUNNING:
        return _working(pod, status)
    if _told_that_it_cannot_start(polecat) and _changed_since(polecat):
        return Decision(None, status, _deletion(pod))  # the change is for the next round's pod
    problem = _start_problem(polecat, pod)
    if problem is not None:
        return _cannot_start(pod, status, problem, settings, now)
    return _starting(pod, status)


def _with_pod(polecat: Polecat, pod: Pod) -> PolecatStatus:
    """What the pod of the attempt says about it."""
    noted = pod.metadata.annotations
    agent = noted.get(labels.AGENT)
    return evolve(
        polecat.status,
        assigned_bead=polecat.spec.bead_id,
        branch=noted.get(labels.BRANCH, polecat.status.branch),
        pod_name=pod.metadata.name,
        pod_active=True,
        agent=Agent(agent) if agent in set(Agent) else None,
        agent_image=next((container.image for container in pod.containers if container.name == AGENT), ""),
        agent_model=noted.get(labels.MODEL, ""),
        round=polecat.status.round or 1,
        attempt=polecat.status.attempt or 1,
    )


def _ending(status: PolecatStatus) -> Decision:
    state = State(
        phase=PolecatPhase.WORKING,
        reason="PodEnding",
        message="its pod is being deleted; its work is being pushed",
        progressing=True,
    )
    return Decision(state, status)


def _of_ended_pod(polecat: Polecat, pod: Pod) -> Conclusion:
    """Its pod is terminal: the agent ended, or it never ran and the pod was deleted because it could not start."""
    return _of_vanished_pod(polecat) if _never_started(polecat, pod) else outcome.conclude(pod)


def _never_started(polecat: Polecat, pod: Pod) -> bool:
    return _told_that_it_cannot_start(polecat) and not (_agent_ran(pod) or outcome.clone_failed(pod))


def _agent_ran(pod: Pod) -> bool:
    status = pod.container(AGENT)
    # The kubelet calls a container that never was terminated too, but knows no start of it.
    return status is not None and status.terminated is not None and status.terminated.started_at is not None


def _of_vanished_pod(polecat: Polecat) -> Conclusion:
    """Its pod is gone without an end that was seen: deleted because it could not start, or lost."""
    if not _told_that_it_cannot_start(polecat):
        return outcome.lost()
    told = _recorded(polecat)
    return Conclusion(OutcomeClass.CONFIG_ERROR, told.reason, told.message)


def _told_that_it_cannot_start(polecat: Polecat) -> bool:
    """Whether the stored status says of its pod, which is there or was, that it cannot start."""
    return polecat.status.phase is PolecatPhase.STUCK and polecat.status.pod_active


def _working(pod: Pod, status: PolecatStatus) -> Decision:
    agent = pod.container(AGENT)
    started = agent.running.started_at if agent is not None and agent.running is not None else None
    if status.started_at is None and started is not None:
        status = evolve(status, started_at=started)
    state = State(
        phase=PolecatPhase.WORKING,
        reason="Working",
        message=f"the agent is working in pod {pod.metadata.name}",
        ready=True,
        available=True,
        progressing=True,
    )
    return Decision(state, status)


def _starting(pod: Pod, status: PolecatStatus) -> Decision:
    reason, message = "PodStarting", f"pod {pod.metadata.name} is starting"
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and scheduled.status == "False" and scheduled.reason:
        # Unschedulable, SchedulingGated: a wait, not a failure; the scheduler's words say for what.
        reason, message = scheduled.reason, f"pod {pod.metadata.name} waits for a node: {scheduled.message}"
    return Decision(State(phase=PolecatPhase.IDLE, reason=reason, message=message, progressing=True), status)


def _start_problem(polecat: Polecat, pod: Pod) -> State | None:
    """What keeps its pod from starting, as it was first told: that the kubelet tries again and again is no news."""
    problem = outcome.cannot_start(pod)
    told = _recorded(polecat)
    if _told_that_it_cannot_start(polecat) and (problem is None or problem[0] == told.reason):
        return told
    if problem is None:
        return None
    reason, message = problem
    return State(
        phase=PolecatPhase.STUCK,
        reason=reason,
        message=f"{message}. Correct it while the pod waits, or change the Polecat",
        degraded=True,
        event="Warning",
    )


def _cannot_start(
    pod: Pod, status: PolecatStatus, state: State, settings: OperatorSettings, now: datetime
) -> Decision:
    """Say at once what is wrong; the kubelet goes on trying, and after a while the pod gives its slot back."""
    created = pod.metadata.creation_timestamp or now
    left = settings.start_timeout - (now - created).total_seconds()
    if left > 0 and pod.metadata.deletion_timestamp is None:
        return Decision(state, status, requeue_after=left)
    return Decision(state, status, _deletion(pod))


def _deletion(pod: Pod) -> tuple[Action, ...]:
    """Delete the pod, unless somebody has."""
    return () if pod.metadata.deletion_timestamp else (Delete(POD, pod.metadata.key, pod.metadata.uid),)


def _conclude(polecat: Polecat, pod: Pod | None, conclusion: Conclusion, now: datetime) -> Decision:
    """Record how the attempt ended, once, and decide what follows from it."""
    status = _with_attempt(polecat, pod, conclusion, now)
    if (
        polecat.spec.desired_state is DesiredState.TERMINATED
        and conclusion.outcome is not OutcomeClass.SUCCEEDED
    ):
        state = State(
            phase=PolecatPhase.TERMINATED,
            reason="Terminated",
            message=f"stopped by spec.desiredState; {conclusion.message}",
            ready=True,
            event="Normal",
        )
        return Decision(state, evolve(status, finished_at=_seconds(now)))
    if conclusion.outcome is OutcomeClass.SUCCEEDED:
        return _done(status, conclusion.reason, conclusion.message, now)
    if conclusion.outcome is OutcomeClass.NO_CHANGES and polecat.spec.allow_no_changes:
        return _done(
            status, conclusion.reason, "the agent changed nothing, which spec.allowNoChanges permits", now
        )
    if conclusion.outcome is OutcomeClass.INFRASTRUCTURE:
        return _again(polecat, status, conclusion, now)
    if conclusion.outcome is OutcomeClass.CONFIG_ERROR and _changed_since(polecat):
        return _next_round(evolve(polecat, status=status))
    return _stuck(status, conclusion.reason, conclusion.message, now)


def _with_attempt(polecat: Polecat, pod: Pod | None, conclusion: Conclusion, now: datetime) -> PolecatStatus:
    status = polecat.status
    agent = pod.container(AGENT) if pod is not None else None
    ended = agent.terminated if agent is not None else None
    attempt = Attempt(
        pod_uid=pod.metadata.uid if pod is not None else "",
        outcome=conclusion.outcome,
        reason=conclusion.reason,
        started_at=ended.started_at if ended is not None else None,
        finished_at=(ended.finished_at if ended is not None else None) or _seconds(now),
    )
    status = evolve(
        status,
        round=status.round or 1,
        attempt=status.attempt or 1,
        attempts=(*status.attempts, attempt)[-MAX_ATTEMPTS_KEPT:],
        pod_name=pod.metadata.name if pod is not None else status.pod_name,
        pod_active=False,
        started_at=status.started_at or attempt.started_at,
    )
    return _with_proof(polecat, status, conclusion, now)


def _with_proof(
    polecat: Polecat, status: PolecatStatus, conclusion: Conclusion, now: datetime
) -> PolecatStatus:
    proof = conclusion.proof
    if proof is None:
        return status
    pushed = proof.pushed and proof.commits > 0
    message = f"{proof.head[:12]} is on branch {proof.branch}" if pushed else conclusion.message
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
    return Decision(state, evolve(status, finished_at=_seconds(now)))


def _stuck(status: PolecatStatus, reason: str, message: str, now: datetime) -> Decision:
    state = State(phase=PolecatPhase.STUCK, reason=reason, message=message, degraded=True, event="Warning")
    return Decision(state, evolve(status, finished_at=_seconds(now)))


def _again(polecat: Polecat, status: PolecatStatus, conclusion: Conclusion, now: datetime) -> Decision:
    """Nobody's fault: a new attempt from the checkpoint, after a delay, but not for ever."""
    failed = _infrastructure_failures(status)
    if failed >= MAXIMUM_INFRASTRUCTURE_ATTEMPTS:
        text = f"{failed} attempts in a row were ended by the infrastructure, the last one because {conclusion.message}"
        return _stuck(status, "InfrastructureFailures", text, now)
    delay = _backoff(failed)
    state = State(
        phase=PolecatPhase.IDLE,
        reason=conclusion.reason,
        message=f"{conclusion.message}; another attempt starts from the last checkpoint in {delay:.0f} s",
        progressing=True,
        queued=True,
        event="Warning",
    )
    status = evolve(status, attempt=(polecat.status.attempt or 1) + 1)
    return Decision(state, status, requeue_after=delay)


def _infrastructure_failures(status: PolecatStatus) -> int:
    count = 0
    for attempt in reversed(status.attempts):
        if attempt.outcome is not OutcomeClass.INFRASTRUCTURE:
            break
        count += 1
    return count


def _backoff(failures: int) -> float:
    return min(_BACKOFF_BASE * 2.0 ** max(0, failures - 1), _BACKOFF_CAP)


def _start(observed: Observed, settings: OperatorSettings, now: datetime) -> Decision:
    """It shall work and has no pod: it is its turn, it waits, or it is refused."""
    polecat = observed.polecat
    if observed.rig is None:
        text = (
            f'there is no Rig "{polecat.spec.rig}"; create it, or recreate the Polecat with another spec.rig'
        )
        state = State(phase=PolecatPhase.IDLE, reason="RigNotFound", message=text, event="Warning")
        return Decision(state, polecat.status)
    try:
        resolved = resolve(polecat, observed.rig, settings)
    except RefusedError as refused:
        return _refused(polecat, refused.reason, refused.message)
    if observed.refusal is not None:
        return _not_created(polecat, observed)
    waiting = _backoff_left(polecat, now)
    if waiting > 0:
        return Decision(None, polecat.status, requeue_after=waiting)
    if observed.name_taken_by is not None:
        text = f"pod {observed.name_taken_by.metadata.name} of a former Polecat is still there; waiting for its end"
        return _queued(polecat, "PodNameInUse", text)
    if observed.verdict.wait is not None:
        return _queued(polecat, observed.verdict.wait.value, observed.verdict.message, now=now)
    return _create(polecat, resolved, settings)


def _create(polecat: Polecat, resolved: Resolved, settings: OperatorSettings) -> Decision:
    """Create the pod; the status is written when the pod is seen, which saves a write."""
    body = build_pod(polecat, resolved, settings)
    return Decision(None, polecat.status, (Create(POD, body),))


def _queued(polecat: Polecat, reason: str, message: str, now: datetime | None = None) -> Decision:
    state = State(
        phase=PolecatPhase.IDLE, reason=reason, message=message, progressing=True, queued=True, event="Normal"
    )
    status = polecat.status
    if now is not None and status.enqueued_at is None:
        status = evolve(status, enqueued_at=_seconds(now))
    return Decision(state, status)


def _refused(polecat: Polecat, reason: str, message: str) -> Decision:
    state = State(phase=PolecatPhase.STUCK, reason=reason, message=message, degraded=True, event="Warning")
    return Decision(state, polecat.status)


def _not_created(polecat: Polecat, observed: Observed) -> Decision:
    """The API server refused the pod: somebody must change something, or a quota must become free."""
    refusal = observed.refusal
    error = refusal.error if refusal is not None else None
    if isinstance(error, Forbidden) and "exceeded quota" in str(error):
        return evolve(_queued(polecat, "QuotaExceeded", str(error)), requeue_after=_QUOTA_RETRY)
    if isinstance(error, NotOurs):
        text = f"{error}: it is neither used nor deleted; delete or rename it, then change the Polecat to try again"
        return _refused(polecat, "PodNameTaken", text)
    return _refused(polecat, "PodRefused", f"the API server refused the pod: {error}")


def _backoff_left(polecat: Polecat, now: datetime) -> float:
    failed = _infrastructure_failures(polecat.status)
    last = polecat.status.attempts[-1].finished_at if failed else None
    if last is None:
        return 0.0
    return (last + timedelta(seconds=_backoff(failed)) - now).total_seconds()


def _seconds(moment: datetime) -> datetime:
    """The API stores whole seconds; anything finer would differ from itself when read back."""
    return moment.replace(microsecond=0)
