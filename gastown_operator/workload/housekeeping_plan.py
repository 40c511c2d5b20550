"""What housekeeping does with the refs of a rig: pure."""

from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from gastown_operator.workload.housekeeping_settings import HousekeepingSettings
from gastown_operator.workload.rig_refs import Traces, seconds_of

#: Where git looks for what a name may mean; https://git-scm.com/docs/gitrevisions
_SPACES: Final = ("refs/", "refs/tags/", "refs/heads/", "refs/remotes/")


@attrs.frozen
class Times:
    """Two clocks that may differ, the Job's and the operator's: nothing is removed before both say that it is time.

    Attributes:
        earlier: seconds since 1970; what is removed is old enough by this one.
        later: what is marked now gets this one.
    """

    earlier: int
    later: int


@attrs.frozen
class Leaving:
    """The refs of one key that is to go: its work first, and what says whose it is only when that has gone."""

    key: str
    work: tuple[str, ...]
    own: tuple[str, ...]


@attrs.frozen
class HousekeepingPlan:
    """What to do.

    Attributes:
        mark: marks to push: their keys are gone from now on.
        unmark: marks to delete: their keys live again, or they say nothing.
        remove: keys that were gone for long enough.
        found: how many refs there are of the rig's keys.
        shadowed: refs that nothing is done about, since git cannot tell them from a branch or a tag whose name ends in theirs.
    """

    mark: tuple[str, ...] = ()
    unmark: tuple[str, ...] = ()
    remove: tuple[Leaving, ...] = ()
    found: int = 0
    shadowed: tuple[str, ...] = ()

    @property
    def named(self) -> Iterator[str]:
        """Every ref that a push would name."""
        yield from (*self.mark, *self.unmark)
        for leaving in self.remove:
            yield from (*leaving.work, *leaving.own)


def plan(settings: HousekeepingSettings, names: Mapping[str, str], times: Times) -> HousekeepingPlan:
    """Decide about every key that the rig owns; `names` are all refs that the server has."""
    steps = [
        _unless_shadowed(_of_key(settings, key, traces, times), names)
        for key, traces in sorted(settings.refs.traces(names).items())
        if not settings.namespaces or key.partition("/")[0] in settings.namespaces
    ]
    return HousekeepingPlan(
        mark=tuple(name for step in steps for name in step.mark),
        unmark=tuple(name for step in steps for name in step.unmark),
        remove=tuple(leaving for step in steps for leaving in step.remove),
        found=sum(step.found for step in steps),
        shadowed=tuple(name for step in steps for name in step.shadowed),
    )


def _unless_shadowed(step: HousekeepingPlan, names: Mapping[str, str]) -> HousekeepingPlan:
    """The step, or none: `refs/heads/refs/a` would make a push of `refs/a` fail with all others, or be moved in its place."""
    shadowed = [name for name in step.named if any(f"{space}{name}" in names for space in _SPACES)]
    return HousekeepingPlan(found=step.found, shadowed=(shadowed[0],)) if shadowed else step


def _of_key(settings: HousekeepingSettings, key: str, traces: Traces, times: Times) -> HousekeepingPlan:
    refs, marks = settings.refs, tuple(traces.marks.values())
    if refs.rig not in traces.owners:
        # An earlier run was broken off between the two, or somebody made it.
        return HousekeepingPlan(unmark=marks, found=len(marks))
    # A rig that has the key too may still need the work; then only what this one says of it goes.
    work = tuple(traces.work) if traces.owners == {refs.rig} else ()
    found = len(work) + len(marks) + 1
    leaving = Leaving(key, work, (refs.owner(key), *marks))
    if key in settings.landed:
        return HousekeepingPlan(remove=(leaving,), found=found)
    if key in settings.living:
        return HousekeepingPlan(unmark=marks, found=found)
    since = [seconds for text in traces.marks if (seconds := seconds_of(text)) is not None]
    if not since:
        return HousekeepingPlan(mark=(refs.mark(key, times.later),), unmark=marks, found=found)
    # Of several marks the youngest counts; one of the future is younger than anything.
    if max(since) + settings.keep > times.earlier:
        return HousekeepingPlan(found=found)
    return HousekeepingPlan(remove=(leaving,), found=found)
