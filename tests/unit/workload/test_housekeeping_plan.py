"""What housekeeping decides about one key, by what the server shows of it."""

from collections.abc import Mapping
from typing import Final

import pytest

from gastown_operator.workload.housekeeping_plan import HousekeepingPlan, Leaving, Times, plan
from gastown_operator.workload.housekeeping_settings import HousekeepingSettings
from gastown_operator.workload.living import keys
from gastown_operator.workload.rig_refs import RigRefs

KEEP: Final = 1000
NOW: Final = 1_800_000_000
TIMES = Times(NOW, NOW + 5)
REFS = RigRefs("refs/gastown", "rig-a")
OWNER, OTHER = "rig/rig-a/ns/key", "rig/rig-b/ns/key"
WORK = ("wip/ns/key/1", "done/ns/key/1")
YOUNG, OLD, FUTURE = (
    f"gone/rig-a/ns/key/{NOW - 1}",
    f"gone/rig-a/ns/key/{NOW - KEEP}",
    f"gone/rig-a/ns/key/{2 * NOW}",
)
ODD = "gone/rig-a/ns/key/soon"
FRESH = f"gone/rig-a/ns/key/{NOW + 5}"

GONE: Mapping[str, tuple[tuple[str, ...], HousekeepingPlan]] = {
    "no owner": (WORK, HousekeepingPlan()),
    "another's": ((*WORK, OTHER), HousekeepingPlan()),
    "unmarked": ((*WORK, OWNER), HousekeepingPlan(mark=(FRESH,), found=3)),
    "marked not long ago": ((*WORK, OWNER, YOUNG), HousekeepingPlan(found=4)),
    "marked long ago": (
        (*WORK, OWNER, OLD),
        HousekeepingPlan(remove=(Leaving("ns/key", WORK, (OWNER, OLD)),), found=4),
    ),
    "marked twice": ((*WORK, OWNER, OLD, YOUNG), HousekeepingPlan(found=5)),
    "marked in the future": ((*WORK, OWNER, OLD, FUTURE), HousekeepingPlan(found=5)),
    "marked with what is no time": (
        (*WORK, OWNER, ODD),
        HousekeepingPlan(mark=(FRESH,), unmark=(ODD,), found=4),
    ),
    "long ago, and with what is no time": (
        (OWNER, OLD, ODD),
        HousekeepingPlan(remove=(Leaving("ns/key", (), (OWNER, OLD, ODD)),), found=3),
    ),
    "a mark alone": ((*WORK, OLD), HousekeepingPlan(unmark=(OLD,), found=1)),
    "another's too": (
        (*WORK, OWNER, OTHER, OLD),
        HousekeepingPlan(remove=(Leaving("ns/key", (), (OWNER, OLD)),), found=2),
    ),
}


def full(name: str) -> str:
    return f"refs/gastown/{name}"


def decided(names: tuple[str, ...], living: tuple[str, ...] = (), times: Times = TIMES) -> HousekeepingPlan:
    settings = HousekeepingSettings("url", REFS, KEEP, keys(living), keys(()), (), NOW, "ns", "secret")
    return plan(settings, {full(name): "1" * 40 for name in names}, times)


def expected(short: HousekeepingPlan) -> HousekeepingPlan:
    return HousekeepingPlan(
        mark=tuple(map(full, short.mark)),
        unmark=tuple(map(full, short.unmark)),
        remove=tuple(
            Leaving(it.key, tuple(map(full, it.work)), tuple(map(full, it.own))) for it in short.remove
        ),
        found=short.found,
    )


@pytest.mark.parametrize(("names", "wanted"), GONE.values(), ids=GONE.keys())
def test_a_key_that_nobody_lives_by(names: tuple[str, ...], wanted: HousekeepingPlan) -> None:
    assert decided(names) == expected(wanted)


@pytest.mark.parametrize("marks", [(), (YOUNG,), (OLD,), (FUTURE, ODD)])
def test_a_key_that_somebody_lives_by_loses_its_marks_alone(marks: tuple[str, ...]) -> None:
    wanted = HousekeepingPlan(unmark=marks, found=3 + len(marks))
    assert decided((*WORK, OWNER, *marks), living=("ns/key",)) == expected(wanted)


@pytest.mark.parametrize(("earlier", "leaves"), [(NOW - 1, False), (NOW, True)])
def test_both_clocks_must_say_that_it_is_time(earlier: int, leaves: bool) -> None:
    found = decided((*WORK, OWNER, OLD), times=Times(earlier, NOW + KEEP))
    assert bool(found.remove) is leaves
