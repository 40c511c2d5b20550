"""An operator of 60 lines: a namespace labelled `size=small` has a ResourceQuota, which comes back when somebody deletes it."""

import anyio
from attrs import frozen

from gastown_operator.runtime.configuration import load_connection
from gastown_operator.runtime.controller import Controller, Result, for_object, owned_by
from gastown_operator.runtime.execution import Executor
from gastown_operator.runtime.helpers import controller_reference
from gastown_operator.runtime.lease import LeaseOptions
from gastown_operator.runtime.logs import configure_logging
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.objects import ObjectKey, PartialObject, Resource
from gastown_operator.runtime.plan import Create, Delete, EventNote, Plan
from gastown_operator.runtime.store import Store

NAMESPACE = Resource("", "v1", "Namespace", "namespaces", namespaced=False, project=PartialObject.project)
QUOTA = Resource("", "v1", "ResourceQuota", "resourcequotas", namespaced=True, project=PartialObject.project)


def plan(namespace: PartialObject, quota: PartialObject | None) -> Plan:
    """Decide what to do, from what is there: no I/O, so a table of cases tests it."""
    wanted = namespace.metadata.labels.get("size") == "small" and not namespace.metadata.deletion_timestamp
    if wanted and quota is None:
        metadata = {
            "namespace": namespace.metadata.name,
            "name": "small",
            "ownerReferences": [controller_reference(NAMESPACE, namespace.metadata)],
        }
        body = {"metadata": metadata, "spec": {"hard": {"pods": "10"}}}
        return Plan((Create(QUOTA, body),), events=(EventNote("Normal", "QuotaCreated", "allows 10 pods"),))
    if not wanted and quota is not None and quota.metadata.controlled_by(namespace.metadata):
        return Plan((Delete(QUOTA, quota.metadata.key, quota.metadata.uid),))
    return Plan()


@frozen
class QuotaReconciler:
    """Observes in the caches, plans, and executes."""

    namespaces: Store[PartialObject]
    quotas: Store[PartialObject]
    executor: Executor

    async def reconcile(self, key: ObjectKey) -> Result:
        """Look at one namespace; a quota of that name that is somebody else's is left alone."""
        namespace = self.namespaces.get(key)
        if namespace is not None:
            quota = self.quotas.get(ObjectKey(key.name, "small"))
            execution = await self.executor.execute(NAMESPACE, namespace, plan(namespace, quota))
            if execution.refusal is not None:  # no right yet, or the name is somebody else's
                return Result(requeue_after=30.0)
        return Result()


async def main() -> None:
    """Run until SIGTERM. Several may run at once: one acts, the others stand by with warm caches."""
    configure_logging()
    manager = Manager(
        await load_connection(), Options("quota-operator", lease=LeaseOptions("quota-operator", "default"))
    )
    reconciler = QuotaReconciler(manager.store(NAMESPACE), manager.store(QUOTA), manager.executor("quota"))
    manager.add(Controller("quota", reconciler, [for_object(NAMESPACE), owned_by(QUOTA, NAMESPACE)]))
    await manager.run()


if __name__ == "__main__":
    anyio.run(main)
