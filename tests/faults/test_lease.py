"""Elections on a Lease: one leader, whatever the server and the clocks do (pitfalls 14, 15, 16)."""

import threading
from collections.abc import AsyncIterator
from random import Random

import anyio
import pytest
from aiohttp import web
from attrs import define, field
from prometheus_client import CollectorRegistry

from gastown_operator.runtime.client import Client, RetryPolicy
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.errors import ConfigurationError, NotLeader
from gastown_operator.runtime.lease import END_LIMIT, Elector, LeaseOptions
from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.testing import VirtualClock
from gastown_operator.runtime.transport import TIMEOUTS, Transport
from gastown_operator.runtime.watchdog import NEVER, PERIOD, Watchdog
from tests.faults.conftest import CONFIG_MAP, until
from tests.faults.scripted_server import (
    Answer,
    Raw,
    ScriptedServer,
    commit_then_cut,
    cut,
    refuse,
    say,
    stall,
    stream,
)

pytestmark = pytest.mark.anyio

LEASES = "/apis/coordination.k8s.io/v1/namespaces/ns/leases"
LEASE = f"{LEASES}/election"


@define
class Candidate:
    """One process in the election, in virtual time."""

    server: ScriptedServer
    clock: VirtualClock
    name: str
    registry: CollectorRegistry = field(factory=CollectorRegistry)
    transport: Transport = field(init=False)
    elector: Elector = field(init=False)
    watchdog: Watchdog = field(init=False)

    def __attrs_post_init__(self) -> None:
        metrics = Metrics(self.registry)
        self.watchdog = Watchdog(self.clock)
        options = LeaseOptions("election", "ns", self.name)
        timeouts = dict.fromkeys(TIMEOUTS, options.call_timeout)
        self.transport = Transport(Connection(self.server.url), metrics, self.name, timeouts=timeouts)
        client = Client(self.transport, self.clock, RetryPolicy(attempts=1))
        self.elector = Elector(
            options,
            client,
            self.transport,
            self.clock,
            Random(7),  # noqa: S311 - jitter, not cryptography
            metrics.election("election"),
            self.watchdog,
        )

    @property
    def status(self) -> float | None:
        return self.registry.get_sample_value("leader_election_master_status", {"name": "election"})


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def first(server: ScriptedServer, clock: VirtualClock) -> AsyncIterator[Candidate]:
    candidate = Candidate(server, clock, "first")
    yield candidate
    await candidate.transport.close()


@pytest.fixture
async def second(server: ScriptedServer, clock: VirtualClock) -> AsyncIterator[Candidate]:
    candidate = Candidate(server, clock, "second")
    yield candidate
    await candidate.transport.close()


