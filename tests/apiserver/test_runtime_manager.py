"""The runtime against a real API server: a controller that gives each config map of a kind a copy that it owns."""

from collections.abc import AsyncIterator

import pytest

from gastown_operator.runtime.client import Client
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.errors import AlreadyExists, Conflict, Invalid, NotFound
from gastown_operator.runtime.execution import NotOurs
from gastown_operator.runtime.helpers import controller_reference
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.objects import ObjectKey, PartialObject, Resource
from gastown_operator.runtime.plan import Create, Delete, EventNote, Plan
from gastown_operator.runtime.store import Store
from tests.apiserver.copier import copier, original, running, until
from tests.support.cluster import CONFIG_MAP

pytestmark = pytest.mark.anyio

POD = Resource("", "v1", "Pod", "pods", namespaced=True, project=PartialObject.project)
EVENTS = Resource("events.k8s.io", "v1", "Event", "events", namespaced=True, project=PartialObject.project)


@pytest.fixture
async def manager(connection: Connection, namespace: str) -> Manager:
    return Manager(connection, Options("runtime-test", namespaces=(namespace,)))


@pytest.fixture
async def live(manager: Manager) -> AsyncIterator[Client]:
    yield manager.client
    await manager.close()


async def test_a_controller_brings_its_objects_about_and_brings_them_back(
    manager: Manager, namespace: str
) -> None:
    client, cache = manager.client, manager.store(CONFIG_MAP)
    made = copier(manager)
    await client.create(CONFIG_MAP, original(namespace, "early"), "test")
    async with running(manager):
        for number in range(50):
            await client.create(CONFIG_MAP, original(namespace, f"o-{number}"), "test")
        await until(lambda: sum(1 for each in cache.values() if each.metadata.name.endswith("-copy")) == 51)
        copy = cache.get(ObjectKey(namespace, "early-copy"))
        assert copy is not None
        assert copy.metadata.controller is not None
        await client.delete(CONFIG_MAP, copy.metadata.key, uid=copy.metadata.uid)
        await until(lambda: _uid(cache, copy.metadata.key) not in {None, copy.metadata.uid})
        settled = made.reconciles
        await until(lambda: manager.queue.state("copier").delayed == 0)
    assert made.refusals == []
    assert made.reconciles <= settled + 5
    creates = manager.registry.get_sample_value(
        "controller_runtime_reconcile_errors_total", {"controller": "copier"}
    )
    assert creates == 0


def _uid(cache: Store[PartialObject], key: ObjectKey) -> str | None:
    found = cache.get(key)
    return found.metadata.uid if found is not None else None


async def test_a_name_that_is_not_ours_is_reported_and_left_alone(manager: Manager, namespace: str) -> None:
    taken = {"metadata": {"name": "x-copy", "namespace": namespace}, "data": {"mine": "yes"}}
    foreign = await manager.client.create(CONFIG_MAP, taken, "someone")
    source = await manager.client.create(CONFIG_MAP, original(namespace, "x"), "test")
    target = PartialObject.project(source)
    body = {
        "metadata": {
            **taken["metadata"],
            "ownerReferences": [controller_reference(CONFIG_MAP, target.metadata)],
        }
    }
    execution = await manager.executor("copier").execute(
        CONFIG_MAP, target, Plan((Create(CONFIG_MAP, body),), status={"never": "written"})
    )
    assert execution.refusal is not None
    assert isinstance(execution.refusal.error, NotOurs)
    left = await manager.client.get(CONFIG_MAP, ObjectKey(namespace, "x-copy"))
    assert left["metadata"]["uid"] == foreign["metadata"]["uid"]
    await manager.close()


async def test_events_are_recorded_and_repeated_ones_are_one_series(
    manager: Manager, live: Client, namespace: str
) -> None:
    target = PartialObject.project(await live.create(CONFIG_MAP, original(namespace, "x"), "test"))
    note = EventNote("Warning", "Broken", "again and again")
    for _ in range(1000):
        await manager.executor("copier").execute(CONFIG_MAP, target, Plan(events=(note,)))
    await manager.recorder.flush()
    page = await live.list_page(EVENTS, namespace)
    assert [(event["reason"], event["series"]["count"]) for event in page.items] == [("Broken", 2)]
    assert page.items[0]["regarding"]["uid"] == target.metadata.uid


async def test_status_is_applied_to_the_object_that_was_meant(
    manager: Manager, live: Client, namespace: str
) -> None:
    """Pitfall 23: a namesake with another UID is not written to; a vanished object is nobody's failure."""
    key = ObjectKey(namespace, "p")
    body = {
        "metadata": {"name": "p", "namespace": namespace},
        "spec": {"containers": [{"name": "c", "image": "none"}]},
    }
    first = PartialObject.project(await live.create(POD, body, "test"))
    plan = Plan(status={"message": "seen"})
    await manager.executor("copier").execute(POD, first, plan)
    assert (await live.get(POD, key))["status"]["message"] == "seen"
    managers = {entry["manager"] for entry in (await live.get(POD, key))["metadata"]["managedFields"]}
    assert "runtime-test-copier" in managers
    await live.delete(POD, key, uid=first.metadata.uid, grace_period_seconds=0)
    await manager.executor("copier").execute(POD, first, plan)
    await live.create(POD, body, "test")
    with pytest.raises(Conflict):
        await manager.executor("copier").execute(POD, first, plan)
    assert "message" not in (await live.get(POD, key))["status"]


async def test_deleting_means_that_object_and_no_other(
    manager: Manager, live: Client, namespace: str
) -> None:
    key = ObjectKey(namespace, "x")
    first = PartialObject.project(await live.create(CONFIG_MAP, original(namespace, "x"), "test"))
    executor = manager.executor("copier")
    other = Delete(CONFIG_MAP, key, "00000000-0000-0000-0000-000000000000")
    await executor.execute(CONFIG_MAP, first, Plan((other,)))
    assert (await live.get(CONFIG_MAP, key))["metadata"]["uid"] == first.metadata.uid
    ours = Delete(CONFIG_MAP, key, first.metadata.uid)
    await executor.execute(CONFIG_MAP, first, Plan((ours, ours)))
    with pytest.raises(NotFound):
        await live.get(CONFIG_MAP, key)


async def test_the_servers_refusals_have_types(live: Client, namespace: str) -> None:
    await live.create(CONFIG_MAP, original(namespace, "x"), "test")
    with pytest.raises(AlreadyExists):
        await live.create(CONFIG_MAP, original(namespace, "x"), "test")
    with pytest.raises(Invalid):
        await live.create(CONFIG_MAP, original(namespace, "Not_a_name"), "test")
    with pytest.raises(NotFound):
        await live.create(CONFIG_MAP, original("nowhere", "x"), "test")
    stale = {"metadata": {"resourceVersion": "1"}, "data": {"a": "b"}}
    with pytest.raises(Conflict):
        await live.merge_patch(CONFIG_MAP, ObjectKey(namespace, "x"), stale, "test")


async def test_pages_make_the_whole_list(live: Client, namespace: str) -> None:
    for number in range(5):
        await live.create(CONFIG_MAP, original(namespace, f"o-{number}"), "test")
    names: list[str] = []
    token, first = "", True
    while first or token:
        page = await live.list_page(CONFIG_MAP, namespace, limit=2, continue_token=token)
        names += [item["metadata"]["name"] for item in page.items]
        token, first = page.continue_token, False
    assert [name for name in names if name.startswith("o-")] == [f"o-{number}" for number in range(5)]
