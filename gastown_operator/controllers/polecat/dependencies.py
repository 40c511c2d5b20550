"""Whose work a polecat builds upon, and whether that is there (DESIGN §7)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import frozen

from gastown_operator.api.conditions import is_true
from gastown_operator.api.polecat import DesiredState, Polecat, PolecatPhase
from gastown_operator.controllers.polecat.status import MERGED, PUSHED
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.store import Store

POLECATS_BY_DEPENDENCY: Final = "dependency"


@frozen
class Base:
    """Work of a dependency that is on the remote and not merged: a dependent starts from it."""

    branch: str
    commit: str


def polecats_by_dependency(polecat: Polecat) -> Iterable[str]:
    """Index: the polecats that wait for one, by its namespace and name."""
    return {f"{polecat.metadata.namespace}/{name}" for name in polecat.spec.depends_on}


def dependents(polecats: Store[Polecat], polecat: Polecat) -> Sequence[Polecat]:
    """The polecats that name this one in `dependsOn`."""
    key = f"{polecat.metadata.namespace}/{polecat.metadata.name}"
    return list(polecats.by_index(POLECATS_BY_DEPENDENCY, key))


def is_needed(polecats: Store[Polecat], polecat: Polecat) -> bool:
    """Whether somebody that has not ended still reads from this one's status what it left: each of its attempts does."""
    return any(other.status.finished_at is None for other in dependents(polecats, polecat))


def bases(polecats: Store[Polecat], polecat: Polecat) -> tuple[Base, ...]:
    """What the dependencies left that is not merged, in the order of `dependsOn`."""
    found = (_dependency(polecats, polecat, name) for name in polecat.spec.depends_on)
    return tuple(
        Base(other.status.branch, other.status.head_commit)
        for other in found
        if other is not None
        and other.status.head_commit is not None
        and not is_true(other.status.conditions, MERGED)
    )


def missing(polecats: Store[Polecat], polecat: Polecat) -> str:
    """What it waits for, in words; empty when all of its dependencies are there."""
    if not polecat.spec.depends_on:
        return ""  # asked of everybody in line, again and again
    said = (
        _lack(name, _dependency(polecats, polecat, name)) for name in dict.fromkeys(polecat.spec.depends_on)
    )
    return "; ".join(text for text in said if text)


def cycle(polecats: Store[Polecat], polecat: Polecat) -> tuple[str, ...]:
    """The names on a way from the polecat over its dependencies back to itself; empty where there is none."""
    way_to: dict[str, str] = {}
    ahead = [(polecat.metadata.name, name) for name in polecat.spec.depends_on]
    while ahead:
        former, name = ahead.pop()
        if name == polecat.metadata.name:
            return (*_way(way_to, former, polecat.metadata.name), name)
        other = _dependency(polecats, polecat, name)
        if other is None or name in way_to or satisfied(other):
            continue
        way_to[name] = former
        ahead += [(name, next_name) for next_name in other.spec.depends_on]
    return ()


def _way(way_to: Mapping[str, str], end: str, start: str) -> list[str]:
    way = [end]
    while way[-1] != start:
        way.append(way_to[way[-1]])
    return way[::-1]


def satisfied(dependency: Polecat) -> bool:
    """Whether others can build upon it: it is merged, or done, and then its commits, if there are any, are pushed."""
    status = dependency.status
    if is_true(status.conditions, MERGED):
        return True
    pushed = is_true(status.conditions, PUSHED) or status.head_commit is None
    return status.phase is PolecatPhase.DONE and pushed


def _lack(name: str, dependency: Polecat | None) -> str:
    if dependency is None:
        return f'Polecat "{name}" does not exist: create it, or remove it from spec.dependsOn'
    if satisfied(dependency):
        return ""
    status = dependency.status
    if status.phase in (PolecatPhase.STUCK, PolecatPhase.TERMINATED):
        see = f"kubectl -n {dependency.metadata.namespace} describe polecat {name}"
        return f'Polecat "{name}" is {status.phase} ({see}): it needs your help, or remove it from spec.dependsOn'
    if status.phase is PolecatPhase.IDLE and dependency.spec.desired_state is not DesiredState.WORKING:
        return f'Polecat "{name}" is not wanted to work: set its spec.desiredState to Working'
    return f'Polecat "{name}" is not done'


def _dependency(polecats: Store[Polecat], polecat: Polecat, name: str) -> Polecat | None:
    return polecats.get(ObjectKey(polecat.metadata.namespace, name))