def record(holder: str, **spec: object) -> Raw:
    metadata = {"name": "election", "namespace": "ns"}
    return {"metadata": metadata, "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, **spec}}


def holder(server: ScriptedServer) -> str:
    return str(server.objects[LEASE]["spec"]["holderIdentity"])


async def sleeps_until_leading(candidate: Candidate) -> list[float]:
    """Let the time pass sleep by sleep, until the candidate leads; return the sleeps."""
    passed: list[float] = []
    while not candidate.elector.leading:
        await until(lambda: candidate.elector.leading or candidate.clock._sleeps)
        if not candidate.elector.leading:
            passed.append(await candidate.clock.next_sleep())
    return passed


async def test_the_first_comer_takes_the_lease_and_says_so(first: Candidate, server: ScriptedServer) -> None:
    assert first.status == 0
    assert not first.elector.may_write()
    await first.elector.acquire()
    assert holder(server) == "first"
    assert first.elector.may_write()
    assert first.status == 1
    spec = server.objects[LEASE]["spec"]
    assert spec["leaseDurationSeconds"] == 15
    assert spec["leaseTransitions"] == 0
    assert spec["acquireTime"] == spec["renewTime"] == "2026-01-01T00:00:00.000000Z"


async def test_a_leader_renews_every_two_seconds(
    first: Candidate, server: ScriptedServer, clock: VirtualClock
) -> None:
    await first.elector.acquire()
    async with anyio.create_task_group() as group:
        group.start_soon(first.elector.hold)
        for number in range(1, 6):
            assert await clock.next_sleep() == 2.0
            await server.received(number, verb="PATCH")
            await until(lambda: first.elector.deadline == clock.monotonic() + 10.0)
        group.cancel_scope.cancel()
    assert server.objects[LEASE]["spec"]["renewTime"] == "2026-01-01T00:00:10.000000Z"
    assert first.elector.may_write()


async def test_a_release_is_seen_by_the_watching_standby_at_once(
    first: Candidate, second: Candidate, server: ScriptedServer, clock: VirtualClock
) -> None:
    await first.elector.acquire()
    async with anyio.create_task_group() as group:
        group.start_soon(second.elector.acquire)
        await server.received(1, watches=True)
        await first.elector.release()
        await until(second.elector.may_write)
    assert clock.monotonic() == 0.0
    assert holder(server) == "second"
    assert server.objects[LEASE]["spec"]["leaseTransitions"] == 1
    assert not first.elector.may_write()
    assert (first.status, second.status) == (0, 1)


@pytest.mark.parametrize("written", ["2020-01-01T00:00:00.000000Z", "2036-01-01T00:00:00.000000Z"])
async def test_a_dead_leader_is_replaced_after_its_time_by_our_own_clock_whatever_times_it_wrote(
    second: Candidate, server: ScriptedServer, clock: VirtualClock, written: str
) -> None:
    """Pitfall 14: neither a clock that is ahead nor one that is behind makes the standby impatient or idle."""
    server.put(LEASE, record("dead", renewTime=written))
    async with anyio.create_task_group() as group:
        group.start_soon(second.elector.acquire)
        await server.received(1, watches=True)
        await clock.advance(14.9)
        assert holder(server) == "dead"
        await clock.advance(0.1)
        await until(second.elector.may_write)
    assert holder(server) == "second"


async def test_a_standby_leaves_a_leader_alone_that_renews(
    second: Candidate, server: ScriptedServer, clock: VirtualClock
) -> None:
    server.put(LEASE, record("alive"))
    async with anyio.create_task_group() as group:
        group.start_soon(second.elector.acquire)
        await server.received(1, watches=True)
        for renewal in range(20):
            server.put(LEASE, record("alive", renewTime=f"{renewal}"))
            await until(lambda: second.elector._free_at == clock.monotonic() + 15.0)
            await clock.advance(10.0)
        assert holder(server) == "alive"
        assert len(server.sent(watches=True)) == 1
        group.cancel_scope.cancel()


@pytest.mark.parametrize("forgotten", [{}, {"leaseDurationSeconds": 0}, {"leaseDurationSeconds": "x"}])
async def test_a_holder_that_says_no_duration_has_ours(
    second: Candidate, server: ScriptedServer, clock: VirtualClock, forgotten: Raw
) -> None:
    server.put(LEASE, {"metadata": record("")["metadata"], "spec": {"holderIdentity": "alive", **forgotten}})
    assert not await second.elector.attempt()
    clock.move(15.0)
    assert await second.elector.attempt()


async def test_a_leader_whose_lease_was_deleted_keeps_its_time(
    first: Candidate, second: Candidate, server: ScriptedServer, clock: VirtualClock
) -> None:
    """Pitfall 15: it does not know, and goes on writing until its next renewal, or its deadline."""
    await first.elector.acquire()
    async with anyio.create_task_group() as group:
        group.start_soon(second.elector.acquire)
        await server.received(1, watches=True)
        server.drop(LEASE)
        await until(lambda: second.elector._record is None)
        for _ in range(30):
            await clock.advance(0.5)
            assert not (first.elector.may_write() and second.elector.may_write())
        await until(second.elector.may_write)
    assert 10.0 < clock.monotonic() <= 15.0 + 2.0 * 2.2


async def test_a_claim_that_a_stop_broke_off_is_released(first: Candidate, server: ScriptedServer) -> None:
    async def commit_and_stall(request: web.Request) -> web.StreamResponse:
        await server.api(request)
        return await stall(request)

    server.script("POST", commit_and_stall)
    async with anyio.create_task_group() as group:
        group.start_soon(first.elector.acquire)
        await until(lambda: LEASE in server.objects)
        group.cancel_scope.cancel()
    await first.elector.release()
    assert holder(server) == ""


async def test_what_did_not_end_in_time_keeps_the_lease_from_others_and_from_us(
    first: Candidate, second: Candidate, server: ScriptedServer
) -> None:
    await first.elector.acquire()
    first.elector.abandon()
    assert not first.elector.may_write()
    assert not await second.elector.attempt()
    assert holder(server) == "first"


@pytest.mark.parametrize(
    "failure", [cut, stall, refuse(500, "InternalError"), say("<html>", 502), refuse(403, "Forbidden")]
)
async def test_a_leader_that_cannot_renew_stops_writing_before_a_rival_may_start(
    first: Candidate, server: ScriptedServer, clock: VirtualClock, failure: Answer
) -> None:
    """Pitfall 15: ten seconds after the last renewal it writes nothing more; a rival waits for fifteen."""
    await first.elector.acquire()
    server.script("PATCH", *[failure] * 20)
    ended: list[str] = []

    async def hold() -> None:
        ended.append(await first.elector.hold())

    async with anyio.create_task_group() as group:
        group.start_soon(hold)
        while clock.monotonic() < 9.5:
            await clock.advance(0.5)
        assert first.elector.may_write()
        await clock.advance(0.5)
        assert not first.elector.may_write()
        await until(lambda: ended)
    assert not first.elector.leading
    assert first.status == 0


async def test_a_process_that_stood_still_beyond_its_deadline_does_not_renew(
    first: Candidate, server: ScriptedServer, clock: VirtualClock
) -> None:
    """Pitfall 16: it was stopped between two renewals; when it goes on, a rival may hold the lease."""
    await first.elector.acquire()
    clock.move(10.0)
    assert await first.elector.hold() == "it was not renewed in time"
    assert server.sent(verb="PATCH") == []
    assert not first.elector.leading


async def test_a_leader_that_was_replaced_ends_at_its_next_renewal(
    first: Candidate, server: ScriptedServer, clock: VirtualClock
) -> None:
    await first.elector.acquire()
    server.put(LEASE, record("usurper"))
    ended: list[str] = []

    async def hold() -> None:
        ended.append(await first.elector.hold())

    async with anyio.create_task_group() as group:
        group.start_soon(hold)
        await clock.next_sleep()
        await until(lambda: ended)
    assert ended == ["it is held by usurper"]
    assert holder(server) == "usurper"


async def test_a_renewal_whose_answer_was_lost_is_found_out_and_counts(
    first: Candidate, server: ScriptedServer, clock: VirtualClock
) -> None:
    await first.elector.acquire()
    server.script("PATCH", commit_then_cut(server))
    async with anyio.create_task_group() as group:
        group.start_soon(first.elector.hold)
        await clock.next_sleep()
        await server.received(1, verb="PATCH")
        await clock.next_sleep()
        await until(lambda: first.elector.deadline == clock.monotonic() + 10.0)
        group.cancel_scope.cancel()
    assert first.elector.may_write()
    slow = first.registry.get_sample_value("leader_election_slowpath_total", {"name": "election"})
    assert slow == 1


async def test_a_deleted_lease_is_made_again_by_its_holder(
    first: Candidate, server: ScriptedServer, clock: VirtualClock
) -> None:
    await first.elector.acquire()
    server.drop(LEASE)
    async with anyio.create_task_group() as group:
        group.start_soon(first.elector.hold)
        await clock.next_sleep()
        await until(lambda: LEASE in server.objects)
        group.cancel_scope.cancel()
    assert holder(server) == "first"


async def test_of_two_that_reach_for_a_free_lease_one_gets_it(
    first: Candidate, second: Candidate, server: ScriptedServer
) -> None:
    server.put(LEASE, record(""))
    won: list[bool] = []

    async def attempt(candidate: Candidate) -> None:
        won.append(await candidate.elector.attempt())

    async with anyio.create_task_group() as group:
        group.start_soon(attempt, first)
        group.start_soon(attempt, second)
    assert sorted(won) == [False, True]


@pytest.mark.parametrize(
    "answer",
    [refuse(403, "Forbidden"), say("<html>", 502), cut, say('{"metadata": {}, "spec": 7}'), say("[]")],
)
async def test_a_candidate_goes_on_trying_whatever_the_server_answers(
    first: Candidate, server: ScriptedServer, answer: Answer
) -> None:
    server.script("GET", answer, answer, watches=False)
    async with anyio.create_task_group() as group:
        group.start_soon(first.elector.acquire)
        sleeps = await sleeps_until_leading(first)
    assert 1 <= len(sleeps) <= 2  # the HTTP client itself repeats a GET whose kept connection broke
    assert all(2.0 <= seconds <= 2.0 * 2.2 for seconds in sleeps)
    assert holder(server) == "first"


async def test_a_watch_that_fails_neither_storms_the_server_nor_makes_impatient(
    second: Candidate, server: ScriptedServer, clock: VirtualClock
) -> None:
    server.put(LEASE, record("dead"))
    server.script("GET", *[stream(b"garbage\n"), stream(), refuse(410, "Expired")] * 10, watches=True)
    async with anyio.create_task_group() as group:
        group.start_soon(second.elector.acquire)
        await sleeps_until_leading(second)
    assert 15.0 <= clock.monotonic() <= 15.0 + 2.0 * 2.2
    assert len(server.sent(watches=True)) <= 8


async def test_a_release_that_fails_leaves_the_lease_to_expire_and_stops_writing_all_the_same(
    first: Candidate, server: ScriptedServer
) -> None:
    await first.elector.acquire()
    server.script("PATCH", refuse(500, "InternalError"))
    await first.elector.release()
    assert holder(server) == "first"
    assert not first.elector.may_write()


async def test_what_is_not_held_is_not_released(second: Candidate, server: ScriptedServer) -> None:
    server.put(LEASE, record("first"))
    await second.elector.attempt()
    await second.elector.release()
    assert holder(server) == "first"
    assert server.sent(verb="PATCH") == []


async def test_a_write_is_refused_here_unless_the_lease_is_held_when_its_connection_is_there(
    server: ScriptedServer, clock: VirtualClock
) -> None:
    """Pitfall 15: the question comes after the wait for a connection, which can be longer than the lease."""
    allowed = [True, False, False]
    transport = Transport(
        Connection(server.url),
        Metrics(CollectorRegistry()),
        "tests",
        pool_size=1,
        may_write=lambda: allowed.pop(0),
    )
    client = Client(transport, clock)
    body: Raw = {"metadata": {"name": "x", "namespace": "ns"}}
    await client.create(CONFIG_MAP, body, "tests")
    with pytest.raises(NotLeader):
        await client.delete(CONFIG_MAP, ObjectKey("ns", "x"), uid="uid-0")
    with pytest.raises(NotLeader):
        await client.apply(CONFIG_MAP, ObjectKey("ns", "x"), body, "tests")
    await client.get(CONFIG_MAP, ObjectKey("ns", "x"))
    assert [request.verb for request in server.requests] == ["POST", "GET"]
    await transport.close()


async def test_the_watchdog_expects_renewals_and_after_a_loss_the_end(
    first: Candidate, clock: VirtualClock
) -> None:
    """Pitfall 16: nothing on the loop can step down while the loop is blocked, or while a thread cannot be cancelled."""
    await first.elector.acquire()
    assert first.watchdog.limit == 10.0 + END_LIMIT
    clock.move(10.0)
    await first.elector.hold()
    assert first.watchdog.limit == 10.0 + END_LIMIT
    await first.elector.release()
    assert first.watchdog.limit == NEVER


def test_the_watchdog_ends_what_is_beyond_its_limit_and_nothing_else(clock: VirtualClock) -> None:
    ended = threading.Event()
    watchdog = Watchdog(clock, ended.set)
    with watchdog.watching():
        watchdog.expect_end_within(3.0)
        clock.move(2.9)
        assert not ended.wait(3 * PERIOD)
        clock.move(0.2)
        assert ended.wait(15.0)


@pytest.mark.parametrize(
    ("duration", "renew_deadline", "retry_period"),
    [(10.0, 10.0, 2.0), (15.0, 2.0, 2.0), (15.0, 10.0, 0.0), (15.0, -1.0, -2.0), (float("nan"), 10.0, 2.0)],
)
def test_times_that_would_let_two_act_at_once_are_refused(
    duration: float, renew_deadline: float, retry_period: float
) -> None:
    with pytest.raises(ConfigurationError):
        LeaseOptions("x", "ns", "me", duration, renew_deadline, retry_period)
