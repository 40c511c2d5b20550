"""What comes of a reconcile: the table of controller-runtime's reconcileHandler (pitfalls 12, 18, 20)."""

import logging
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest
from attrs import define, field
from prometheus_client import CollectorRegistry

from gastown_operator.runtime.controller import Controller, Result, for_object
from gastown_operator.runtime.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    ServiceUnavailable,
    TerminalError,
    TooManyRequests,
)
from gastown_operator.runtime.gate import WriteGate
from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.objects import ObjectKey, PartialObject, Resource
from gastown_operator.runtime.queue import LOW_PRIORITY, Request, WorkQueue
from gastown_operator.runtime.testing import VirtualClock
from gastown_operator.runtime.worker import CONFLICT_DELAY, ControllerWorkers

pytestmark = pytest.mark.anyio
THING = Resource("example.com", "v1", "Thing", "things", namespaced=True, project=PartialObject.project)
KEY = ObjectKey("ns", "a")
REQUEST = Request("c", KEY)

Behaviour = Callable[[], Awaitable[Result]]


@define
class Scripted:
    """Does at each reconcile what it was told; afterwards nothing."""

    behaviours: list[Behaviour]
    logger: logging.Logger = field(factory=lambda: logging.getLogger("tests.reconciler"))

    async def reconcile(self, key: ObjectKey) -> Result:
        self.logger.info("reconciling %s", key)
        return await self.behaviours.pop(0)() if self.behaviours else Result()


@define
class Bench:
    """One controller on a virtual clock."""

    clock: VirtualClock
    registry: CollectorRegistry
    queue: WorkQueue
    reconciler: Scripted
    workers: ControllerWorkers

    async def run(self, *behaviours: Behaviour, priority: int = 0) -> None:
        """Reconcile the key once for each behaviour that its own doing brings about, at time zero."""
        self.reconciler.behaviours[:] = behaviours
        async with anyio.create_task_group() as group:
            group.start_soon(self.workers.run)
            self.queue.add(REQUEST, priority=priority)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()

    def count(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"controller": "c", **labels})

    def delayed(self) -> int:
        return self.queue.state("c").delayed


@pytest.fixture
def bench(clock: VirtualClock, registry: CollectorRegistry, metrics: Metrics) -> Bench:
    queue = WorkQueue(clock, metrics)
    queue.open_lane("c")
    reconciler = Scripted([])
    controller = Controller("c", reconciler, [for_object(THING)], concurrency=1, reconcile_deadline=10)
    workers = ControllerWorkers(
        controller, queue, WriteGate(clock, {}, metrics), clock, metrics.controller("c")
    )
    return Bench(clock, registry, queue, reconciler, workers)


def returns(result: Result) -> Behaviour:
    async def behave() -> Result:
        return result

    return behave


def raises(error: Exception) -> Behaviour:
    async def behave() -> Result:
        raise error

    return behave


@pytest.mark.parametrize(
    ("behaviour", "result", "delayed", "failures"),
    [
        (returns(Result()), "success", 0, 0),
        (returns(Result(requeue_after=5.0)), "requeue_after", 1, 0),
        (raises(RuntimeError("bug")), "error", 1, 2),
        (raises(ServiceUnavailable("down", status=503)), "error", 1, 2),
        (raises(NotFound("no such namespace", status=404)), "error", 1, 2),
        (raises(Forbidden("quota", status=403)), "error", 1, 2),
        (raises(Invalid("bad object", status=422)), "error", 0, 0),
        (raises(TerminalError("bad spec")), "error", 0, 0),
        (raises(Conflict("stale", status=409)), "requeue", 1, 1),
    ],
    ids=["success", "requeue after", "bug", "503", "404", "403", "422", "terminal", "conflict"],
)
async def test_every_outcome_is_settled_as_in_controller_runtime(
    bench: Bench, behaviour: Behaviour, result: str, delayed: int, failures: int
) -> None:
    bench.queue.add_rate_limited(REQUEST)
    await bench.run(behaviour)
    assert bench.count("controller_runtime_reconcile_total", result=result) == 1
    assert bench.delayed() == delayed
    assert bench.queue.failures(REQUEST) == failures


