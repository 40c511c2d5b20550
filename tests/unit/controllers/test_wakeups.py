"""Whom a change of something else wakes: every wait has something that ends it."""

from typing import Any

import attrs
import pytest

from gastown_operator.api import labels
from gastown_operator.api.core import POD, Pod
from gastown_operator.api.polecat import POLECAT, Polecat
from gastown_operator.api.rig import RIG, Rig
from gastown_operator.controllers.credential.problem import Credentials
from gastown_operator.controllers.network.fence import Fence
from gastown_operator.controllers.polecat.admission import Admission
from gastown_operator.controllers.polecat.observe import POD_INDEXES, POLECAT_INDEXES, Observed, observe
from gastown_operator.controllers.polecat.plan import plan
from gastown_operator.controllers.polecat.reconciler import Wakeups
from gastown_operator.controllers.polecat.spending import Spending
from gastown_operator.runtime.objects import ObjectKey, format_time
from gastown_operator.runtime.plan import Delete, MergePatch, Plan
from gastown_operator.runtime.store import Store
from gastown_operator.runtime.testing import VirtualClock
from tests.unit.controllers.objects import NOW, SETTINGS, WORKERS, pod, polecat, rig

DONE = {"phase": "Done", "finishedAt": format_time(NOW), "headCommit": "b" * 40}
DONE_AND_PUSHED = {
    **DONE,
    "conditions": [
        {
            "type": "Pushed",
            "status": "True",
            "reason": "Pushed",
            "message": "",
            "lastTransitionTime": format_time(NOW),
        }
    ],
}
LEAVING = {"finalizers": [labels.SPENDING_FINALIZER], "deletionTimestamp": format_time(NOW)}


@attrs.define
class World:
    """The caches of one operator."""

    polecats: Store[Polecat] = attrs.field(factory=lambda: Store(POLECAT, dict(POLECAT_INDEXES)))
    pods: Store[Pod] = attrs.field(factory=lambda: Store(POD, dict(POD_INDEXES)))
    rigs: Store[Rig] = attrs.field(factory=lambda: Store(RIG))
    clock: VirtualClock = attrs.field(factory=VirtualClock)
    admission: Admission = attrs.field(init=False)
    woken: set[str] = attrs.field(init=False, factory=set)
    versions: int = 1

    def __attrs_post_init__(self) -> None:
        self.admission = Admission(self.polecats, self.pods, self.clock)
        wakeups = Wakeups(self.admission, self.rigs)
        self.polecats.add_handler(lambda event: self._wake(wakeups.of_polecat(event)))
        self.polecats.add_handler(lambda event: self._wake(wakeups.of_dependency(event)))
        self.rigs.add_handler(lambda event: self._wake(wakeups.of_rig(event)))
        self.rigs.add_handler(lambda event: self._wake(wakeups.of_counted(event)))
        self.pods.partition()

    def _wake(self, keys: Any) -> None:
        self.woken |= {key.name for key in keys}

    def see(self, *subjects: Polecat | Rig) -> set[str]:
        """Let the caches see these; who was woken by the last of them."""
        for subject in subjects:
            self.woken.clear()
            store: Store[Any] = self.polecats if isinstance(subject, Polecat) else self.rigs
            self.versions += 1
            metadata = attrs.evolve(subject.metadata, resource_version=self.versions)
            store.partition().put(attrs.evolve(subject, metadata=metadata))
        return set(self.woken)

    def observed(self, name: str) -> Observed:
        """What the controller sees of a polecat."""
        subject = self.polecats.get(ObjectKey(WORKERS, name))
        assert subject is not None
        return observe(subject, self.rigs, self.admission, Credentials(), Fence())


@pytest.fixture
def world() -> World:
    made = World()
    made.see(rig())
    return made


def test_one_that_leaves_goes_when_its_rig_is_gone_and_nobody_counts_any_more(world: World) -> None:
    world.see(rig(), polecat("ash", metadata=LEAVING, status=DONE))
    world.woken.clear()

    world.rigs.partition().remove(ObjectKey("", "project"), 99)

    assert world.woken == {"ash"}
    (action,) = plan(world.observed("ash"), SETTINGS, NOW).actions
    assert isinstance(action, MergePatch)
    assert action.body["metadata"]["finalizers"] == []


