"""The housekeeping controller: its caches, what wakes it, and one reconcile from observation to writes."""

from collections.abc import Iterable
from typing import Any, Final

from attrs import define

from gastown_operator.api import labels
from gastown_operator.api.batch import JOB
from gastown_operator.api.core import NAMESPACE, POD, Namespace, Pod
from gastown_operator.api.polecat import POLECAT, Polecat
from gastown_operator.api.rig import RIG, Rig
from gastown_operator.controllers.housekeeping.metrics import HousekeepingCollector
from gastown_operator.controllers.housekeeping.observe import Caches
from gastown_operator.controllers.housekeeping.plan import Scope, has_begun, plan, plan_refused
from gastown_operator.controllers.metrics import OfLeader
from gastown_operator.controllers.network.fence import Fence
from gastown_operator.controllers.polecat.admission import POLECATS_BY_RIG, polecats_by_rig
from gastown_operator.controllers.polecat.observe import POD_INDEXES
from gastown_operator.controllers.rig.observe import RIGS_BY_WORK_NAMESPACE, by_work_namespace
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
from gastown_operator.runtime.execution import Executor
from gastown_operator.runtime.manager import Manager
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.store import Event, Store

NAME: Final = "housekeeping"


@define
class HousekeepingReconciler:
    """Sees to the refs of one rig."""

    caches: Caches
    executor: Executor
    scope: Scope
    clock: Clock

    async def reconcile(self, key: ObjectKey) -> Result:
        """Observe, plan, execute."""
        rig = self.caches.rigs.get(key)
        if rig is None or not self._in_scope(rig):
            return Result()
        observed = self.caches.observe(rig)
        execution = await self.executor.execute(RIG, rig, plan(observed, self.scope, self.clock.now()))
        if execution.refusal is not None:
            refused = plan_refused(observed, execution.refusal, self.clock.now())
            execution = await self.executor.execute(RIG, rig, refused)
        return Result(requeue_after=execution.requeue_after)

    def _in_scope(self, rig: Rig) -> bool:
        """Of several operators, that one sees to a rig which works in its namespace."""
        return not self.scope.namespaces or rig.spec.work_namespace in self.scope.namespaces


def register(
    manager: Manager, settings: OperatorSettings, namespaces: tuple[str, ...], clock: Clock, fence: Fence
) -> None:
    """Add the housekeeping controller to a manager; `namespaces` are those that the manager watches, none for all."""
    caches = Caches(
        rigs=manager.store(RIG, {RIGS_BY_WORK_NAMESPACE: by_work_namespace}),
        namespaces=manager.store(NAMESPACE),
        polecats=manager.store(POLECAT, {POLECATS_BY_RIG: polecats_by_rig}),
        pods=manager.store(POD, POD_INDEXES, label_selector=labels.OURS),
        jobs=manager.store(JOB, label_selector=labels.OURS),
        fence=fence,
    )

    def of_namespace(event: Event[Namespace]) -> Iterable[ObjectKey]:
        for rig in caches.rigs.by_index(RIGS_BY_WORK_NAMESPACE, event.object.metadata.name):
            yield rig.metadata.key

    def of_pod(event: Event[Pod]) -> Iterable[ObjectKey]:
        owner = event.object.metadata.controller
        if owner is not None and owner.kind == JOB.kind:
            job = caches.jobs.get(ObjectKey(event.object.metadata.namespace, owner.name))
            rig = job.metadata.controller if job is not None else None
            if rig is not None:
                yield ObjectKey("", rig.name)

    def of_polecat(event: Event[Polecat]) -> Iterable[ObjectKey]:
        return rigs_that_wait(caches.rigs, event.object)

    def of_fence(rig: str, _: str) -> Iterable[ObjectKey]:
        return (ObjectKey("", rig),)

    watches: list[Watch[Any]] = [
        for_object(RIG, _concerns),
        mapped(NAMESPACE, of_namespace),
        mapped(POLECAT, of_polecat, _begins),
        owned_by(JOB, RIG),
        mapped(POD, of_pod),
        *fence.watches(of_fence),
    ]
    reconciler = HousekeepingReconciler(caches, manager.executor(NAME), Scope(settings, namespaces), clock)
    manager.add(Controller(NAME, reconciler, watches, concurrency=2))
    manager.registry.register(OfLeader(HousekeepingCollector(caches.rigs), manager.may_write))


def _concerns(event: Event[Rig]) -> bool:
    """Whether a rig changed, or what was recorded of its housekeeping."""
    if generation_changed(event) or event.old is None or event.new is None:
        return True
    return event.old.status.housekeeping != event.new.status.housekeeping


def _begins(event: Event[Polecat]) -> bool:
    """Whether a polecat is seen for the first time with a pod."""
    return event.new is not None and has_begun(event.new) and (event.old is None or not has_begun(event.old))


def rigs_that_wait(rigs: Store[Rig], polecat: Polecat) -> Iterable[ObjectKey]:
    """The polecat's rig where no interval has begun: thousands that start later need not have all of them looked at each time."""
    rig = rigs.get(ObjectKey("", polecat.spec.rig))
    told = rig.status.housekeeping if rig is not None else None
    return (rig.metadata.key,) if rig is not None and (told is None or told.pending_since is None) else ()
