"""A history that is gone: watches that cannot go on where they ended, and the deletions that they missed."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from attrs import define, field

from gastown_operator.runtime.client import Client, Page
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.objects import ObjectKey, PartialObject, Raw, Resource
from gastown_operator.runtime.store import Event
from tests.apiserver.clocks import HastyClock
from tests.apiserver.copier import cached, live, relists, running, sample, until
from tests.apiserver.link import Link
from tests.support.cluster import CONFIG_MAP
from tests.support.lab import Lab

pytestmark = pytest.mark.anyio

# The lab's API server watches this kind in etcd itself, not in a cache that outlives compaction (hack/lab/components.py).
POD_TEMPLATE = Resource(
    "", "v1", "PodTemplate", "podtemplates", namespaced=True, project=PartialObject.project
)
LABELLED = {"kept": "before", "changed": "before", "deleted": "before", "recreated": "before"}


def body(namespace: str, name: str, label: str) -> Raw:
    template = {"spec": {"containers": [{"name": "c", "image": "none"}]}}
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"state": label}},
        "template": template,
    }


async def change(admin: Client, resource: Resource[PartialObject], namespace: str) -> None:
    """Do everything that a cache can miss."""
    await admin.merge_patch(
        resource, ObjectKey(namespace, "changed"), {"metadata": {"labels": {"state": "after"}}}, "test"
    )
    for name in ("deleted", "recreated"):
        await admin.delete(resource, ObjectKey(namespace, name))
    for name in ("recreated", "created"):
        await admin.create(resource, body(namespace, name, "after"), "test")
    await admin.create(resource, body(namespace, "fleeting", "after"), "test")
    await admin.delete(resource, ObjectKey(namespace, "fleeting"))


def told_of(events: list[Event[PartialObject]]) -> set[tuple[str, str, str]]:
    """Return type, name and label of each event, with a star where the last state is unknown."""
    return {
        (
            event.type.value + ("*" if event.final_state_unknown else ""),
            event.object.metadata.name,
            event.object.metadata.labels["state"],
        )
        for event in events
    }


@pytest.mark.parametrize(
    ("resource", "restarted"), [(POD_TEMPLATE, False), (CONFIG_MAP, True)], ids=["compacted", "restarted"]
)
async def test_what_a_lost_history_hides_is_found_by_reading_everything_again(
    connection: Connection,
    admin: Client,
    namespace: str,
    lab: Lab,
    resource: Resource[PartialObject],
    restarted: bool,
) -> None:
    for name, label in LABELLED.items():
        await admin.create(resource, body(namespace, name, label), "test")
    async with Link.to(connection) as link:
        manager = Manager(link.connection, Options("runtime-test", namespaces=(namespace,)), HastyClock())
        cache, told = manager.store(resource), list[Event[PartialObject]]()
        cache.add_index("state", lambda each: [each.metadata.labels.get("state", "")])
        async with running(manager):
            await until(lambda: manager.readyz.run().healthy, "ready")
            cache.add_handler(told.append)
            await link.cut()
            await change(admin, resource, namespace)
            lab.compact_etcd()
            if restarted:
                await lab.restart("kube-apiserver", kill=True)
            await link.mend()
            await until(lambda: manager.readyz.run().healthy, "ready again")
            await until(lambda: len(told) == 5, "what was missed")
            assert cached(cache) == await live(admin, resource, namespace)
            indexed = [each.metadata.name for each in cache.by_index("state", "after")]
            assert indexed == ["changed", "created", "recreated"]
    assert told_of(told) == {
        ("MODIFIED", "changed", "after"),
        ("DELETED*", "deleted", "before"),
        ("DELETED*", "recreated", "before"),
        ("ADDED", "recreated", "after"),
        ("ADDED", "created", "after"),
    }
    assert relists(manager, resource, "expired") == 1
    assert sample(manager, "informer_watch_restarts_total", resource=str(resource), reason="expired") == 1


@define(eq=False, repr=False)
class CompactingClient(Client):
    """The runtime's client in a cluster whose etcd forgets the past after every page of a list."""

    lab: Lab = field(kw_only=True)

    async def list_page(self, *arguments: Any, **options: Any) -> Page:
        page = await super().list_page(*arguments, **options)
        filler = {"metadata": {"namespace": arguments[1], "generateName": "filler-"}}
        await self.create(CONFIG_MAP, filler, "test")
        self.lab.compact_etcd()
        return page


async def test_a_list_whose_next_page_expires_is_read_in_one_piece(
    connection: Connection, namespace: str, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token of a page names a version, and etcd may forget that before the page is asked for."""
    monkeypatch.setattr("gastown_operator.runtime.reflector.PAGE_SIZE", 2)
    manager = Manager(connection, Options("runtime-test", namespaces=(namespace,)))
    cache = manager.store(POD_TEMPLATE)
    (reflector,) = manager._reflectors
    reflector._can_stream = False
    reflector._client = CompactingClient(reflector._client._transport, lab=lab)
    for number in range(5):
        await manager.client.create(POD_TEMPLATE, body(namespace, f"t-{number}", "x"), "test")
    async with running(manager):
        await until(lambda: len(cache) == 5, "all pages")
        assert cached(cache) == await live(manager.client, POD_TEMPLATE, namespace)
    host = urlsplit(connection.server).netloc
    assert sample(manager, "rest_client_requests_total", code="410", method="GET", host=host) == 1
