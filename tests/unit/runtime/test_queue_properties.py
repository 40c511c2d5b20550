"""The queue against a model of plain dictionaries, under every order of calls that hypothesis can think of (pitfall 19)."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from prometheus_client import CollectorRegistry

from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.queue import Request, WorkQueue
from gastown_operator.runtime.testing import VirtualClock

R = TypeVar("R")
LANES = ("left", "right")
requests = st.builds(
    Request, st.sampled_from(LANES), st.sampled_from([ObjectKey("ns", name) for name in "abcd"])
)


@define
class Wanted:
    """The model of a key that needs work: when, how urgent, and its turn among equals."""

    ready_at: float
    priority: int
    turn: int = field(default=0)


def at_once(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine that has no reason to wait."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        value: R = finished.value
        return value
    coroutine.close()
    raise AssertionError("it waited")


class QueueMachine(RuleBasedStateMachine):
    """Add, take, give back, let time pass; the queue and the model must agree on who is next."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.queue = WorkQueue(self.clock, Metrics(CollectorRegistry()))
        for lane in LANES:
            self.queue.open_lane(lane)
        self.wanted: dict[Request, Wanted] = {}
        self.processing: set[Request] = set()
        self.turns = 0

    def next_turn(self) -> int:
        self.turns += 1
        return self.turns

    @rule(
        request=requests,
        priority=st.sampled_from([-100, 0, 10]),
        after=st.sampled_from([0.0, 0.5, 1.0, 7.0]),
    )
    def add(self, request: Request, priority: int, after: float) -> None:
        self.queue.add(request, priority=priority, after=after)
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

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0]))
    def let_time_pass(self, seconds: float) -> None:
        before = self.clock.monotonic()
        self.clock.move(seconds)
        self.queue.release_due()
        due = [
            wanted for wanted in self.wanted.values() if before < wanted.ready_at <= self.clock.monotonic()
        ]
        for wanted in sorted(due, key=lambda each: (each.ready_at, each.turn)):
            wanted.turn = self.next_turn()

    def ready(self, lane: str) -> list[Request]:
        now = self.clock.monotonic()
        found = [
            request
            for request, wanted in self.wanted.items()
            if request.controller == lane and wanted.ready_at <= now and request not in self.processing
        ]
        return sorted(found, key=lambda each: (-self.wanted[each].priority, self.wanted[each].turn))

    @rule(lane=st.sampled_from(LANES))
    def take(self, lane: str) -> None:
        expected = self.ready(lane)
        if not expected:
            return
        ticket = at_once(self.queue.get(lane))
        assert ticket is not None
        assert ticket.request == expected[0]
        assert ticket.priority == self.wanted.pop(ticket.request).priority
        assert ticket.request not in self.processing
        self.processing.add(ticket.request)

    @precondition(lambda self: self.processing)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(sorted(self.processing)))
        self.queue.done(request)
        self.processing.remove(request)

    @invariant()
    def agrees_on_what_is_left(self) -> None:
        for lane in LANES:
            state = self.queue.state(lane)
            waiting = [request for request in self.wanted if request.controller == lane]
            assert sum(state.ready_by_priority.values()) + state.delayed == len(waiting)
            assert set(state.processing) == {each for each in self.processing if each.controller == lane}


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
