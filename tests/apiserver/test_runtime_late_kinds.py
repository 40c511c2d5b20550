"""Kinds that come after the manager, and go and come back under it."""

from collections.abc import AsyncIterator
from uuid import uuid4

import anyio
import pytest
from attrs import define, field

from gastown_operator.runtime.client import Client
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.controller import Controller, Result, for_object
from gastown_operator.runtime.errors import ApiError, NotFound
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.objects import ObjectKey, PartialObject, Raw, Resource
from gastown_operator.runtime.store import Event, EventType
from tests.apiserver.clocks import HastyClock
from tests.apiserver.copier import POLL, cached, live, running, until
from tests.apiserver.link import Link

pytestmark = pytest.mark.anyio

CRD = Resource(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
    project=PartialObject.project,
)


@define
class Widgets:
    """A kind of the test's own, that can be defined and removed."""

    admin: Client
    resource: Resource[PartialObject]

    @property
    def key(self) -> ObjectKey:
        return ObjectKey("", str(self.resource))

    async def define(self) -> None:
        """Create the CRD."""
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
        spec = {
            "group": self.resource.group,
            "scope": "Namespaced",
            "names": {"kind": self.resource.kind, "plural": self.resource.plural},
            "versions": [version],
        }
        await self.admin.create(CRD, {"metadata": {"name": self.key.name}, "spec": spec}, "test")

    async def remove(self) -> None:
        """Delete the CRD with all its objects, and wait until it has gone."""
        await self.admin.delete(CRD, self.key)
        with anyio.fail_after(60):
            while True:
                try:
                    await self.admin.get(CRD, self.key)
                except NotFound:
                    return
                await anyio.sleep(POLL)

    async def make(self, namespace: str, name: str) -> None:
        """Create an object, as soon as the API server takes it."""
        body: Raw = {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "metadata": {"name": name, "namespace": namespace},
        }
        with anyio.fail_after(60):
            while True:
                try:
                    await self.admin.create(self.resource, body, "test")
                except ApiError as error:
                    if not error.retryable:
                        raise
                    await anyio.sleep(POLL)
                else:
                    return


@pytest.fixture
async def widgets(admin: Client) -> AsyncIterator[Widgets]:
    group = f"late-{uuid4().hex[:8]}.example"
    resource = Resource(group, "v1", "Widget", "widgets", namespaced=True, project=PartialObject.project)
    made = Widgets(admin, resource)
    yield made
    await made.remove()


@define
class Seen:
    """A controller that only notes what it was woken for."""

    names: list[str] = field(factory=list)

    async def reconcile(self, key: ObjectKey) -> Result:
        self.names.append(key.name)
        return Result()


async def test_a_kind_may_come_late_and_go_and_come_back(
    connection: Connection, admin: Client, namespace: str, widgets: Widgets
) -> None:
    manager = Manager(connection, Options("runtime-test", namespaces=(namespace,)), HastyClock())
    cache, seen, told = manager.store(widgets.resource), Seen(), list[Event[PartialObject]]()
    cache.add_handler(told.append)
    manager.add(Controller("seen", seen, [for_object(widgets.resource)]))

    def missing() -> bool:
        report = manager.readyz.run()
        return not report.healthy and f"{widgets.resource} Backoff" in report.text and "404" in report.text

    async with running(manager):
        await until(missing, "it says that the kind is missing")
        await widgets.define()
        await widgets.make(namespace, "first")
        await until(lambda: seen.names == ["first"], "the object of the late kind")
        assert manager.readyz.run().healthy

        await widgets.remove()
        await until(missing, "it says that the kind is missing again")
        await widgets.define()
        await widgets.make(namespace, "second")
        await until(lambda: seen.names[-1:] == ["second"], "the object of the kind that came back")
        assert manager.readyz.run().healthy
        assert cached(cache) == await live(admin, widgets.resource, namespace)
    assert [(event.type.value, event.object.metadata.name) for event in told] == [
        ("ADDED", "first"),
        ("DELETED", "first"),
        ("ADDED", "second"),
    ]


async def test_a_kind_that_came_back_unseen_has_other_objects_of_the_same_names(
    connection: Connection, admin: Client, namespace: str, widgets: Widgets
) -> None:
    await widgets.define()
    await widgets.make(namespace, "same")
    await widgets.make(namespace, "old")
    async with Link.to(connection) as link:
        manager = Manager(link.connection, Options("runtime-test", namespaces=(namespace,)), HastyClock())
        cache, told = manager.store(widgets.resource), list[Event[PartialObject]]()
        async with running(manager):
            await until(lambda: len(cache) == 2, "the first objects")
            cache.add_handler(told.append)
            await link.cut()
            await widgets.remove()
            await widgets.define()
            await widgets.make(namespace, "same")
            await link.mend()
            await until(lambda: manager.readyz.run().healthy, "ready again")
            await until(lambda: len(told) == 3, "what has changed")
            assert cached(cache) == await live(admin, widgets.resource, namespace)
    deleted = {event.object.metadata.name for event in told if event.type is EventType.DELETED}
    assert deleted == {"same", "old"}
    assert [event.object.metadata.name for event in told if event.type is EventType.ADDED] == ["same"]
