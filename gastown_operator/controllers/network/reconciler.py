"""The network controller: its caches, what wakes it, and one reconcile of a namespace from observation to writes."""

from collections.abc import Iterable
from typing import Any, Final

from attrs import define, field

from gastown_operator.api import labels
from gastown_operator.api.core import NAMESPACE, POD, Namespace, Pod
from gastown_operator.api.networkpolicy import NETWORK_POLICY, NetworkPolicy
from gastown_operator.api.rig import RIG, Rig
from gastown_operator.controllers.network.fence import Fence
from gastown_operator.controllers.network.observe import (
    PODS_BY_NAMESPACE,
    POLICIES_BY_NAMESPACE,
    RIGS_BY_NAMESPACE,
    Caches,
    Observed,
    by_namespace,
    namespaces_of,
    running_by_namespace,
)
from gastown_operator.controllers.network.plan import plan
from gastown_operator.controllers.network.settings import NetworkSettings
from gastown_operator.runtime.controller import (
    Controller,
    Result,
    Watch,
    for_object,
    generation_changed,
    mapped,
)
from gastown_operator.runtime.execution import Executor, Refusal
from gastown_operator.runtime.manager import Manager
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.plan import Action, EventNote, Plan
from gastown_operator.runtime.store import Event, EventType

NAME: Final = "network"
#: Seconds until a refused write is tried again, at first and at most: rights, quotas and admission policies change without an event for us.
FIRST_RETRY: Final = 5.0
LAST_RETRY: Final = 60.0


@define
class NetworkReconciler:
    """Brings the policies of one namespace up to date."""

    caches: Caches
    executor: Executor
    settings: NetworkSettings
    _refusals: dict[ObjectKey, str] = field(init=False, factory=dict)
    _pauses: dict[ObjectKey, float] = field(init=False, factory=dict)

    async def reconcile(self, key: ObjectKey) -> Result:
        """Observe, plan, execute. Everything is one namespace, so no two workers ever write one policy."""
        namespace = self.caches.namespaces.get(key)
        if namespace is None:
            self._forget(key)
            return Result()
        observed = self.caches.observe(namespace)
        refusals = await self._write(namespace, plan(observed, self.settings).actions)
        if not refusals:
            self._forget(key)
            return Result()
        await self._refused(observed, refusals[0])
        pause = self._pauses.get(key, FIRST_RETRY)
        self._pauses[key] = min(2 * pause, LAST_RETRY)
        return Result(requeue_after=pause)

    async def _write(self, namespace: Namespace, actions: Iterable[Action]) -> list[Refusal]:
        """Do each by itself: one that is refused must not keep other rigs' policies from being put right, or taken away."""
        done = [await self.executor.execute(NAMESPACE, namespace, Plan((action,))) for action in actions]
        return [execution.refusal for execution in done if execution.refusal is not None]

    def _forget(self, key: ObjectKey) -> None:
        """Nothing is refused there."""
        self._refusals.pop(key, None)
        self._pauses.pop(key, None)

    async def _refused(self, observed: Observed, refusal: Refusal) -> None:
        """Tell the rigs of the namespace that their pods are not fenced in as they should be, once for each cause."""
        key, cause = observed.namespace.metadata.key, str(refusal.error)
        if self._refusals.get(key) == cause:
            return
        self._refusals[key] = cause
        text = (
            f'the API server refused a NetworkPolicy in namespace "{key.name}": {cause}; without its policy no polecat starts '
            "there, and a change of it does not reach those that run; it is tried again at least every minute"
        )
        for rig in observed.rigs:
            await self.executor.execute(
                RIG, rig, Plan(events=(EventNote("Warning", "NetworkPolicyRefused", text),))
            )


def register(manager: Manager, settings: NetworkSettings) -> Fence:
    """Add the network controller to a manager; the fence is what the polecat controller asks before it starts a pod."""
    caches = Caches(
        namespaces=manager.store(NAMESPACE),
        rigs=manager.store(RIG, {RIGS_BY_NAMESPACE: namespaces_of}),
        policies=manager.store(
            NETWORK_POLICY, {POLICIES_BY_NAMESPACE: by_namespace}, label_selector=labels.OURS
        ),
        pods=manager.store(POD, {PODS_BY_NAMESPACE: running_by_namespace}, label_selector=labels.OURS),
    )

    def in_scope(name: str) -> bool:
        return not settings.namespaces or name in settings.namespaces

    def of_rig(event: Event[Rig]) -> Iterable[ObjectKey]:
        """Where it worked and where it works."""
        for rig in (event.old, event.new):
            if rig is not None:
                yield from (ObjectKey("", name) for name in namespaces_of(rig) if in_scope(name))

    def of_pod(event: Event[Pod]) -> Iterable[ObjectKey]:
        """The end of a pod matters where its rig does not work any more."""
        metadata = event.object.metadata
        if event.type is not EventType.DELETED and not event.object.phase.terminal:
            return ()
        rigs = caches.rigs.by_index(RIGS_BY_NAMESPACE, metadata.namespace)
        rig = metadata.annotations.get(labels.RIG)
        wanted = any(rig == it.metadata.name for it in rigs)
        return () if wanted or not in_scope(metadata.namespace) else (ObjectKey("", metadata.namespace),)

    watches: list[Watch[Any]] = [
        for_object(NAMESPACE, lambda event: _comes_or_goes(event) and in_scope(event.object.metadata.name)),
        mapped(RIG, of_rig, generation_changed),
        mapped(NETWORK_POLICY, _namespace_of),
        mapped(POD, of_pod),
    ]
    manager.add(
        Controller(NAME, NetworkReconciler(caches, manager.executor(NAME), settings), watches, concurrency=2)
    )
    return Fence(caches.policies, settings)


def _comes_or_goes(event: Event[Namespace]) -> bool:
    """Labels of a namespace are not ours to read."""
    return (
        event.type is not EventType.MODIFIED
        or event.old is None
        or event.new is None
        or event.old.phase != event.new.phase
    )


def _namespace_of(event: Event[NetworkPolicy]) -> Iterable[ObjectKey]:
    return (ObjectKey("", event.object.metadata.namespace),)
