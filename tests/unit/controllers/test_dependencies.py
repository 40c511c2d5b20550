"""Whose work a polecat waits for, and what it starts from."""

from gastown_operator.api.polecat import POLECAT, Polecat
from gastown_operator.controllers.polecat.dependencies import Base, bases, cycle, is_needed, missing
from gastown_operator.controllers.polecat.observe import POLECAT_INDEXES
from gastown_operator.runtime.store import Store
from tests.unit.controllers.objects import HEAD, polecat

PUSHED = {
    "type": "Pushed",
    "status": "True",
    "reason": "Pushed",
    "message": "",
    "lastTransitionTime": "2026-11-24T11:00:00Z",
}
MERGED = {**PUSHED, "type": "Merged", "reason": "Merged"}
ENDED = {"finishedAt": "2026-11-24T11:00:00Z"}


def done(name: str, *conditions: dict[str, str]) -> Polecat:
    """A polecat that is done, with its work on a branch."""
    status = {
        "phase": "Done",
        "branch": f"polecat/{name}",
        "headCommit": HEAD,
        "conditions": list(conditions),
        **ENDED,
    }
    return polecat(name, status=status)


def cached(*polecats: Polecat) -> Store[Polecat]:
    """A cache that holds them."""
    store: Store[Polecat] = Store(POLECAT, dict(POLECAT_INDEXES))
    partition = store.partition()
    for one in polecats:
        partition.put(one)
    return store


def test_a_pushed_dependency_is_the_base_and_a_merged_one_needs_none() -> None:
    subject = polecat("c", dependsOn=["a", "b"])
    store = cached(done("a", PUSHED), done("b", PUSHED, MERGED), subject)

    assert missing(store, subject) == ""
    assert bases(store, subject) == (Base("polecat/a", HEAD),)


def test_one_that_was_done_without_a_change_is_no_base_and_nothing_to_wait_for() -> None:
    subject = polecat("c", dependsOn=["a"])
    empty = polecat("a", status={"phase": "Done", **ENDED})

    assert (missing(cached(empty, subject), subject), bases(cached(empty, subject), subject)) == ("", ())


def test_what_is_waited_for_is_named_with_what_to_do() -> None:
    subject = polecat("d", dependsOn=["absent", "stuck", "idle", "busy"])
    store = cached(
        polecat("stuck", status={"phase": "Stuck", **ENDED}),
        polecat("idle", desiredState="Idle"),
        polecat("busy", status={"phase": "Working"}),
        subject,
    )

    said = missing(store, subject)

    assert '"absent" does not exist' in said
    assert '"stuck" is Stuck (kubectl -n gastown-workers describe polecat stuck): it needs your help' in said
    assert '"idle" is not wanted to work: set its spec.desiredState' in said
    assert '"busy" is not done' in said


def test_a_push_that_was_not_proven_is_waited_for() -> None:
    subject = polecat("c", dependsOn=["a"])

    assert missing(cached(done("a"), subject), subject) == 'Polecat "a" is not done'


def test_a_dependency_of_another_namespace_is_none() -> None:
    subject = polecat("c", dependsOn=["a"])
    foreign = polecat("a", namespace="elsewhere", status={"phase": "Done", **ENDED})

    assert '"a" does not exist' in missing(cached(foreign, subject), subject)


def test_a_circle_is_found_with_the_way_around_and_a_diamond_is_none() -> None:
    first, second = polecat("a", dependsOn=["b"]), polecat("b", dependsOn=["a"])
    top = polecat("top", dependsOn=["left", "right"])
    sides = polecat("left", dependsOn=["bottom"]), polecat("right", dependsOn=["bottom"])

    assert cycle(cached(first, second), first) == ("a", "b", "a")
    assert cycle(cached(top, *sides, polecat("bottom")), top) == ()


def test_a_circle_among_others_ends_the_search() -> None:
    outside = polecat("outside", dependsOn=["a"])
    store = cached(outside, polecat("a", dependsOn=["b"]), polecat("b", dependsOn=["a"]))

    assert cycle(store, outside) == ()


def test_one_is_needed_until_its_dependents_have_ended_since_another_attempt_reads_it_again() -> None:
    subject = done("a", PUSHED)
    waits, works = polecat("b", dependsOn=["a"]), polecat("b", dependsOn=["a"], status={"podActive": True})
    ended = polecat("b", dependsOn=["a"], status={"finishedAt": "2026-11-24T11:00:00Z"})

    assert is_needed(cached(subject, waits), subject)
    assert is_needed(cached(subject, works), subject)
    assert not is_needed(cached(subject, ended), subject)
