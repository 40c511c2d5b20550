"""Whose checkpoints a polecat may go on from."""

from typing import Any

import pytest

from gastown_operator.api import labels
from gastown_operator.api.polecat import POLECAT, Polecat
from gastown_operator.controllers.polecat.observe import POLECAT_INDEXES
from gastown_operator.controllers.polecat.recovery import key_holder, recovery_key
from gastown_operator.runtime.store import Store
from tests.unit.controllers.objects import polecat


def heir(name: str = "heir", key: str = "toast-uid", **changes: Any) -> Polecat:
    """A polecat that wants to go on where another one was."""
    metadata = {"annotations": {labels.RECOVERY_KEY: key}}
    return polecat(name, metadata=metadata, **changes)


@pytest.fixture
def polecats() -> Store[Polecat]:
    return Store(POLECAT, dict(POLECAT_INDEXES))


def cached(polecats: Store[Polecat], *subjects: Polecat) -> None:
    for subject in subjects:
        polecats.partition().put(subject)


def test_refs_are_within_the_namespace() -> None:
    assert recovery_key(heir(namespace="team-b")) == "team-b/toast-uid"


def test_the_checkpoints_of_a_polecat_that_exists_are_its_own(polecats: Store[Polecat]) -> None:
    victim, thief = polecat("toast", age=1), heir(age=100)
    cached(polecats, victim, thief)

    assert key_holder(polecats, thief) == victim
    assert key_holder(polecats, victim) is None


def test_the_checkpoints_of_one_that_is_gone_are_for_the_first_heir(polecats: Store[Polecat]) -> None:
    first, second = heir("first", age=2), heir("second", age=1)
    cached(polecats, first, second)

    assert key_holder(polecats, first) is None
    assert key_holder(polecats, second) == first


def test_another_namespace_has_other_checkpoints(polecats: Store[Polecat]) -> None:
    elsewhere, own = polecat("toast", namespace="team-a"), heir(namespace="team-b")
    cached(polecats, elsewhere, own)

    assert key_holder(polecats, own) is None
