"""What to do about a rig: pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from attrs import evolve, frozen

from gastown_operator.api import labels
from gastown_operator.api.codec import to_json
from gastown_operator.api.common import Condition, ConditionStatus
from gastown_operator.api.conditions import get_condition, set_condition
from gastown_operator.api.refinery import REFINERY
from gastown_operator.api.rig import RIG, Rig
from gastown_operator.api.rig_status import RigPhase, RigStatus
from gastown_operator.api.validation import rig_problems
from gastown_operator.api.witness import WITNESS
from gastown_operator.controllers.polecat.budget import seconds_until_tomorrow
from gastown_operator.controllers.polecat.status import READY
from gastown_operator.controllers.rig.observe import Child, Observed
from gastown_operator.controllers.rig.spending import day_budget, spent
from gastown_operator.runtime.helpers import controller_reference
from gastown_operator.runtime.objects import Resource
from gastown_operator.runtime.plan import Action, Create, EventNote, Plan

#: Not a fault of the rig: its refinery has nothing to test with yet, and lands nothing (DESIGN §5).
NO_TEST_COMMAND: Final = "NoTestCommand"


@frozen
class Verdict:
    """What `Ready` says."""

    phase: RigPhase
    reason: str
    message: str

    @property
    def ready(self) -> bool:
        """Whether polecats can work."""
        return self.phase is RigPhase.READY


def plan(observed: Observed, now: datetime) -> Plan:
    """Return the children to create, the status if it differs, and one event when the verdict changes."""
    rig = observed.rig
    if rig.metadata.deletion_timestamp is not None:
        return Plan()  # its children are owned by it
    verdict = _verdict(observed)
    after = _status(observed, verdict, now)
    return Plan(
        actions=_children(observed) if not observed.refusals else (),
        status=_written(rig.status, after),
        events=_events(rig.status, verdict),
        # The day's budget is whole again then, which changes by nothing that is watched.
        requeue_after=seconds_until_tomorrow(now) if after.day_budget is not None else None,
    )


def _verdict(observed: Observed) -> Verdict:
    rig = observed.rig
    for problem in rig_problems(rig):
        return Verdict(RigPhase.DEGRADED, problem.reason, problem.message)
    namespace = rig.spec.work_namespace
    if observed.namespace is None:
        text = f'namespace "{namespace}" does not exist; create it: kubectl create namespace {namespace}'
        return Verdict(RigPhase.DEGRADED, "WorkNamespaceMissing", text)
    if observed.namespace.phase == "Terminating":
        return Verdict(
            RigPhase.DEGRADED, "WorkNamespaceTerminating", f'namespace "{namespace}" is being deleted'
        )
    if not observed.watched:
        text = (
            f'the operator does not look into namespace "{namespace}": nothing works there; add it to its --namespaces '
            "(make deploy NAMESPACES=…)"
        )
        return Verdict(RigPhase.DEGRADED, "WorkNamespaceNotWatched", text)
    if observed.credential is not None:
        return Verdict(RigPhase.DEGRADED, observed.credential.reason, observed.credential.message)
    if observed.blocked:
        return Verdict(RigPhase.DEGRADED, "NetworkBlocked", observed.blocked)
    if observed.rejected:
        text = (
            f"the model's provider refuses the rig's credential, says {_names(observed.rejected)}: put one that is valid into the Secret "
            f"(that of spec.providers[].secretRef, or by default {rig.spec.defaults.provider_secret_ref.name}), "
            f"then set annotation {labels.RETRY} of the Polecats to a new value"
        )
        return Verdict(RigPhase.DEGRADED, "CredentialRejected", text)
    if observed.unsent:
        text = (
            f"the model's provider asks for a credential and the rig names none for it, say {_names(observed.unsent)}: set "
            f"spec.providers[].secretRef, then set annotation {labels.RETRY} of the Polecats to a new value"
        )
        return Verdict(RigPhase.DEGRADED, "CredentialMissing", text)
    for refusal in observed.refusals:
        return Verdict(
            RigPhase.DEGRADED, "ChildRefused", f"the API server refused a child of the rig: {refusal.error}"
        )
    for kind, child in (("Witness", observed.witness), ("Refinery", observed.refinery)):
        trouble = _trouble_of(child)
        if trouble is not None:
            text = f'{kind} "{child.name if child else ""}" is not ready: {trouble.message or trouble.reason}'
            return Verdict(RigPhase.DEGRADED, f"{kind}NotReady", text)
    return Verdict(RigPhase.READY, "Ready", f"polecats can work in namespace {namespace}")


def _names(polecats: Sequence[str]) -> str:
    more = f" and {len(polecats) - 3} more" if len(polecats) > 3 else ""
    return f"{', '.join(polecats[:3])}{more}"


def _trouble_of(child: Child | None) -> Condition | None:
    """A child's reason not to be ready, if it counts: one that has said nothing yet does not."""
    ready = get_condition(child.conditions, READY) if child is not None else None
    if ready is None or ready.status is not ConditionStatus.FALSE or ready.reason == NO_TEST_COMMAND:
        return None
    return ready


