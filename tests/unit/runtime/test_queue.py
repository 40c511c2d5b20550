"""What the work queue promises, sentence by sentence."""

import anyio
import pytest
from prometheus_client import CollectorRegistry

from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.queue import COMPACTION, LOW_PRIORITY, MAX_DELAY, Request, WorkQueue
from gastown_operator.runtime.testing import VirtualClock

pytestmark = pytest.mark.anyio
A, B = Request("c", ObjectKey("ns", "a")), Request("c", ObjectKey("ns", "b"))


@pytest.fixture
def queue(clock: VirtualClock, metrics: Metrics) -> WorkQueue:
    queue = WorkQueue(clock, metrics)
    queue.open_lane("c")
    return queue


async def take(queue: WorkQueue) -> Request:
    ticket = await queue.get("c")
    assert ticket is not None
    return ticket.request


async def test_a_key_added_often_is_handed_out_once(queue: WorkQueue) -> None:
    for _ in range(5):
        queue.add(A)
    assert await take(queue) == A
    assert queue.state("c").ready_by_priority == {}


async def test_a_key_added_while_in_work_waits_for_its_worker_and_is_seen_again(queue: WorkQueue) -> None:
    queue.add(A)
    await take(queue)
    queue.add(A)
    queue.add(B)
    assert await take(queue) == B
    queue.done(A)
    assert await take(queue) == A


async def test_what_was_there_at_the_start_waits_behind_what_happens_now(queue: WorkQueue) -> None:
    """Pitfall 17."""
    for number in range(5000):
        queue.add(Request("c", ObjectKey("ns", f"old-{number}")), priority=LOW_PRIORITY)
    queue.add(A)
    assert await take(queue) == A


async def test_raising_the_priority_moves_a_key_forward(queue: WorkQueue) -> None:
    queue.add(A, priority=LOW_PRIORITY)
    queue.add(B, priority=LOW_PRIORITY)
    queue.add(B)
    assert [await take(queue), await take(queue)] == [B, A]


async def test_the_earlier_of_two_times_wins(queue: WorkQueue, clock: VirtualClock) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(queue.run)
        queue.add(A, after=60)
        queue.add(A, after=10)
        queue.add(A, after=90)
        await clock.advance(9.9)
        assert queue.state("c").delayed == 1
        await clock.advance(0.1)
        assert await take(queue) == A
        await clock.advance(1000)
        assert queue.state("c").ready_by_priority == {}
        queue.shut_down()


async def test_the_backoff_of_a_key_doubles_up_to_its_limit_until_forgotten(queue: WorkQueue) -> None:
    delays = [queue.add_rate_limited(A) for _ in range(30)]
    assert delays[:4] == [0.005, 0.01, 0.02, 0.04]
    assert delays[-1] == MAX_DELAY
    assert queue.add_rate_limited(B) == 0.005
    queue.forget(A)
    assert queue.add_rate_limited(A) == 0.005


async def test_lanes_do_not_wait_for_each_other(queue: WorkQueue) -> None:
    """Pitfall 18: a controller whose workers all hang takes nothing from the others."""
    queue.open_lane("d")
    queue.add(A)
    await take(queue)
    other = Request("d", A.key)
    queue.add(other)
    ticket = await queue.get("d")
    assert ticket is not None
    assert ticket.request == other


async def test_an_idle_worker_wakes_for_an_addition(queue: WorkQueue) -> None:
    taken: list[Request] = []

    async def work() -> None:
        taken.append(await take(queue))

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        group.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        queue.add(A)
        queue.add(B)
    assert sorted(taken) == [A, B]


async def test_the_call_to_a_worker_that_was_cancelled_goes_to_another(queue: WorkQueue) -> None:
    taken: list[Request] = []

    async def work(scope: anyio.CancelScope) -> None:
        with scope:
            taken.append(await take(queue))

    doomed, lucky = anyio.CancelScope(), anyio.CancelScope()
    async with anyio.create_task_group() as group:
        group.start_soon(work, doomed)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(work, lucky)
        await anyio.wait_all_tasks_blocked()
        doomed.cancel()
        queue.add(A)
    assert taken == [A]


async def test_shutting_down_drops_what_waits_and_drains_what_is_in_work(
    queue: WorkQueue, clock: VirtualClock
) -> None:
    """Pitfall 28."""
    queue.add(A)
    await take(queue)
    queue.add(B)
    queue.add(A, after=5)
    queue.shut_down()
    assert await queue.get("c") is None
    with clock.deadline(0) as deadline:
        clock.move(0)
        await queue.drained()
    assert deadline.expired
    queue.add(A)
    queue.done(A)
    await queue.drained()
    assert await queue.get("c") is None


async def test_shows_depth_and_ages(
    queue: WorkQueue, clock: VirtualClock, registry: CollectorRegistry
) -> None:
    def sample(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, {"name": "c", "controller": "c", **labels})

    assert sample("workqueue_depth", priority="0") == 0
    queue.add(A)
    queue.add(B, priority=LOW_PRIORITY)
    assert sample("workqueue_depth", priority="0") == 1
    assert sample("workqueue_depth", priority="-100") == 1
    clock.move(2)
    await take(queue)
    clock.move(3)
    assert sample("workqueue_longest_running_processor_seconds") == 3
    assert sample("workqueue_queue_duration_seconds_sum") == 2
    assert sample("workqueue_adds_total") == 2


async def test_a_lane_has_one_owner(queue: WorkQueue) -> None:
    with pytest.raises(ValueError, match="exists already"):
        queue.open_lane("c")


async def test_a_key_that_always_asks_for_a_far_time_leaves_one_entry_and_not_one_a_turn(
    queue: WorkQueue,
) -> None:
    for turn in range(5000):
        queue.add(A, after=3600.0 - turn / 10)
        queue.add(A)
        ticket = await queue.get("c")
        assert ticket is not None
        queue.done(ticket.request)
    queue.add(A, after=10.0)
    assert queue.state("c").delayed == 1
    assert len(queue._delayed) <= 2 * COMPACTION
