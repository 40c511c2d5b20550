"""Slots while a pod's creation is on its way to the cache."""

from gastown_operator.api.core import POD, Pod
from gastown_operator.api.polecat import POLECAT, Polecat
from gastown_operator.controllers.polecat.admission import Admission, Wait
from gastown_operator.controllers.polecat.observe import POD_INDEXES, POLECAT_INDEXES
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.store import Store
from gastown_operator.runtime.testing import VirtualClock
from tests.unit.controllers.objects import WORKERS, polecat, rig


def test_a_polecat_whose_pod_is_being_created_is_not_in_the_queue_as_well() -> None:
    polecats: Store[Polecat] = Store(POLECAT, dict(POLECAT_INDEXES))
    pods: Store[Pod] = Store(POD, dict(POD_INDEXES))
    pods.partition()
    admission = Admission(polecats, pods, VirtualClock())
    first, second, third = (polecat(name, age=age) for name, age in (("a", 3), ("b", 2), ("c", 1)))
    for waiting in (first, second, third):
        polecats.partition().put(waiting)
    narrow = rig(settings={"maxPolecats": 2})

    admission.assume(first, ObjectKey(WORKERS, "polecat-a"))

    assert admission.verdict(second, narrow).wait is None
    assert admission.verdict(third, narrow).wait is Wait.RIG_AT_CAPACITY
    assert admission.next_in_line("project", 2) == [second.metadata.key]
