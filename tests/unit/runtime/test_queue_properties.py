"""The queue against a model of plain dictionaries, under every order of calls that hypothesis can think of (pitfall 19)."""

import asyncio
from collections.abc import Callable
from typing import Any

from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from prometheus_client import CollectorRegistry

from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.queue import BASE_DELAY, MAX_DELAY, Request, Ticket, WorkQueue
from gastown_operator.runtime.testing import VirtualClock

LANES = ("left", "right")
lanes = st.sampled_from(LANES)
requests = st.builds(Request, lanes, st.sampled_from([ObjectKey("ns", name) for name in "abcd"]))
priorities = st.sampled_from([-100, 0, 10])
Worker = asyncio.Task[Ticket | None]


@define
class Wanted:
    """The model of a key that needs work: when, how urgent, and its turn among equals."""

    ready_at: float
    priority: int
    turn: int = field(default=0)


class QueueMachine(RuleBasedStateMachine):
    """Workers that wait, work, fail, are cancelled and shut down; queue and model must agree on who gets which key when."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = VirtualClock()
        self.queue = WorkQueue(self.clock, Metrics(CollectorRegistry()))
        for lane in LANES:
            self.queue.open_lane(lane)
        self.wanted: dict[Request, Wanted] = {}
        self.processing: set[Request] = set()
        self.failures: dict[Request, int] = {}
        self.idle: dict[str, list[Worker]] = {lane: [] for lane in LANES}
        self.closed = False
        self.drained: asyncio.Task[None] | None = None
        self.turns = 0

    def teardown(self) -> None:
        """End what still waits."""
        self.do(*(worker.cancel for workers in self.idle.values() for worker in workers))
        if self.drained is not None:
            self.do(self.drained.cancel)
        self.loop.close()

    def do(self, *calls: Callable[[], Any]) -> None:
        """Make these calls in one turn of the event loop, then let every task run as far as it can."""

        async def turn() -> None:
            for call in calls:
                self.queue._compact_at = 0  # at once, instead of when there are many
                call()
            for _ in range(6):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turn())

    def next_turn(self) -> int:
        self.turns += 1
        return self.turns

    @rule(request=requests, priority=priorities, after=st.sampled_from([0.0, 0.5, 1.0, 7.0]))
    def add(self, request: Request, priority: int, after: float) -> None:
        self.do(lambda: self.queue.add(request, priority=priority, after=after))
        self.expect(request, priority, after)
        self.hand_out(request.controller)

    @rule(request=requests, priority=priorities)
    def add_after_a_failure(self, request: Request, priority: int) -> None:
        failed = self.failures.get(request, 0)
        self.failures[request] = failed + 1
        delays: list[float] = []
        self.do(lambda: delays.append(self.queue.add_rate_limited(request, priority=priority)))
        assert delays == [min(BASE_DELAY * 2**failed, MAX_DELAY)]
        self.expect(request, priority, delays[0])

    @rule(request=requests)
    def succeed(self, request: Request) -> None:
        self.queue.forget(request)
        self.failures.pop(request, None)

    def expect(self, request: Request, priority: int, after: float) -> None:
        """What an addition means: the highest priority and the earliest time; whoever moves goes to the end."""
        if self.closed:
            return
        now = self.clock.monotonic()
        known = self.wanted.get(request)
        if known is None:
            self.wanted[request] = Wanted(now + after, priority, self.next_turn())
            return
        was_ready = known.ready_at <= now
        moved = now + after < known.ready_at or (was_ready and priority > known.priority)
        known.ready_at = min(known.ready_at, now + after)
        known.priority = max(known.priority, priority)
        if moved:
            known.turn = self.next_turn()

    @rule(seconds=st.sampled_from([0.001, 0.5, 1.0, 5.0]))
    def let_time_pass(self, seconds: float) -> None:
        before = self.clock.monotonic()
        self.clock.move(seconds)
        now = self.clock.monotonic()
        self.do(self.queue.release_due)
        due = [wanted for wanted in self.wanted.values() if before < wanted.ready_at <= now]
        for wanted in sorted(due, key=lambda each: (each.ready_at, each.turn)):
            wanted.turn = self.next_turn()
        for lane in LANES:
            self.hand_out(lane)

    def ready(self, lane: str) -> list[Request]:
        now = self.clock.monotonic()
        found = [
            request
            for request, wanted in self.wanted.items()
            if request.controller == lane and wanted.ready_at <= now and request not in self.processing
        ]
        return sorted(found, key=lambda each: (-self.wanted[each].priority, self.wanted[each].turn))

    def hand_out(self, lane: str) -> None:
        """Who has waited longest has got what is most urgent."""
        while self.idle[lane] and self.ready(lane):
            self.receive(self.idle[lane].pop(0), self.ready(lane)[0])

    def receive(self, worker: Worker, expected: Request) -> None:
        assert worker.done()
        assert worker.result() == Ticket(expected, self.wanted.pop(expected).priority)
        self.processing.add(expected)

    @rule(lane=lanes)
    def a_worker_comes(self, lane: str) -> None:
        worker = self.loop.create_task(self.queue.get(lane))
        self.do()
        expected = self.ready(lane)
        if self.closed:
            assert worker.result() is None
        elif expected:
            self.receive(worker, expected[0])
        else:
            assert not worker.done()
            self.idle[lane].append(worker)

    @precondition(lambda self: any(self.idle.values()))
    @rule(data=st.data())
    def an_idle_worker_is_cancelled(self, data: st.DataObject) -> None:
        lane = data.draw(st.sampled_from([lane for lane in LANES if self.idle[lane]]))
        worker = data.draw(st.sampled_from(self.idle[lane]))
        self.do(worker.cancel)
        assert worker.cancelled()
        self.idle[lane].remove(worker)

    @precondition(lambda self: any(self.idle.values()))
    @rule(data=st.data(), priority=priorities)
    def a_worker_is_cancelled_just_when_it_is_called(self, data: st.DataObject, priority: int) -> None:
        """The call goes to the next who waits; if nobody does, the key stays."""
        lane = data.draw(st.sampled_from([lane for lane in LANES if self.idle[lane]]))
        request = data.draw(requests.filter(lambda each: each.controller == lane))
        worker = self.idle[lane].pop(0)
        self.do(lambda: self.queue.add(request, priority=priority), worker.cancel)
        assert worker.cancelled()
        self.expect(request, priority, 0.0)
        self.hand_out(lane)

    @precondition(lambda self: self.processing)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(sorted(self.processing)))
        self.do(lambda: self.queue.done(request))
        self.processing.remove(request)
        self.hand_out(request.controller)

    @precondition(lambda self: self.turns > 8)
    @rule()
    def shut_down(self) -> None:
        self.drained = self.drained or self.loop.create_task(self.queue.drained())
        self.do(self.queue.shut_down)
        self.closed = True
        self.wanted.clear()
        for lane in LANES:
            assert all(worker.result() is None for worker in self.idle[lane])
            self.idle[lane].clear()

    @invariant()
    def agrees_on_what_is_left(self) -> None:
        now = self.clock.monotonic()
        for lane in LANES:
            state = self.queue.state(lane)
            waiting = [wanted for request, wanted in self.wanted.items() if request.controller == lane]
            assert state.delayed == sum(wanted.ready_at > now for wanted in waiting)
            assert sum(state.ready_by_priority.values()) == len(waiting) - state.delayed
            assert set(state.processing) == {each for each in self.processing if each.controller == lane}
            assert state.backing_off == {
                each: times for each, times in self.failures.items() if each.controller == lane
            }
            assert not any(worker.done() for worker in self.idle[lane])
            assert not (self.idle[lane] and self.ready(lane))

    @invariant()
    def is_drained_exactly_when_it_is_shut_down_and_nothing_is_in_work(self) -> None:
        if self.drained is not None:
            assert self.drained.done() == (not self.processing)


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
