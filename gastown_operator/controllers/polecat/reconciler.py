"""The polecat controller: its caches, what wakes it, and one reconcile from observation to writes."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from attrs import define, evolve, frozen
from prometheus_client import Histogram

from gastown_operator.api import labels
from gastown_operator.api.core import POD, Pod
from gastown_operator.api.polecat import POLECAT, Polecat, PolecatPhase
from gastown_operator.api.rig import RIG, Rig
from gastown_operator.controllers.credential.problem import RIGS_BY_CREDENTIAL, Credentials
from gastown_operator.controllers.metrics import time_to_working
from gastown_operator.controllers.network.fence import Fence
from gastown_operator.controllers.polecat.admission import (
    POLECATS_BY_BEAD,
    POLECATS_BY_RIG,
    Admission,
    active_pods_by_rig,
    bead_index,
    bead_value,
)
from gastown_operator.controllers.polecat.budget import reservation, reserved_by
from gastown_operator.controllers.polecat.dependencies import dependents, satisfied
from gastown_operator.controllers.polecat.line import is_candidate, wants_bead
from gastown_operator.controllers.polecat.observe import POD_INDEXES, POLECAT_INDEXES, observe
from gastown_operator.controllers.polecat.plan import plan
from gastown_operator.controllers.polecat.recovery import POLECATS_BY_RECOVERY_KEY, polecats_by_recovery_key
from gastown_operator.controllers.settings import OperatorSettings
from gastown_operator.runtime.clock import Clock
from gastown_operator.runtime.controller import (
    Controller,
    Result,
    Watch,
    for_object,
    generation_changed,
    mapped,
    owned_by,
)
from gastown_operator.runtime.execution import Execution, Executor
from gastown_operator.runtime.manager import Manager
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.plan import Create, Plan
from gastown_operator.runtime.queue import Request
from gastown_operator.runtime.store import Event, Store

NAME: Final = "polecat"
CONCURRENCY: Final = 16
#: Only our pods are cached: a cluster may have a hundred times as many others.


@frozen
class Wakeups:
    """Which polecats a change of something else concerns."""

    admission: Admission
    rigs: Store[Rig]

    def of_rig(self, event: Event[Rig]) -> Iterable[ObjectKey]:
        """A rig came, changed or went: everything of it that has not gone may decide otherwise now."""
        name = event.object.metadata.name
        lives = _time_to_live(event.old) != _time_to_live(event.new)
        for polecat in self.admission.polecats.by_index(POLECATS_BY_RIG, name):
            leaves = polecat.metadata.deletion_timestamp is not None
            if lives or leaves or polecat.status.finished_at is None:
                yield polecat.metadata.key

    def of_pod(self, event: Event[Pod]) -> Iterable[ObjectKey]:
        """A pod ended or went: its slot is for the next in line, and its bead for whoever else wants it."""
        old, new = event.old, event.new
        if (
            old is None
            or not any(active_pods_by_rig(old))
            or (new is not None and any(active_pods_by_rig(new)))
        ):
            return
        annotations = old.metadata.annotations
        yield from self.next_in_line(annotations[labels.RIG])
        if labels.BEAD in annotations:
            bead = bead_value(annotations[labels.RIG], old.metadata.namespace, annotations[labels.BEAD])
            yield from self._of_bead(bead)

    def of_polecat(self, event: Event[Polecat]) -> Iterable[ObjectKey]:
        """A polecat left the line or its slot, or may have let go of its bead: others may be next."""
        old, new = event.old, event.new
        if old is None:
            return
        leaves = self._in_line_or_slot(old) and (new is None or not self._in_line_or_slot(new))
        # What an attempt did not use of its reservation is free once it is recorded.
        settled = new is None or old.status.attempts != new.status.attempts
        if leaves or settled:
            yield from self.next_in_line(old.spec.rig)
        if old.spec.bead_id and (new is None or _claim_on_bead(old) != _claim_on_bead(new)):
            yield from self._of_bead(bead_index(old))
        if new is None:
            yield from self._of_recovery_key(old)
        # What they left may be deleted once nobody needs to read it any more.
        for name in _needed_by(old) - (_needed_by(new) if new is not None else set()):
            yield ObjectKey(old.metadata.namespace, name)

    def of_dependency(self, event: Event[Polecat]) -> Iterable[ObjectKey]:
        """A polecat came, went or came to an end: those that wait for it may start, or be told why not."""
        old, new = event.old, event.new
        if old is None or new is None or _as_dependency(old) != _as_dependency(new):
            for polecat in dependents(self.admission.polecats, event.object):
                if _needs_others(polecat):
                    yield polecat.metadata.key
                    if polecat.spec.bead_id:
                        yield from self._of_bead(bead_index(polecat))

    def of_counted(self, event: Event[Rig]) -> Iterable[ObjectKey]:
        """A rig has counted what polecats that are being deleted had cost: they may go."""
        spent = event.object.status.spent
        for polecat in self.admission.polecats.by_index(POLECATS_BY_RIG, event.object.metadata.name):
            if spent is not None and polecat.metadata.uid in spent.counted:
                yield polecat.metadata.key

    def _in_line_or_slot(self, polecat: Polecat) -> bool:
        """A pod may end before its polecat's status says that it runs, so its end alone is not enough to wake the next."""
        return self.admission.in_line(polecat) or polecat.status.pod_active

    def _of_recovery_key(self, gone: Polecat) -> Iterable[ObjectKey]:
        for key in polecats_by_recovery_key(gone):
            for polecat in self.admission.polecats.by_index(POLECATS_BY_RECOVERY_KEY, key):
                yield polecat.metadata.key

    def _of_bead(self, bead: str) -> Iterable[ObjectKey]:
        return (polecat.metadata.key for polecat in self.admission.polecats.by_index(POLECATS_BY_BEAD, bead))

    def next_in_line(self, name: str) -> Iterable[ObjectKey]:
        """Those whom the free slots of a rig are for."""
        rig = self.rigs.get(ObjectKey("", name))
        return self.admission.next_in_line(name, rig.spec.settings.max_polecats) if rig is not None else ()


