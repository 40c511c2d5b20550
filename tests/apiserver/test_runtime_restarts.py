"""The API server ends and comes back: watches go on by themselves, and nothing is missed or done twice."""

from contextlib import suppress

import anyio
import pytest
from attrs import define, field

from gastown_operator.runtime.client import Client
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.errors import NotFound
from gastown_operator.runtime.lease import LeaseOptions
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.objects import ObjectKey
from tests.apiserver.copier import (
    Writer,
    cached,
    copier,
    copies,
    copies_of,
    create_originals,
    live,
    running,
    until,
)
from tests.apiserver.link import Link
from tests.support.cluster import CONFIG_MAP
from tests.support.lab import Lab

pytestmark = pytest.mark.anyio

EARLY = [f"early-{number}" for number in range(20)]
LATE = [f"late-{number}" for number in range(20)]


@define
class Readiness:
    """What /readyz said, in its order, without repetitions."""

    manager: Manager
    seen: list[bool] = field(factory=list)

    async def watch(self) -> None:
        while True:
            healthy = self.manager.readyz.run().healthy
            if self.seen[-1:] != [healthy]:
                self.seen.append(healthy)
            await anyio.sleep(0.005)


@pytest.mark.parametrize("kill", [False, True], ids=["SIGTERM", "SIGKILL"])
async def test_a_manager_goes_on_after_the_apiserver_was_restarted(
    connection: Connection, admin: Client, namespace: str, lab: Lab, kill: bool
) -> None:
    manager = Manager(connection, Options("runtime-test", namespaces=(namespace,)))
    cache, made, readiness = manager.store(CONFIG_MAP), copier(manager), Readiness(manager)
    writer = Writer(admin, namespace, "underway")
    await create_originals(admin, namespace, EARLY)
    async with running(manager), anyio.create_task_group() as observing:
        await until(lambda: copies(cache).keys() == copies_of(EARLY), "copies before the restart")
        first = copies(cache)
        observing.start_soon(readiness.watch)

        async with anyio.create_task_group() as writing:
            writing.start_soon(writer.run)  # so that reconciles are under way at that moment
            await until(lambda: len(writer.made) > 20, "objects of the writer")
            await lab.restart("kube-apiserver", kill=kill)
            writer.stopping = True
        await create_originals(admin, namespace, LATE)
        for name in EARLY[:5]:
            for each in (name, f"{name}-copy"):
                with suppress(NotFound):  # the garbage collector may have been faster
                    await admin.delete(CONFIG_MAP, ObjectKey(namespace, each))

        kept = EARLY[5:] + writer.made + LATE
        await until(lambda: copies(cache).keys() == copies_of(kept), "copies after the restart")
        await until(lambda: manager.readyz.run().healthy, "ready again")
        observing.cancel_scope.cancel()
        assert (readiness.seen[0], False in readiness.seen, readiness.seen[-1]) == (True, True, True)
        assert cached(cache) == await live(admin, CONFIG_MAP, namespace)
        assert {name: uid for name, uid in copies(cache).items() if name in first} == {
            name: uid for name, uid in first.items() if name in copies_of(kept)
        }
        assert made.refusals == []


async def test_a_manager_may_start_before_the_apiserver(
    connection: Connection, admin: Client, namespace: str
) -> None:
    await create_originals(admin, namespace, EARLY)
    async with Link.to(connection) as link:
        await link.cut()
        lease = LeaseOptions("copier", namespace, retry_period=0.5)
        manager = Manager(link.connection, Options("runtime-test", namespaces=(namespace,), lease=lease))
        cache, _ = manager.store(CONFIG_MAP), copier(manager)
        async with running(manager):
            await until(lambda: "Connect call failed" in manager.readyz.run().text, "it says why")
            await link.mend()
            await until(lambda: copies(cache).keys() == copies_of(EARLY), "copies")
            assert manager.readyz.run().healthy
