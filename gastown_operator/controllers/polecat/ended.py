"""What becomes of a polecat whose work has ended: nothing, another round, its deletion, or its last account."""

from datetime import datetime, timedelta

from attrs import evolve

from gastown_operator.api.common import ConditionStatus
from gastown_operator.api.conditions import get_condition
from gastown_operator.api.core import Pod
from gastown_operator.api.labels import SPENDING_FINALIZER
from gastown_operator.api.polecat import POLECAT, DesiredState, Polecat, PolecatPhase
from gastown_operator.api.rig import Rig
from gastown_operator.controllers.polecat.conclude import conclude
from gastown_operator.controllers.polecat.decision import (
    Decision,
    changed_since,
    next_round,
    recorded,
    retry_asked,
    whole_seconds,
)
from gastown_operator.controllers.polecat.follow import deletion, end, of_ended_pod, of_vanished_pod
from gastown_operator.controllers.polecat.observe import Observed
from gastown_operator.controllers.polecat.status import MERGED, State
from gastown_operator.runtime.helpers import remove_finalizer
from gastown_operator.runtime.plan import Delete


def ended(observed: Observed, now: datetime) -> Decision:
    """The work ended and that is recorded: nothing starts again by itself; what is said stays as it is."""
    polecat = observed.polecat
    if _wanted_again(polecat):
        return next_round(polecat)
    status = polecat.status
    if status.pod_active and (observed.pod is None or observed.pod.phase.terminal):
        status = evolve(status, pod_active=False)
    left = _time_to_live(observed, now)
    if left is not None and left <= 0:
        gone = Delete(POLECAT, polecat.metadata.key, polecat.metadata.uid)
        return Decision(recorded(polecat), status, (gone,))
    return Decision(recorded(polecat), status, requeue_after=left)


def leave(observed: Observed, now: datetime) -> Decision:
    """It is being deleted, in a rig whose money is counted: its pod ends, what it cost is recorded and counted, then it goes."""
    polecat, pod = observed.polecat, observed.pod
    if pod is not None and not pod.phase.terminal:
        return _end_pod(polecat, pod)
    recorded_pods = {attempt.pod_uid for attempt in polecat.status.attempts}
    if pod is not None and pod.metadata.uid not in recorded_pods:
        return conclude(polecat, observed.rig, pod, of_ended_pod(polecat, pod), now)
    if pod is None and polecat.status.pod_active:
        return conclude(polecat, observed.rig, None, of_vanished_pod(polecat), now)
    if polecat.status.finished_at is None:
        state = State(
            phase=PolecatPhase.TERMINATED,
            reason="Deleted",
            message="it is being deleted; what it has cost is being counted",
        )
        return Decision(state, evolve(polecat.status, finished_at=whole_seconds(now)))
    rig = observed.rig
    spent = rig.status.spent if rig is not None else None
    if no_longer_counts(rig) or (spent is not None and polecat.metadata.uid in spent.counted):
        done = remove_finalizer(POLECAT, polecat.metadata, SPENDING_FINALIZER)
        return Decision(None, polecat.status, (done,))
    return Decision(None, polecat.status)  # the rig's controller counts it, which wakes this one


def no_longer_counts(rig: Rig | None) -> bool:
    """Whether nobody counts any more: the rig is gone or going, and with it the budget."""
    return rig is None or rig.metadata.deletion_timestamp is not None


def _end_pod(polecat: Polecat, pod: Pod) -> Decision:
    """Delete its pod, once the status says that there was one: if its end is not seen, what it could cost is charged."""
    if polecat.status.pod_active:
        return Decision(None, polecat.status, deletion(pod))
    return end(polecat, pod, "PodEnding", "it is being deleted")


def _wanted_again(polecat: Polecat) -> bool:
    """Whether a person asked for another round: by the annotation, or by a change of one that was stuck or terminated."""
    if polecat.spec.desired_state is DesiredState.TERMINATED:
        return polecat.status.phase is PolecatPhase.STUCK and changed_since(polecat)
    if retry_asked(polecat):
        return True
    restless = polecat.status.phase in (PolecatPhase.STUCK, PolecatPhase.TERMINATED)
    return restless and changed_since(polecat)


def _time_to_live(observed: Observed, now: datetime) -> float | None:
    """Seconds until it is deleted: from its end, or from its merge where it is to be merged. None if it stays."""
    polecat, rig = observed.polecat, observed.rig
    ttl = polecat.spec.ttl_seconds_after_finished
    if ttl is None and rig is not None:
        ttl = rig.spec.defaults.ttl_seconds_after_finished
    if ttl is None or observed.needed or polecat.status.finished_at is None:
        return None
    since = polecat.status.finished_at
    merged = get_condition(polecat.status.conditions, MERGED)
    if merged is not None and polecat.status.phase is PolecatPhase.DONE:
        if merged.status is not ConditionStatus.TRUE:
            return None
        since = max(since, merged.last_transition_time)
    return (since + timedelta(seconds=ttl) - now).total_seconds()