@define
class PolecatReconciler:
    """Brings one polecat nearer to what its spec asks for."""

    polecats: Store[Polecat]
    rigs: Store[Rig]
    admission: Admission
    executor: Executor
    settings: OperatorSettings
    clock: Clock
    credentials: Credentials
    fence: Fence
    wakeups: Wakeups
    wake: Callable[[ObjectKey], None]
    time_to_working: Histogram

    async def reconcile(self, key: ObjectKey) -> Result:
        """Observe, plan, execute. Between observing and assuming the pod there is no await, so admission is exact."""
        polecat = self.polecats.get(key)
        if polecat is None:
            return Result()
        observed = observe(polecat, self.rigs, self.admission, self.credentials, self.fence)
        execution = await self._execute(polecat, plan(observed, self.settings, self.clock.now()))
        if execution.refusal is not None:
            refused = evolve(observed, refusal=execution.refusal)
            execution = await self._execute(polecat, plan(refused, self.settings, self.clock.now()))
        return Result(requeue_after=execution.requeue_after)

    async def _execute(self, polecat: Polecat, decided: Plan) -> Execution:
        creates = [action for action in decided.actions if isinstance(action, Create)]
        for action in creates:
            self.admission.assume(polecat, action.key, reserved_by(reservation(POD.project(action.body))))
        try:
            execution = await self.executor.execute(POLECAT, polecat, decided)
        except BaseException:
            self.admission.doubt(polecat)
            raise
        if execution.refusal is not None:
            self.admission.refused(polecat)
            for key in self.wakeups.next_in_line(polecat.spec.rig):
                self.wake(key)  # nobody else sees that the slot is free again
        elif creates:
            self.admission.created(polecat, execution.versions[POD])
        if execution.refusal is None and _begins_to_work(polecat, decided):
            since = polecat.status.enqueued_at or polecat.metadata.creation_timestamp or self.clock.now()
            self.time_to_working.observe((self.clock.now() - since).total_seconds())
        return execution


def _begins_to_work(polecat: Polecat, decided: Plan) -> bool:
    """Whether the plan says for the first time that it works."""
    phase = decided.status["phase"] if decided.status is not None else None
    before = polecat.status
    return phase == PolecatPhase.WORKING and before.phase is not PolecatPhase.WORKING and not before.attempts


def _time_to_live(rig: Rig | None) -> int | None:
    return rig.spec.defaults.ttl_seconds_after_finished if rig is not None else None


def _needs_others(polecat: Polecat) -> bool:
    """Whether it waits for what it depends on, or would once its attempt has ended."""
    return polecat.status.finished_at is None


def _needed_by(polecat: Polecat) -> set[str]:
    return set(polecat.spec.depends_on) if _needs_others(polecat) else set()


def _as_dependency(polecat: Polecat) -> tuple[PolecatPhase, bool]:
    return polecat.status.phase, satisfied(polecat)


def _claim_on_bead(polecat: Polecat) -> tuple[bool, bool]:
    return wants_bead(polecat), polecat.status.pod_active


def register(
    manager: Manager, settings: OperatorSettings, clock: Clock, credentials: Credentials, fence: Fence
) -> Admission:
    """Add the polecat controller to a manager; its admission is what metrics read."""
    polecats = manager.store(POLECAT, POLECAT_INDEXES)
    rigs = manager.store(RIG)
    pods = manager.store(POD, POD_INDEXES, label_selector=labels.OURS)
    admission = Admission(polecats, pods, clock)
    wakeups = Wakeups(admission, rigs)

    def of_credential(name: str) -> Iterable[ObjectKey]:
        for rig in rigs.by_index(RIGS_BY_CREDENTIAL, name):
            for polecat in polecats.by_index(POLECATS_BY_RIG, rig.metadata.name):
                if is_candidate(polecat):
                    yield polecat.metadata.key

    def of_fence(rig: str, namespace: str) -> Iterable[ObjectKey]:
        for polecat in polecats.by_index(POLECATS_BY_RIG, rig):
            if polecat.metadata.namespace == namespace and is_candidate(polecat):
                yield polecat.metadata.key

    watches: list[Watch[Any]] = [
        for_object(POLECAT),
        owned_by(POD, POLECAT),
        mapped(RIG, wakeups.of_rig, generation_changed),
        mapped(POD, wakeups.of_pod),
        mapped(POLECAT, wakeups.of_polecat),
        mapped(POLECAT, wakeups.of_dependency),
        mapped(RIG, wakeups.of_counted),
        *credentials.watches(of_credential),
        *fence.watches(of_fence),
    ]

    def wake(key: ObjectKey) -> None:
        manager.queue.add(Request(NAME, key))

    executor = manager.executor(NAME)
    latency = time_to_working(manager.registry)
    reconciler = PolecatReconciler(
        polecats, rigs, admission, executor, settings, clock, credentials, fence, wakeups, wake, latency
    )
    manager.add(Controller(NAME, reconciler, watches, concurrency=CONCURRENCY))
    return admission