async def test_a_server_that_names_a_time_is_not_asked_before_it(bench: Bench) -> None:
    await bench.run(raises(TooManyRequests("later", status=429, retry_after=7.0)))
    assert bench.queue.release_due() == 7.0


async def test_unforeseen_exceptions_are_contained_counted_and_logged_with_their_trace(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.run(raises(KeyError("surprise")))
    assert bench.count("controller_runtime_reconcile_panics_total") == 1
    assert bench.count("controller_runtime_reconcile_errors_total") == 1
    assert any(record.exc_info for record in caplog.records)


async def test_terminal_errors_are_counted_apart(bench: Bench) -> None:
    await bench.run(raises(TerminalError("bad spec")))
    assert bench.count("controller_runtime_terminal_reconcile_errors_total") == 1
    assert bench.count("controller_runtime_reconcile_errors_total") == 1


async def test_a_reconcile_that_hangs_ends_with_its_deadline(bench: Bench) -> None:
    async def hang() -> Result:
        await anyio.sleep_forever()
        raise AssertionError

    bench.reconciler.behaviours[:] = [hang]
    async with anyio.create_task_group() as group:
        group.start_soon(bench.workers.run)
        bench.queue.add(REQUEST)
        await bench.clock.advance(9)
        assert bench.count("controller_runtime_active_workers") == 1
        await bench.clock.advance(1)
        assert bench.count("controller_runtime_active_workers") == 0
        group.cancel_scope.cancel()
    assert bench.count("controller_runtime_reconcile_timeouts_total") == 1
    assert bench.delayed() == 1


async def test_a_timeout_of_the_reconcilers_own_is_not_the_deadline(bench: Bench) -> None:
    await bench.run(raises(TimeoutError("inner")))
    assert bench.count("controller_runtime_reconcile_timeouts_total") == 0
    assert bench.count("controller_runtime_reconcile_errors_total") == 1


async def test_conflicts_come_back_soon_and_without_escalation(bench: Bench) -> None:
    await bench.run(raises(Conflict("stale", status=409)))
    assert bench.count("api_conflicts_total") == 1
    bench.clock.move(CONFLICT_DELAY)
    bench.queue.release_due()
    assert bench.queue.state("c").ready_by_priority == {0: 1}


async def test_priority_survives_a_requeue_unless_the_result_says_otherwise(bench: Bench) -> None:
    await bench.run(returns(Result(requeue_after=1.0)), priority=LOW_PRIORITY)
    bench.clock.move(1)
    bench.queue.release_due()
    assert bench.queue.state("c").ready_by_priority == {LOW_PRIORITY: 1}
    await bench.run(returns(Result(requeue_after=1.0, priority=7)))
    bench.clock.move(1)
    bench.queue.release_due()
    assert bench.queue.state("c").ready_by_priority == {7: 1}


async def test_a_backlog_leaves_the_event_loop_to_others_between_two_reconciles(bench: Bench) -> None:
    for number in range(50):
        bench.queue.add(Request("c", ObjectKey("ns", str(number))))
    turns = 0
    async with anyio.create_task_group() as group:
        group.start_soon(bench.workers.run)
        while bench.count("controller_runtime_reconcile_total", result="success") != 50:
            await anyio.lowlevel.checkpoint()
            turns += 1
        group.cancel_scope.cancel()
    assert turns >= 50


async def test_series_start_at_zero(bench: Bench) -> None:
    for result in ("success", "error", "requeue", "requeue_after"):
        assert bench.count("controller_runtime_reconcile_total", result=result) == 0
    assert bench.count("controller_runtime_reconcile_time_seconds_count") == 0
