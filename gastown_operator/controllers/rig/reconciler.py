"""The rig controller: its caches, what wakes it, and one reconcile from observation to writes."""

from collections.abc import Iterable
from typing import Any, Final

from attrs import define, evolve, field

from gastown_operator.api.convoy import CONVOY
from gastown_operator.api.core import NAMESPACE, Namespace
from gastown_operator.api.polecat import POLECAT, Polecat
from gastown_operator.api.refinery import REFINERY
from gastown_operator.api.rig import RIG
from gastown_operator.api.witness import WITNESS
from gastown_operator.controllers.credential.problem import RIGS_BY_CREDENTIAL, Credentials
from gastown_operator.controllers.network.fence import Fence
from gastown_operator.controllers.polecat.admission import POLECATS_BY_RIG, polecats_by_rig
from gastown_operator.controllers.rig.credential import trouble
from gastown_operator.controllers.rig.observe import (
    CHILDREN_BY_RIG,
    RIGS_BY_WORK_NAMESPACE,
    Caches,
    by_rig,
    by_work_namespace,
)
from gastown_operator.controllers.rig.plan import only_counts_differ, plan
from gastown_operator.controllers.rig.spending import is_account
from gastown_operator.runtime.clock import Clock
from gastown_operator.runtime.controller import Controller, Result, Watch, for_object, mapped
from gastown_operator.runtime.execution import Executor
from gastown_operator.runtime.manager import Manager
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.store import Event, EventType

NAME: Final = "rig"
#: Counters of one rig are written at most this often, in seconds: a burst of polecats is a few writes, not one each.
COUNT_INTERVAL: Final = 1.0


@define
class RigReconciler:
    """Brings one rig's status and children up to date."""

    caches: Caches
    executor: Executor
    clock: Clock
    _counted: dict[ObjectKey, float] = field(init=False, factory=dict)

    async def reconcile(self, key: ObjectKey) -> Result:
        """Observe, plan, execute."""
        rig = self.caches.rigs.get(key)
        if rig is None:
            self._counted.pop(key, None)
            return Result()
        observed = self.caches.observe(rig)
        decided = plan(observed, self.clock.now())
        if only_counts_differ(rig, decided):
            wait = self._counted.get(key, -COUNT_INTERVAL) + COUNT_INTERVAL - self.clock.monotonic()
            if wait > 0:
                return Result(requeue_after=wait)
        if decided.status is not None:
            self._counted[key] = self.clock.monotonic()
        execution = await self.executor.execute(RIG, rig, decided)
        if execution.refusal is not None:
            refused = evolve(observed, refusals=(execution.refusal,))
            execution = await self.executor.execute(RIG, rig, plan(refused, self.clock.now()))
        return Result(requeue_after=execution.requeue_after)


def register(manager: Manager, clock: Clock, credentials: Credentials, fence: Fence) -> None:
    """Add the rig controller to a manager; `credentials` are those that the operator was given, `fence` its policies."""
    caches = Caches(
        rigs=manager.store(RIG, {RIGS_BY_WORK_NAMESPACE: by_work_namespace}),
        namespaces=manager.store(NAMESPACE),
        polecats=manager.store(POLECAT, {POLECATS_BY_RIG: polecats_by_rig}),
        convoys=manager.store(CONVOY, {CHILDREN_BY_RIG: by_rig}),
        witnesses=manager.store(WITNESS, {CHILDREN_BY_RIG: by_rig}),
        refineries=manager.store(REFINERY, {CHILDREN_BY_RIG: by_rig}),
        credentials=credentials,
        fence=fence,
    )

    def of_credential(name: str) -> Iterable[ObjectKey]:
        return (rig.metadata.key for rig in caches.rigs.by_index(RIGS_BY_CREDENTIAL, name))

    def of_namespace(event: Event[Namespace]) -> Iterable[ObjectKey]:
        for rig in caches.rigs.by_index(RIGS_BY_WORK_NAMESPACE, event.object.metadata.name):
            yield rig.metadata.key

    watches: list[Watch[Any]] = [
        for_object(RIG),
        mapped(NAMESPACE, of_namespace),
        mapped(POLECAT, _rig_of_polecat, _counts),
        mapped(CONVOY, _rig_of_child),
        mapped(WITNESS, _rig_of_child),
        mapped(REFINERY, _rig_of_child),
        *credentials.watches(of_credential),
    ]
    manager.add(
        Controller(NAME, RigReconciler(caches, manager.executor(NAME), clock), watches, concurrency=2)
    )


def _counts(event: Event[Polecat]) -> bool:
    """Whether a polecat comes or goes, is to be accounted for, costs or reserves something else, or is stuck by the rig's credential."""
    old, new = event.old, event.new
    if event.type is not EventType.MODIFIED or old is None or new is None:
        return True
    return _told(old) != _told(new)


def _told(polecat: Polecat) -> tuple[Any, ...]:
    status = polecat.status
    return is_account(polecat), trouble(polecat), status.usage, status.reserved


def _rig_of_polecat(event: Event[Polecat]) -> Iterable[ObjectKey]:
    return (ObjectKey("", event.object.spec.rig),)


def _rig_of_child(event: Event[Any]) -> Iterable[ObjectKey]:
    return (ObjectKey("", event.object.spec.rig_ref),)