def test_one_that_leaves_does_not_wait_for_a_rig_that_goes_too(world: World) -> None:
    going = rig()
    going = attrs.evolve(going, metadata=attrs.evolve(going.metadata, deletion_timestamp=NOW))

    assert world.see(polecat("ash", metadata=LEAVING, status=DONE), going) == {"ash"}
    assert [type(action) for action in plan(world.observed("ash"), SETTINGS, NOW).actions] == [MergePatch]


def test_a_time_to_live_that_the_rig_sets_later_holds_for_those_that_have_ended(world: World) -> None:
    world.see(polecat("ash", status=DONE))

    assert world.see(rig(defaults={"ttlSecondsAfterFinished": 0})) == {"ash"}
    assert [type(action) for action in plan(world.observed("ash"), SETTINGS, NOW).actions] == [Delete]


def test_one_that_lives_on_for_a_dependent_is_woken_when_that_one_needs_it_no_more(world: World) -> None:
    ash = polecat("ash", status=DONE_AND_PUSHED, ttlSecondsAfterFinished=0)
    working = {"phase": "Working", "podActive": True}
    world.see(ash, polecat("birch", dependsOn=["ash"], status=working))

    assert plan(world.observed("ash"), SETTINGS, NOW).actions == ()  # its next attempt would start from it
    assert "ash" in world.see(polecat("birch", status=working))
    assert [type(action) for action in plan(world.observed("ash"), SETTINGS, NOW).actions] == [Delete]


def test_what_is_done_closes_no_circle(world: World) -> None:
    world.see(
        polecat("ash", dependsOn=["birch"], status=DONE_AND_PUSHED), polecat("birch", dependsOn=["ash"])
    )

    assert world.observed("birch").cycle == ()


def test_a_reservation_that_is_in_doubt_does_not_count_against_its_own_polecat(world: World) -> None:
    world.see(
        rig(budget={"maxTokens": 1000}), polecat("ash", agent="claude-code", agentConfig={"command": []})
    )
    first = world.observed("ash")
    world.admission.assume(
        first.polecat, ObjectKey(WORKERS, "polecat-ash"), Spending(tokens=first.grant.budget.max_tokens or 0)
    )
    world.admission.doubt(first.polecat)

    assert world.observed("ash").grant.reason == ""


def test_money_that_comes_back_in_a_moment_is_waited_for_without_a_word(world: World) -> None:
    held = {"annotations": {labels.RESERVED_TOKENS: "1000"}}
    working = polecat("ash", status={"phase": "Working", "podActive": True, "attempt": 1})
    waits = polecat("birch", agentConfig={"provider": "anthropic"})
    world.see(rig(budget={"maxTokens": 1000}), working, waits)
    ended = pod("polecat-ash", owner=working, phase="Succeeded", metadata=held)
    world.pods.partition().put(ended)

    assert plan(world.observed("birch"), SETTINGS, NOW) == Plan()

    attempt = {
        "podUID": ended.metadata.uid,
        "number": 1,
        "class": "Succeeded",
        "finishedAt": format_time(NOW),
    }
    assert "birch" in world.see(
        polecat("ash", status={**DONE_AND_PUSHED, "attempt": 1, "attempts": [attempt]})
    )
    assert world.observed("birch").grant.budget.max_tokens == 1000


def test_a_pod_of_an_attempt_that_is_not_listed_any_more_reserves_nothing(world: World) -> None:
    subject = polecat("ash", status={"attempt": 30, "phase": "Idle"})
    noted = {"annotations": {labels.RESERVED_TOKENS: "900"}}
    world.see(rig(budget={"maxTokens": 1000}), subject)
    world.pods.partition().put(pod("polecat-ash", owner=subject, phase="Failed", metadata=noted))

    assert world.observed("ash").grant.budget.max_tokens == 1000
