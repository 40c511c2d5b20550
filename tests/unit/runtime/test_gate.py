"""Read your own writes (pitfall 7), in virtual time."""

import anyio
import pytest
from prometheus_client import CollectorRegistry

from gastown_operator.runtime.gate import EXPIRY, WriteGate
from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.objects import ObjectKey, PartialObject, Resource
from gastown_operator.runtime.queue import Request, WorkQueue
from gastown_operator.runtime.store import Store
from gastown_operator.runtime.testing import VirtualClock

POD = Resource("", "v1", "Pod", "pods", namespaced=True, project=PartialObject.project)
JOB = Resource("batch", "v1", "Job", "jobs", namespaced=True, project=PartialObject.project)
KEY = ObjectKey("ns", "a")
REQUEST = Request("c", KEY)


@pytest.fixture
def queue(clock: VirtualClock, metrics: Metrics) -> WorkQueue:
    queue = WorkQueue(clock, metrics)
    queue.open_lane("c")
    return queue


@pytest.fixture
def pods() -> Store[PartialObject]:
    store = Store(POD)
    store.partition().advance(100)
    return store


@pytest.fixture
def gate(clock: VirtualClock, pods: Store[PartialObject], metrics: Metrics) -> WriteGate:
    return WriteGate(clock, {POD: pods}, metrics)


def test_a_key_waits_until_the_cache_shows_its_write_then_comes_back(
    gate: WriteGate, queue: WorkQueue, pods: Store[PartialObject]
) -> None:
    gate.bound("c").record(KEY, POD, "ns", 150)
    gate.bound("c").record(KEY, POD, "ns", 140)
    assert gate.hold(REQUEST, queue, priority=3)
    pods.partition().advance(149)
    assert queue.state("c").ready_by_priority == {}
    pods.partition().advance(151)
    assert queue.state("c").ready_by_priority == {3: 1}
    assert not gate.hold(REQUEST, queue, priority=0)


def test_a_quiet_namespace_holds_nobody_of_another(
    clock: VirtualClock, queue: WorkQueue, metrics: Metrics
) -> None:
    """With `--namespaces=ns,quiet` each has a watch of its own."""
    store = Store(POD)
    written, _ = store.partition("ns"), store.partition("quiet")
    gate = WriteGate(clock, {POD: store}, metrics)
    gate.record(REQUEST, POD, "ns", 150)
    gate.record(REQUEST, POD, "elsewhere", 200)
    assert gate.hold(REQUEST, queue, priority=3)
    written.advance(150)
    assert queue.state("c").ready_by_priority == {3: 1}
    assert not gate.hold(REQUEST, queue, priority=0)


def test_what_is_not_cached_and_what_was_seen_holds_nobody(gate: WriteGate, queue: WorkQueue) -> None:
    gate.record(REQUEST, JOB, "ns", 500)
    gate.record(REQUEST, POD, "ns", 100)
    assert not gate.hold(REQUEST, queue, priority=0)


def test_other_keys_and_controllers_are_not_held(gate: WriteGate, queue: WorkQueue) -> None:
    gate.record(REQUEST, POD, "ns", 150)
    assert not gate.hold(Request("c", ObjectKey("ns", "b")), queue, priority=0)
    assert not gate.hold(Request("d", KEY), queue, priority=0)


def test_a_deleted_object_is_forgotten(gate: WriteGate, queue: WorkQueue) -> None:
    gate.record(REQUEST, POD, "ns", 150)
    gate.forget(REQUEST)
    assert not gate.hold(REQUEST, queue, priority=0)


@pytest.mark.anyio
async def test_nobody_waits_for_ever(gate: WriteGate, queue: WorkQueue, clock: VirtualClock) -> None:
    gate.record(REQUEST, POD, "ns", 150)
    async with anyio.create_task_group() as group:
        group.start_soon(queue.run)
        await clock.advance(10)
        assert gate.hold(REQUEST, queue, priority=0)
        await clock.advance(EXPIRY - 11)
        assert queue.state("c").ready_by_priority == {}
        await clock.advance(1)
        assert queue.state("c").ready_by_priority == {0: 1}
        assert not gate.hold(REQUEST, queue, priority=0)
        queue.shut_down()


def test_the_lag_of_the_cache_is_measured_on_our_own_writes(
    gate: WriteGate, clock: VirtualClock, pods: Store[PartialObject], registry: CollectorRegistry
) -> None:
    gate.record(REQUEST, POD, "ns", 150)
    clock.move(0.75)
    pods.partition().advance(150)
    assert registry.get_sample_value("informer_lag_seconds_sum", {"resource": "pods"}) == 0.75
    assert registry.get_sample_value("informer_lag_seconds_count", {"resource": "pods"}) == 1


def test_a_key_that_is_woken_often_while_it_waits_leaves_one_callback(
    gate: WriteGate, queue: WorkQueue, pods: Store[PartialObject]
) -> None:
    gate.record(REQUEST, POD, "ns", 150)
    before = len(pods.partition()._waiting)
    for _ in range(1000):
        assert gate.hold(REQUEST, queue, priority=0)
    assert len(pods.partition()._waiting) == before + 1
