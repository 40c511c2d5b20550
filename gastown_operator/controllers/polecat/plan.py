"""What to do about a polecat: pure, and in the order in which a person would tell it.

Gone or ending? Ended for good? Not wanted? Refused? Its pod: ended, ending, running, starting, stuck. No pod: its turn, or waiting.
"""

from datetime import datetime
from typing import Final

from attrs import evolve

from gastown_operator.api import labels
from gastown_operator.api.common import Budget
from gastown_operator.api.core import POD
from gastown_operator.api.labels import SPENDING_FINALIZER
from gastown_operator.api.polecat import POLECAT, DesiredState, Polecat, PolecatPhase
from gastown_operator.api.rig import Rig
from gastown_operator.controllers.network.policy import policy_name
from gastown_operator.controllers.polecat.backoff import backoff_left
from gastown_operator.controllers.polecat.budget import seconds_until_tomorrow
from gastown_operator.controllers.polecat.conclude import conclude
from gastown_operator.controllers.polecat.decision import (
    Decision,
    changed_since,
    recorded,
    whole_seconds,
)
from gastown_operator.controllers.polecat.ended import ended, leave
from gastown_operator.controllers.polecat.follow import (
    end,
    follow,
    of_ended_pod,
    of_vanished_pod,
)
from gastown_operator.controllers.polecat.line import NEED_HELP, Wait, until_it_starves
from gastown_operator.controllers.polecat.observe import Observed
from gastown_operator.controllers.polecat.permission import RefusedError
from gastown_operator.controllers.polecat.pod import Start, build_pod
from gastown_operator.controllers.polecat.resolve import Resolved, resolve
from gastown_operator.controllers.polecat.status import State, describe, events, written
from gastown_operator.controllers.settings import OperatorSettings
from gastown_operator.runtime.errors import Forbidden
from gastown_operator.runtime.execution import NotOurs
from gastown_operator.runtime.helpers import add_finalizer, remove_finalizer
from gastown_operator.runtime.plan import Create, Plan

#: A quota becomes free without an event that we watch, and so does a name that a pod of nobody's has.
_RETRY: Final = 30.0
#: What admission says of a quota that is full, and of one that is so new that it was not added up yet.
_QUOTA: Final = ("exceeded quota", "status unknown for quota")
#: What admission says where the pod's ServiceAccount is not there, and of the one that every namespace gets in its first moments.
_NO_SERVICE_ACCOUNT: Final = "error looking up service account"
_NEW_NAMESPACE: Final = 'serviceaccount "default" not found'
#: Seconds in which a new namespace gets that ServiceAccount.
_NEW_NAMESPACE_GRACE: Final = 2.0
#: Seconds in which the policy of a new rig is made, if all is well.
_FENCE_GRACE: Final = 5.0


def plan(observed: Observed, settings: OperatorSettings, now: datetime) -> Plan:
    """Return the actions, the status if it differs from the stored one, and the events that tell of the change."""
    polecat = observed.polecat
    older = labels.older_finalizers(polecat.metadata.finalizers)
    if older:
        return Plan(actions=(remove_finalizer(POLECAT, polecat.metadata, *older),))
    if (
        polecat.metadata.deletion_timestamp is not None
        and SPENDING_FINALIZER not in polecat.metadata.finalizers
    ):
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
    polecat, rig, pod = observed.polecat, observed.rig, observed.pod
    if polecat.metadata.deletion_timestamp is not None:
        return leave(observed, now)
    if polecat.status.finished_at is not None:
        return ended(observed, now)
    if pod is not None and pod.phase.terminal:
        return conclude(polecat, rig, pod, of_ended_pod(polecat, pod), now)
    if pod is None and polecat.status.pod_active:
        return conclude(polecat, rig, None, of_vanished_pod(polecat), now)
    if polecat.spec.desired_state is DesiredState.TERMINATED:
        return _terminate(observed, now)
    if pod is not None and polecat.spec.desired_state is DesiredState.IDLE:
        return end(polecat, pod, "Pausing", "spec.desiredState is Idle")
    if pod is not None:
        return follow(polecat, pod, settings, now)
    if polecat.spec.desired_state is DesiredState.IDLE:
        return _idle(polecat)
    return _start(observed, settings, now)


def _terminate(observed: Observed, now: datetime) -> Decision:
    """The user wants it to stop: the pod gets its grace, in which the keeper pushes."""
    polecat, pod = observed.polecat, observed.pod
    if pod is not None:
        return end(polecat, pod, "Terminating", "spec.desiredState is Terminated")
    state = State(
        phase=PolecatPhase.TERMINATED,
        reason="Terminated",
        message="spec.desiredState is Terminated; set it to Working to start",
        ready=True,
        event="Normal",
    )
    return Decision(state, evolve(polecat.status, pod_active=False, finished_at=whole_seconds(now)))


