"""A small controller for tests of the runtime: it gives each config map of a kind a copy that it owns."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from attrs import define, field

from gastown_operator.runtime.client import Client
from gastown_operator.runtime.controller import Controller, Result, for_object, owned_by
from gastown_operator.runtime.errors import AlreadyExists, ApiError
from gastown_operator.runtime.execution import Executor, NotOurs
from gastown_operator.runtime.helpers import controller_reference
from gastown_operator.runtime.manager import Manager
from gastown_operator.runtime.objects import ObjectKey, PartialObject, Raw, Resource
from gastown_operator.runtime.plan import Create, EventNote, Plan
from gastown_operator.runtime.store import Store
from tests.support.cluster import CONFIG_MAP

KIND = "runtime-test"
POLL = 0.02


@define
class Writer:
    """Creates originals without a pause, whatever the API server does; what it has made is certainly there."""

    client: Client
    namespace: str
    prefix: str
    made: list[str] = field(factory=list)
    stopping: bool = False

    async def run(self) -> None:
        """Go on until told to stop; never broken off, so that nothing is made that is not in `made`."""
        while not self.stopping:
            name = f"{self.prefix}-{len(self.made)}"
            try:
                await self.client.create(CONFIG_MAP, original(self.namespace, name), "test")
            except AlreadyExists:
                pass  # the answer to an earlier attempt was lost
            except ApiError:
                await anyio.sleep(POLL)
                continue
            self.made.append(name)


@define
class Copier:
    """For each config map labelled as original, exactly one owned copy."""

    originals: Store[PartialObject]
    executor: Executor
    reconciles: int = 0
    refusals: list[str] = field(factory=list)

    async def reconcile(self, key: ObjectKey) -> Result:
        self.reconciles += 1
        original = self.originals.get(key)
        if original is None or original.metadata.labels.get(KIND) != "original":
            return Result()
        execution = await self.executor.execute(CONFIG_MAP, original, self.plan(original))
        if execution.refusal is not None:
            assert isinstance(execution.refusal.error, NotOurs)
            self.refusals.append(key.name)
        return Result(execution.requeue_after)

    def plan(self, original: PartialObject) -> Plan:
        copy = ObjectKey(original.metadata.namespace, f"{original.metadata.name}-copy")
        if self.originals.get(copy) is not None:
            return Plan()
        body = {
            "metadata": {
                "name": copy.name,
                "namespace": copy.namespace,
                "labels": {KIND: "copy"},
                "ownerReferences": [controller_reference(CONFIG_MAP, original.metadata)],
            }
        }
        return Plan((Create(CONFIG_MAP, body),), events=(EventNote("Normal", "Copied", f"made {copy.name}"),))


def copier(manager: Manager, concurrency: int = 8) -> Copier:
    """Add the controller to a manager."""
    made = Copier(manager.store(CONFIG_MAP), manager.executor("copier"))
    watches = [for_object(CONFIG_MAP), owned_by(CONFIG_MAP, CONFIG_MAP)]
    manager.add(Controller("copier", made, watches, concurrency=concurrency))
    return made


def original(namespace: str, name: str) -> Raw:
    """Return an object that the controller is to copy."""
    return {"metadata": {"name": name, "namespace": namespace, "labels": {KIND: "original"}}}


async def create_originals(client: Client, namespace: str, names: list[str]) -> None:
    """Create them at once."""
    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(client.create, CONFIG_MAP, original(namespace, name), "test")


def copies(store: Store[PartialObject]) -> dict[str, str]:
    """Return name and UID of every copy in the cache."""
    return {
        each.metadata.name: each.metadata.uid
        for each in store.values()
        if each.metadata.labels.get(KIND) == "copy"
    }


def copies_of(names: list[str]) -> set[str]:
    """Return the names that their copies have."""
    return {f"{name}-copy" for name in names}


async def until(condition: Callable[[], bool], what: str = "", seconds: float = 60) -> None:
    """Return when a condition holds. Raises AssertionError with `what` when it does not in time."""
    deadline = anyio.current_time() + seconds
    while True:
        if condition():
            return
        assert anyio.current_time() < deadline, f"not within {seconds:.0f} s: {what or condition}"
        await anyio.sleep(POLL)


@asynccontextmanager
async def running(manager: Manager) -> AsyncIterator[None]:
    """Run a manager for the time of a block."""
    async with anyio.create_task_group() as group:
        group.start_soon(manager.run)
        yield
        manager.stop()


async def live(client: Client, resource: Resource[PartialObject], namespace: str) -> dict[ObjectKey, int]:
    """Return key and version of every object that the server has, by a quorum read."""
    found: dict[ObjectKey, int] = {}
    token, first = "", True
    while first or token:
        page = await client.list_page(resource, namespace, continue_token=token)
        for raw in page.items:
            metadata = resource.project(raw).metadata
            found[metadata.key] = metadata.resource_version
        token, first = page.continue_token, False
    return found


def cached(store: Store[PartialObject]) -> dict[ObjectKey, int]:
    """Return key and version of every object in the cache."""
    return {each.metadata.key: each.metadata.resource_version for each in store.values()}


def sample(manager: Manager, name: str, **labels: str) -> float:
    """Return a metric of a manager. Raises AssertionError if there is none."""
    value = manager.registry.get_sample_value(name, labels)
    assert value is not None, f"no metric {name} {labels}"
    return value


def relists(manager: Manager, resource: Resource[PartialObject], reason: str) -> float:
    """Return how often a kind was read whole, for a reason."""
    return sample(manager, "informer_relists_total", resource=str(resource), reason=reason)
