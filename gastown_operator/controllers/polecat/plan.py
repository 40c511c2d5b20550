"""What to do about a polecat: pure, and in the order in which a person would tell it.

Gone or ending? Ended for good? Not wanted? Refused? Its pod: ended, ending, running, starting, stuck. No pod: its turn, or waiting.
"""

from datetime import datetime
from typing import Final

from attrs import evolve

from gastown_operator.api import labels
from gastown_operator.api.core import POD
from gastown_operator.api.polecat import DesiredState, Polecat, PolecatPhase
from gastown_operator.controllers.polecat.admission import Wait
from gastown_operator.controllers.polecat.backoff import backoff_left
from gastown_operator.controllers.polecat.conclude import conclude
from gastown_operator.controllers.polecat.decision import (
    Decision,
    changed_since,
    next_round,
    recorded,
    whole_seconds,
)
from gastown_operator.controllers.polecat.follow import deletion, follow, of_ended_pod, of_vanished_pod
from gastown_operator.controllers.polecat.observe import Observed
from gastown_operator.controllers.polecat.permission import RefusedError
from gastown_operator.controllers.polecat.pod import build_pod
from gastown_operator.controllers.polecat.resolve import Resolved, resolve
from gastown_operator.controllers.polecat.status import State, describe, events, written
from gastown_operator.controllers.settings import OperatorSettings
from gastown_operator.runtime.errors import Forbidden
from gastown_operator.runtime.execution import NotOurs
from gastown_operator.runtime.plan import Create, Plan

#: A quota becomes free without an event that we watch, and so does a name that a pod of nobody's has.
_RETRY: Final = 30.0


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
        return conclude(polecat, pod, of_ended_pod(polecat, pod), now)
    if polecat.spec.desired_state is DesiredState.TERMINATED:
        return _terminate(observed, now)
    if pod is not None:
        return follow(polecat, pod, settings, now)
    if polecat.status.pod_active:
        return conclude(polecat, None, of_vanished_pod(polecat), now)
    if polecat.spec.desired_state is DesiredState.IDLE:
        return _idle(polecat)
    return _start(observed, settings, now)


def _ended(observed: Observed) -> Decision:
    """The work ended and that is recorded: nothing starts again by itself; what is said stays as it is."""
    polecat = observed.polecat
    state = recorded(polecat)
    if polecat.status.phase is PolecatPhase.STUCK and changed_since(polecat):
        return next_round(polecat)
    status = polecat.status
    if status.pod_active and (observed.pod is None or observed.pod.phase.terminal):
        status = evolve(status, pod_active=False)
    return Decision(state, status)


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
        return Decision(state, evolve(polecat.status, pod_active=True), deletion(pod))
    state = State(
        phase=PolecatPhase.TERMINATED,
        reason="Terminated",
        message="spec.desiredState is Terminated",
        ready=True,
        event="Normal",
    )
    return Decision(state, evolve(polecat.status, pod_active=False, finished_at=whole_seconds(now)))


def _idle(polecat: Polecat) -> Decision:
    state = State(
        phase=PolecatPhase.IDLE,
        reason="Idle",
        message="spec.desiredState is Idle; set it to Working to start",
        ready=True,
    )
    return Decision(state, polecat.status)


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
    if observed.key_holder is not None:
        return _key_in_use(polecat, observed.key_holder)
    if observed.refusal is not None:
        return _not_created(polecat, observed)
    waiting = backoff_left(polecat, now)
    if waiting > 0:
        return Decision(None, polecat.status, requeue_after=waiting)
    if observed.name_taken_by is not None:
        text = f"pod {observed.name_taken_by.metadata.name} of a former Polecat is still there; waiting for its end"
        return evolve(_queued(polecat, Wait.POD_NAME_IN_USE, text), requeue_after=_RETRY)
    if observed.verdict.wait is not None:
        return _queued(polecat, observed.verdict.wait, observed.verdict.message, now=now)
    return _create(polecat, resolved, settings)


def _create(polecat: Polecat, resolved: Resolved, settings: OperatorSettings) -> Decision:
    """Create the pod; the status is written when the pod is seen, which saves a write."""
    body = build_pod(polecat, resolved, settings)
    return Decision(None, polecat.status, (Create(POD, body),))


def _queued(polecat: Polecat, wait: Wait, message: str, now: datetime | None = None) -> Decision:
    state = State(
        phase=PolecatPhase.IDLE,
        reason=wait.value,
        message=message,
        progressing=True,
        queued=True,
        event="Normal",
    )
    status = polecat.status
    if now is not None and status.enqueued_at is None:
        status = evolve(status, enqueued_at=whole_seconds(now))
    return Decision(state, status)


def _refused(polecat: Polecat, reason: str, message: str) -> Decision:
    state = State(phase=PolecatPhase.STUCK, reason=reason, message=message, degraded=True, event="Warning")
    return Decision(state, polecat.status)


def _key_in_use(polecat: Polecat, holder: Polecat) -> Decision:
    text = (
        f"annotation {labels.RECOVERY_KEY} names the checkpoints of Polecat "
        f'"{holder.metadata.name}", which still exists; delete that one, or remove the annotation'
    )
    return _refused(polecat, "RecoveryKeyInUse", text)


def _not_created(polecat: Polecat, observed: Observed) -> Decision:
    """The API server refused the pod: somebody must change something, or a quota must become free."""
    refusal = observed.refusal
    error = refusal.error if refusal is not None else None
    if isinstance(error, Forbidden) and "exceeded quota" in str(error):
        return evolve(_queued(polecat, Wait.QUOTA_EXCEEDED, str(error)), requeue_after=_RETRY)
    if isinstance(error, NotOurs):
        text = f"{error}: it is neither used nor deleted; delete or rename it, then change the Polecat to try again"
        return _refused(polecat, "PodNameTaken", text)
    return _refused(polecat, "PodRefused", f"the API server refused the pod: {error}")