def _status(observed: Observed, verdict: Verdict, now: datetime) -> RigStatus:
    rig = observed.rig
    conditions = set_condition(
        rig.status.conditions,
        READY,
        ConditionStatus.TRUE if verdict.ready else ConditionStatus.FALSE,
        verdict.reason,
        verdict.message,
        observed_generation=rig.metadata.generation,
        now=now,
    )
    gone = spent(rig, observed.accounts, now.astimezone(UTC).date())
    return evolve(
        rig.status,
        phase=verdict.phase,
        polecat_count=observed.polecats,
        active_convoys=observed.convoys,
        child_namespace=rig.spec.work_namespace,
        witness_created=observed.witness is not None,
        refinery_created=observed.refinery is not None,
        spent=gone,
        day_budget=day_budget(rig, gone, observed.spenders, now),
        conditions=conditions,
    )


def _children(observed: Observed) -> tuple[Action, ...]:
    """The Witness and the Refinery that the rig wants and nobody has made."""
    rig = observed.rig
    namespace = observed.namespace
    if namespace is None or namespace.phase == "Terminating" or not observed.watched or rig_problems(rig):
        return ()
    wanted: list[Action] = []
    if rig.spec.provision.witness and observed.witness is None:
        wanted.append(_child(rig, WITNESS, "witness"))
    if rig.spec.provision.refinery and observed.refinery is None:
        wanted.append(_child(rig, REFINERY, "refinery"))
    return tuple(wanted)


def _child(rig: Rig, resource: Resource[Any], suffix: str) -> Create:
    metadata = {
        "name": f"{rig.metadata.name}-{suffix}",
        "namespace": rig.spec.work_namespace,
        "labels": {
            labels.NAME: labels.OPERATOR,
            labels.COMPONENT: suffix,
            labels.MANAGED_BY: labels.OPERATOR,
        },
        "annotations": {labels.RIG: rig.metadata.name},
        "ownerReferences": [controller_reference(RIG, rig.metadata, block_deletion=False)],
    }
    body = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": metadata,
        "spec": {"rigRef": rig.metadata.name},
    }
    return Create(resource, body)


def _written(before: RigStatus, after: RigStatus) -> Mapping[str, Any] | None:
    ours = _own(after)
    return None if ours == _own(before) else ours


def _own(status: RigStatus) -> Mapping[str, Any]:
    """What this controller writes; another one tells of the housekeeping."""
    ready = get_condition(status.conditions, READY)
    own = evolve(status, housekeeping=None, conditions=(ready,) if ready is not None else ())
    return to_json(own)


def _events(before: RigStatus, verdict: Verdict) -> tuple[EventNote, ...]:
    former = get_condition(before.conditions, READY)
    if former is not None and former.reason == verdict.reason:
        return ()
    return (EventNote("Normal" if verdict.ready else "Warning", verdict.reason, verdict.message),)


def only_counts_differ(rig: Rig, decided: Plan) -> bool:
    """Whether a plan does nothing but bring counters up to date, which may wait a moment for the next ones."""
    if decided.actions or decided.events or decided.status is None:
        return False
    stored = _own(rig.status)
    counters = {"polecatCount", "activeConvoys", "dayBudget"}
    names = {
        name for name in stored.keys() | decided.status.keys() if stored.get(name) != decided.status.get(name)
    }
    return names <= counters
