"""Ten thousand objects: the first read, streamed and in pages, lookups by index, and reading again after a restart."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import anyio
import pytest
from attrs import define, field

from gastown_operator.runtime.client import Client
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.objects import ObjectKey, PartialObject
from gastown_operator.runtime.reflector import PAGE_SIZE
from gastown_operator.runtime.store import Event
from tests.apiserver.clocks import HastyClock
from tests.apiserver.copier import cached, live, relists, running, sample, until
from tests.apiserver.link import Link
from tests.support.cluster import CONFIG_MAP
from tests.support.lab import Lab

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

OBJECTS = 10_000
GROUPS = 100
WRITERS = 32


@define
class Figures:
    """What the steps took; printed, and judged elsewhere (tests/bench)."""

    steps: dict[str, float] = field(factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = monotonic()
        yield
        self.steps[f"{name} s"] = round(monotonic() - began, 2)

    def memory(self, name: str) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.steps[f"{name} MiB"] = round(pages * resource.getpagesize() / 2**20, 1)


async def create_objects(admin: Client, namespace: str) -> None:
    numbers = iter(range(OBJECTS))

    async def write() -> None:
        for number in numbers:
            labels = {"group": f"g{number % GROUPS}"}
            metadata = {"name": f"o-{number:05}", "namespace": namespace, "labels": labels}
            await admin.create(CONFIG_MAP, {"metadata": metadata}, "test")

    async with anyio.create_task_group() as writers:
        for _ in range(WRITERS):
            writers.start_soon(write)


def by_group(each: PartialObject) -> list[str]:
    return [each.metadata.labels["group"]] if "group" in each.metadata.labels else []


async def test_ten_thousand_objects_are_read_found_and_read_again(
    connection: Connection, admin: Client, namespace: str, lab: Lab
) -> None:
    figures = Figures()
    with figures.step("create"):
        await create_objects(admin, namespace)
    present = await live(admin, CONFIG_MAP, namespace)
    figures.memory("before")

    paged = Manager(connection, Options("runtime-test", namespaces=(namespace,)))
    pages = paged.store(CONFIG_MAP, {"group": by_group})
    (reflector,) = paged._reflectors
    reflector._can_stream = False
    with figures.step("sync in pages"):
        async with running(paged):
            await until(lambda: paged.readyz.run().healthy, "all pages", 60)
    assert cached(pages) == present
    host = urlsplit(connection.server).netloc
    reads = sample(paged, "rest_client_requests_total", code="200", method="GET", host=host)
    assert reads > OBJECTS / PAGE_SIZE

    async with Link.to(connection) as link:
        manager = Manager(link.connection, Options("runtime-test", namespaces=(namespace,)), HastyClock())
        cache, told = manager.store(CONFIG_MAP, {"group": by_group}), list[Event[PartialObject]]()
        began = monotonic()
        async with running(manager):
            await until(lambda: manager.readyz.run().healthy, "the whole stream", 60)
            figures.steps["sync by a stream s"] = round(monotonic() - began, 2)
            figures.memory("synced")
            assert cached(cache) == present
            with figures.step(f"{GROUPS} lookups"):
                found = {f"g{number}": cache.by_index("group", f"g{number}") for number in range(GROUPS)}
            assert {len(members) for members in found.values()} == {OBJECTS // GROUPS}
            assert [each.metadata.name for each in found["g7"]] == [
                f"o-{number:05}" for number in range(7, OBJECTS, GROUPS)
            ]

            cache.add_handler(told.append)
            await link.cut()
            await admin.delete(CONFIG_MAP, ObjectKey(namespace, "o-00007"))
            await lab.restart("kube-apiserver", kill=True)  # which forgets what its watches have told
            await link.mend()
            with figures.step("read again"):
                await until(lambda: len(told) > 0, "the deletion", 60)
                await until(lambda: manager.readyz.run().healthy, "ready again", 60)
            figures.memory("read again")
            assert cached(cache) == await live(admin, CONFIG_MAP, namespace)
            assert len(cache.by_index("group", "g7")) == OBJECTS // GROUPS - 1
    assert [(event.type.value, event.object.metadata.name) for event in told] == [("DELETED", "o-00007")]
    assert relists(manager, CONFIG_MAP, "expired") == 1
    print(json.dumps({"objects": OBJECTS, **figures.steps}))  # noqa: T201 - figures for people
