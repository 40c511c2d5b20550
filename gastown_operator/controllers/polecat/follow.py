"""What to tell of a polecat whose pod is there, and what its end or absence means."""

from datetime import datetime

from attrs import evolve

from gastown_operator.api import labels
from gastown_operator.api.agentconfig import Agent
from gastown_operator.api.common import OutcomeClass
from gastown_operator.api.core import POD, Pod, PodPhase
from gastown_operator.api.polecat import Polecat, PolecatPhase, PolecatStatus
from gastown_operator.controllers.polecat import outcome
from gastown_operator.controllers.polecat.budget import reservation
from gastown_operator.controllers.polecat.containers import AGENT, KEEPER
from gastown_operator.controllers.polecat.decision import Decision, changed_since, recorded
from gastown_operator.controllers.polecat.outcome import Conclusion
from gastown_operator.controllers.polecat.starting import cannot_start, wait
from gastown_operator.controllers.polecat.status import State
from gastown_operator.controllers.settings import OperatorSettings
from gastown_operator.runtime.plan import Action, Delete


def follow(polecat: Polecat, pod: Pod, settings: OperatorSettings, now: datetime) -> Decision:
    """Its pod is there and has not ended."""
    status = with_pod(polecat, pod)
    if pod.metadata.deletion_timestamp is not None and status.phase is not PolecatPhase.STUCK:
        return end(polecat, pod, "PodEnding", "its pod was deleted")
    if pod.phase is PodPhase.RUNNING:
        return _inactive(pod, status) if is_inactive(pod, now) else _working(pod, status)
    if _told_that_it_cannot_start(polecat) and changed_since(polecat):
        return Decision(None, status, deletion(pod))  # the change is for the next round's pod
    problem = _start_problem(polecat, pod)
    if problem is not None:
        return _cannot_start(pod, status, problem, settings, now)
    return _starting(pod, status)


def with_pod(polecat: Polecat, pod: Pod) -> PolecatStatus:
    """What the pod of the attempt says about it."""
    noted = pod.metadata.annotations
    agent = noted.get(labels.AGENT)
    return evolve(
        polecat.status,
        branch=noted.get(labels.BRANCH, polecat.status.branch),
        pod_name=pod.metadata.name,
        pod_active=True,
        agent=Agent(agent) if agent in set(Agent) else None,
        agent_image=next((container.image for container in pod.containers if container.name == AGENT), ""),
        agent_model=noted.get(labels.MODEL, ""),
        round=polecat.status.round or 1,
        attempt=polecat.status.attempt or 1,
        first_attempt=polecat.status.first_attempt or polecat.status.attempt or 1,
        handled_retry=noted.get(labels.RETRY, polecat.status.handled_retry),
        reserved=None if _has_no_node(pod) else reservation(pod),
    )


def _has_no_node(pod: Pod) -> bool:
    """Whether the scheduler said that it has none yet. One that goes in that state did not run, and cost nothing."""
    scheduled = pod.condition("PodScheduled")
    return not pod.node_name and scheduled is not None and scheduled.status == "False"


def is_inactive(pod: Pod, now: datetime) -> bool:
    """Whether the kubelet has found the agent doing nothing: its keeper is not ready, and had the time to become so."""
    keeper, agent = pod.container(KEEPER), pod.container(AGENT)
    started = agent.running.started_at if agent is not None and agent.running is not None else None
    if keeper is None or keeper.ready or keeper.running is None or started is None:
        return False
    return (now - started).total_seconds() >= _stall_threshold(pod)


def _stall_threshold(pod: Pod) -> float:
    try:
        return float(pod.metadata.annotations.get(labels.STALL_THRESHOLD, "inf"))
    except ValueError:
        return float("inf")


def _inactive(pod: Pod, status: PolecatStatus) -> Decision:
    name, namespace = pod.metadata.name, pod.metadata.namespace
    state = State(
        phase=PolecatPhase.WORKING,
        reason="Inactive",
        message=f"the agent in pod {name} has done nothing for {_stall_threshold(pod):.0f} s: no output, no change, no CPU time, no "
        f"traffic with its model; see kubectl -n {namespace} logs {name} -c {AGENT}, or set spec.maxIdleSeconds to end such a run",
        available=True,
        progressing=True,
        event="Warning",
    )
    return Decision(state, status)


def end(polecat: Polecat, pod: Pod, reason: str, why: str) -> Decision:
    """Its pod is to end, and gets its grace, in which the keeper pushes."""
    state = State(
        phase=PolecatPhase.WORKING,
        reason=reason,
        message=f"{why}: pod {pod.metadata.name} is ending; its work is being pushed",
        progressing=True,
    )
    return Decision(state, with_pod(polecat, pod), deletion(pod))


def of_ended_pod(polecat: Polecat, pod: Pod) -> Conclusion:
    """Its pod is terminal: the agent ended, or it never ran and the pod was deleted because it could not start."""
    return of_vanished_pod(polecat) if _never_started(polecat, pod) else outcome.judge(pod)


def _never_started(polecat: Polecat, pod: Pod) -> bool:
    return _told_that_it_cannot_start(polecat) and not (_agent_ran(pod) or outcome.clone_failed(pod))


def _agent_ran(pod: Pod) -> bool:
    status = pod.container(AGENT)
    # The kubelet calls a container that never was terminated too, but knows no start of it.
    return status is not None and status.terminated is not None and status.terminated.started_at is not None


def of_vanished_pod(polecat: Polecat) -> Conclusion:
    """Its pod is gone without an end that was seen: deleted because it could not start, or lost."""
    if not _told_that_it_cannot_start(polecat):
        return outcome.lost()
    told = recorded(polecat)
    return Conclusion(OutcomeClass.CONFIG_ERROR, told.reason, told.message, ran=False)


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
    found = wait(pod)
    state = State(phase=PolecatPhase.IDLE, reason=found.reason, message=found.message, progressing=True)
    return Decision(state, status)


def _start_problem(polecat: Polecat, pod: Pod) -> State | None:
    """What keeps its pod from starting, as it was first told: that the kubelet tries again and again is no news."""
    problem = cannot_start(pod)
    told = recorded(polecat)
    if _told_that_it_cannot_start(polecat) and (problem is None or problem.reason == told.reason):
        return told
    if problem is None:
        return None
    return State(
        phase=PolecatPhase.STUCK,
        reason=problem.reason,
        message=f"{problem.message}. Correct it while the pod waits, or change the Polecat",
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
    return Decision(state, status, deletion(pod))


def deletion(pod: Pod) -> tuple[Action, ...]:
    """Delete the pod, unless somebody has."""
    return () if pod.metadata.deletion_timestamp else (Delete(POD, pod.metadata.key, pod.metadata.uid),)