def _idle(polecat: Polecat) -> Decision:
    told = recorded(polecat)
    if told.ready and told.reason == "Idle" and not changed_since(polecat):
        return Decision(told, polecat.status)  # one that was paused says what is saved
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
    if observed.cycle:
        return _in_circle(polecat, observed.cycle)
    waiting = backoff_left(polecat, now)
    if waiting > 0:
        return Decision(None, polecat.status, requeue_after=waiting)
    held = _credential_wait(observed, resolved)
    if held is not None:
        return held
    if observed.blocked:
        text = f"Rig {polecat.spec.rig}: {observed.blocked}"
        return _queued(polecat, Wait.NETWORK_BLOCKED, text)
    if not observed.fenced:
        return _unfenced(polecat, observed.rig, now)
    if observed.name_taken_by is not None:
        name, namespace = observed.name_taken_by.metadata.name, polecat.metadata.namespace
        text = (
            f"pod {name} of a former Polecat is still there, and this one starts when it is gone; to see why it stays: "
            f"kubectl -n {namespace} describe pod {name}"
        )
        return evolve(_queued(polecat, Wait.POD_NAME_IN_USE, text), requeue_after=_RETRY)
    if observed.verdict.wait is not None:
        return _queued(polecat, observed.verdict.wait, observed.verdict.message, now=now)
    if observed.grant.reason == Wait.RIG_BUDGET and observed.grant.settles:
        return Decision(None, polecat.status)  # what is recorded in a moment wakes it
    if observed.grant.reason == Wait.RIG_BUDGET:
        told = _queued(polecat, Wait.RIG_BUDGET, observed.grant.message, now=now)
        return evolve(told, requeue_after=seconds_until_tomorrow(now))
    if observed.grant.reason:
        return _refused(polecat, observed.grant.reason, observed.grant.message)
    return _create(observed, observed.rig, resolved, settings)


def _unfenced(polecat: Polecat, rig: Rig, now: datetime) -> Decision:
    """Its pod would not be fenced in yet, of which nobody needs to hear where rig and polecat were made together."""
    made = (polecat.metadata.creation_timestamp, rig.metadata.creation_timestamp)
    newest = max((moment for moment in made if moment is not None), default=now)
    left = _FENCE_GRACE - (now - newest).total_seconds()
    if left > 0:
        return Decision(None, polecat.status, requeue_after=left)
    text = (
        f'NetworkPolicy "{policy_name(polecat.spec.rig)}", without which no pod starts, is not in namespace {polecat.metadata.namespace} '
        f"yet; if it does not come, the Events of the Rig say why: kubectl describe rig {polecat.spec.rig}"
    )
    return _queued(polecat, Wait.NETWORK_POLICY, text)


def _credential_wait(observed: Observed, resolved: Resolved) -> Decision | None:
    """Nothing starts with a credential of the rig that cannot work; whoever brings its own is not held up."""
    model = resolved.model
    lent = [resolved.git_secret]
    if model is not None and model.of_rig and model.credential is not None:
        lent.append(model.credential.name)
    problems = (observed.credentials.get(name) for name in lent)
    problem = next((problem for problem in problems if problem is not None and problem.holds), None)
    return _queued(observed.polecat, Wait(problem.reason), problem.message) if problem is not None else None


def _create(observed: Observed, rig: Rig, resolved: Resolved, settings: OperatorSettings) -> Decision:
    """Create the pod; the status is written when the pod is seen, which saves a write."""
    polecat = observed.polecat
    if rig.spec.budget != Budget() and SPENDING_FINALIZER not in polecat.metadata.finalizers:
        # First, so that what it costs is counted even if it is deleted.
        return Decision(None, polecat.status, (add_finalizer(POLECAT, polecat.metadata, SPENDING_FINALIZER),))
    body = build_pod(polecat, resolved, settings, Start(observed.grant.budget, observed.bases))
    return Decision(None, polecat.status, (Create(POD, body),))


def _in_circle(polecat: Polecat, names: tuple[str, ...]) -> Decision:
    text = f"spec.dependsOn leads back to itself ({' → '.join(names)}); remove one of them"
    return _refused(polecat, "DependencyCycle", text)


def _queued(polecat: Polecat, wait: Wait, message: str, now: datetime | None = None) -> Decision:
    state = State(
        phase=PolecatPhase.IDLE,
        reason=wait.value,
        message=message,
        progressing=True,
        queued=True,
        event="Warning" if wait in NEED_HELP else "Normal",
    )
    status = polecat.status
    if now is None:
        return Decision(state, status)
    if status.enqueued_at is None:
        status = evolve(status, enqueued_at=whole_seconds(now))
    return Decision(state, status, requeue_after=until_it_starves(status, now))


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
    """The API server refused the pod: somebody must change something, or a quota or a ServiceAccount must come."""
    refusal = observed.refusal
    error = refusal.error if refusal is not None else None
    if isinstance(error, Forbidden) and any(words in str(error) for words in _QUOTA):
        text = (
            f"{error}; tried again every {_RETRY:.0f} s: wait until other pods end, or raise the quota "
            f"(kubectl -n {polecat.metadata.namespace} describe resourcequota)"
        )
        return evolve(_queued(polecat, Wait.QUOTA_EXCEEDED, text), requeue_after=_RETRY)
    if isinstance(error, Forbidden) and _NO_SERVICE_ACCOUNT in str(error):
        pause = _NEW_NAMESPACE_GRACE if _NEW_NAMESPACE in str(error) else _RETRY
        text = (
            f"{error}; tried again every {pause:.0f} s: create it, or name another one in kubernetes.serviceAccountName "
            f"(kubectl -n {polecat.metadata.namespace} get serviceaccounts)"
        )
        return evolve(_queued(polecat, Wait.SERVICE_ACCOUNT_MISSING, text), requeue_after=pause)
    if isinstance(error, NotOurs):
        text = f"{error}: it is neither used nor deleted; delete or rename it, then change the Polecat to try again"
        return _refused(polecat, "PodNameTaken", text)
    text = f"the API server refused the pod: {error}; correct what it names, then change the Polecat to try again"
    return _refused(polecat, "PodRefused", text)
