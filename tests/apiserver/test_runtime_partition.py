"""A leader that is cut off from the API server, and what it had sent before."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from attrs import define, field

from gastown_operator.runtime.client import Client
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.errors import LeadershipLost
from gastown_operator.runtime.lease import LeaseOptions
from gastown_operator.runtime.manager import Manager, Options
from tests.apiserver.copier import (
    Copier,
    cached,
    copier,
    copies,
    copies_of,
    create_originals,
    live,
    sample,
    until,
)
from tests.apiserver.link import Link
from tests.support.audit import Write
from tests.support.cluster import CONFIG_MAP
from tests.support.lab import Lab

pytestmark = pytest.mark.anyio

DURATION, RENEW_DEADLINE, RETRY_PERIOD = 7.0, 4.0, 0.5  # what is between the first two is for a busy machine
BEFORE = [f"before-{number}" for number in range(5)]
MEANWHILE = [f"meanwhile-{number}" for number in range(5)]


@define
class Replica:
    """A manager with the copier, that takes part in an election."""

    connection: Connection
    namespace: str
    name: str
    manager: Manager = field(init=False)
    copier: Copier = field(init=False)
    lost: bool = False

    def __attrs_post_init__(self) -> None:
        lease = LeaseOptions("copier", self.namespace, self.name, DURATION, RENEW_DEADLINE, RETRY_PERIOD)
        options = Options("runtime-test", user_agent=self.name, namespaces=(self.namespace,), lease=lease)
        self.manager = Manager(self.connection, options)
        self.copier = copier(self.manager)

    @property
    def leads(self) -> bool:
        return self.manager.elector is not None and self.manager.elector.leading

    @property
    def copies(self) -> set[str]:
        return set(copies(self.manager.store(CONFIG_MAP)))

    @property
    def events(self) -> float:
        return sample(self.manager, "events_recorded_total", outcome="created")

    async def run(self) -> None:
        try:
            await self.manager.run()
        except LeadershipLost:
            self.lost = True


@asynccontextmanager
async def running(*replicas: Replica) -> AsyncIterator[None]:
    """Run replicas of which the first leads."""
    async with anyio.create_task_group() as group:
        for replica in replicas:
            group.start_soon(replica.run)
            await until(lambda: replicas[0].leads, "the first one leads")
        yield
        for replica in replicas:
            replica.manager.stop()


@pytest.mark.parametrize("held", [False, True], ids=["cut", "held"])
async def test_a_leader_that_is_cut_off_ends_and_what_it_had_sent_does_no_harm(
    connection: Connection, admin: Client, namespace: str, lab: Lab, held: bool
) -> None:
    """Held: its last writes are under way for longer than its lease, and come when another leads already."""
    position = lab.audit.end()

    def writes() -> list[Write]:
        return [write for write in lab.audit.since(position) if write.namespace == namespace]

    async with Link.to(connection) as link:
        old, new = Replica(link.connection, namespace, "old"), Replica(connection, namespace, "new")
        async with running(old, new):
            await create_originals(admin, namespace, BEFORE)
            await until(lambda: old.copies == new.copies == copies_of(BEFORE), "copies of the first leader")
            await until(lambda: old.events == len(BEFORE), "their events")
            if held:
                await connect(old)
                link.hold_requests()
            else:
                await link.cut()
            await create_originals(admin, namespace, MEANWHILE)
            await until(lambda: old.lost, "the old leader has ended")
            assert not new.leads
            await until(lambda: new.copies == copies_of(BEFORE + MEANWHILE), "copies of the second leader")
            link.release()
            if held:
                await until(lambda: len(late(writes())) == len(MEANWHILE) + 1, "what was held back has come")
            assert cached(new.manager.store(CONFIG_MAP)) == await live(admin, CONFIG_MAP, namespace)
    assert {write.status for write in late(writes())} == ({409} if held else set())
    made = Counter(
        write.name for write in writes() if write.what == "create configmaps" and write.status == 201
    )
    assert set(made.values()) == {1}


async def connect(replica: Replica) -> None:
    """Let it have a connection for each of its next writes: once requests are held back, no new one comes about."""
    async with anyio.create_task_group() as group:
        for _ in MEANWHILE:
            group.start_soon(replica.manager.client.list_page, CONFIG_MAP, replica.namespace)


def late(writes: list[Write]) -> list[Write]:
    """Return what the old leader's calls came to after the new one had taken the lease."""
    took_over = [
        write.began for write in writes if write.user_agent == "new (leader-election)" and write.status < 300
    ]
    return [
        write
        for write in writes
        if write.user_agent.startswith("old") and took_over and write.began > took_over[0]
    ]
