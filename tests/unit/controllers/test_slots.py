"""Slots while a pod's creation is on its way to the cache."""

from typing import Any

import attrs
import pytest

from gastown_operator.api.core import POD, Pod
from gastown_operator.api.polecat import POLECAT, Polecat
from gastown_operator.api.rig import RIG
from gastown_operator.controllers.polecat.admission import Admission
from gastown_operator.controllers.polecat.line import Wait
from gastown_operator.controllers.polecat.observe import POD_INDEXES, POLECAT_INDEXES
from gastown_operator.controllers.polecat.reconciler import Wakeups
from gastown_operator.runtime.objects import ObjectKey, format_time
from gastown_operator.runtime.store import Event, Store
from gastown_operator.runtime.testing import VirtualClock
from tests.unit.controllers.objects import NOW, WORKERS, polecat, rig


@attrs.define
class Line:
    """Polecats, their pods, and the rig's slots."""

    polecats: Store[Polecat] = attrs.field(factory=lambda: Store(POLECAT, dict(POLECAT_INDEXES)))
    pods: Store[Pod] = attrs.field(factory=lambda: Store(POD, dict(POD_INDEXES)))
    clock: VirtualClock = attrs.field(factory=VirtualClock)
    admission: Admission = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.admission = Admission(self.polecats, self.pods, self.clock)

    def put(self, *subjects: Polecat) -> None:
        """Let the cache see polecats."""
        for subject in subjects:
            self.polecats.partition().put(subject)


def queued(wait: Wait) -> dict[str, Any]:
    """Status of a polecat that waits for this."""
    condition = {"type": "Queued", "status": "True", "reason": wait.value, "message": ""}
    return {"phase": "Idle", "conditions": [{**condition, "lastTransitionTime": format_time(NOW)}]}


@pytest.fixture
def line() -> Line:
    return Line()


def test_a_polecat_whose_pod_is_being_created_is_not_in_the_queue_as_well(line: Line) -> None:
    line.pods.partition()
    first, second, third = (polecat(name, age=age) for name, age in (("a", 3), ("b", 2), ("c", 1)))
    line.put(first, second, third)
    narrow = rig(settings={"maxPolecats": 2})

    line.admission.assume(first, ObjectKey(WORKERS, "polecat-a"))

    assert line.admission.verdict(second, narrow).wait is None
    assert line.admission.verdict(third, narrow).wait is Wait.RIG_AT_CAPACITY
    assert line.admission.next_in_line("project", 2) == [second.metadata.key]


def test_a_created_pod_is_counted_until_the_watch_of_its_namespace_has_come_so_far(line: Line) -> None:
    written, _ = line.pods.partition(WORKERS), line.pods.partition("quiet")
    only = polecat()
    line.put(only)
    line.admission.assume(only, ObjectKey(WORKERS, "polecat-toast"))
    line.admission.created(only, 150)

    written.advance(149)
    assert line.admission.active("project") == 1

    written.advance(150)  # it came and went
    assert line.admission.active("project") == 0


FAILURE = {"podUID": "1", "class": "Infrastructure", "reason": "NodeLost"}


def test_one_that_waits_out_its_backoff_keeps_nobody_waiting(line: Line) -> None:
    failed = {**FAILURE, "finishedAt": format_time(line.clock.now())}
    first, second = polecat("a", age=2, status={"attempts": [failed]}), polecat("b", age=1)
    line.put(first, second)
    narrow = rig(settings={"maxPolecats": 1})

    assert line.admission.verdict(second, narrow).wait is None
    assert line.admission.next_in_line("project", 1) == [second.metadata.key]

    line.clock.move(10)

    assert line.admission.verdict(second, narrow).wait is Wait.RIG_AT_CAPACITY
    assert line.admission.next_in_line("project", 1) == [first.metadata.key]


@pytest.mark.parametrize("wait", [Wait.QUOTA_EXCEEDED, Wait.POD_NAME_IN_USE])
def test_one_that_could_not_take_a_slot_keeps_nobody_waiting(line: Line, wait: Wait) -> None:
    first, second = polecat("a", age=2, status=queued(wait)), polecat("b", age=1)
    line.put(first, second)
    narrow = rig(settings={"maxPolecats": 1})

    assert line.admission.verdict(second, narrow).wait is None
    assert line.admission.verdict(first, narrow).wait is None  # it may try again
    assert line.admission.next_in_line("project", 1) == [second.metadata.key]


def test_the_next_is_woken_when_one_turns_out_not_to_be_able_to_start(line: Line) -> None:
    before, behind = polecat("a", age=2), polecat("b", age=1)
    full = polecat("a", age=2, status=queued(Wait.QUOTA_EXCEEDED))
    rigs = Store(RIG)
    rigs.partition().put(rig(settings={"maxPolecats": 1}))
    line.put(full, behind)

    woken = Wakeups(line.admission, rigs).of_polecat(Event(before, full))

    assert list(woken) == [behind.metadata.key]
