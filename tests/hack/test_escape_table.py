"""The list of attempts in docs/security.md is that of the tests, and each attempt in it is made."""

from collections.abc import Iterator
from types import FunctionType, ModuleType

import pytest

from tests.escape import cases, hostile_agent, test_deception, test_forgery, test_polecats, traps
from tests.escape.attempts import (
    DECEPTION,
    FORGERY,
    GROUPS,
    NETWORK,
    POLECATS,
    REACH,
    Attempt,
    attempts_of,
)
from tests.escape.table import PAGE, filled
from tests.node import test_network_policies


def made_by(module: ModuleType) -> Iterator[str]:
    for function in vars(module).values():
        if isinstance(function, FunctionType):
            yield from attempts_of(function)


def names(attempts: tuple[Attempt, ...]) -> list[str]:
    return sorted(attempt.name for attempt in attempts)


def test_the_page_has_the_list_of_now() -> None:
    page = PAGE.read_text()
    assert filled(page) == page, "run: python -m tests.escape.table"


def test_every_attempt_of_the_list_is_made_and_every_one_that_is_made_is_in_it() -> None:
    assert sorted(hostile_agent.ATTEMPTS) == names(tuple(REACH))
    assert sorted(made_by(test_deception)) == names(tuple(DECEPTION))
    assert sorted(made_by(test_forgery)) == names(tuple(FORGERY))
    assert sorted(made_by(test_network_policies)) == names(tuple(NETWORK))
    assert sorted([*made_by(test_polecats), *cases.CASES]) == names(tuple(POLECATS))
    assert all(
        name in traps.SET.template + traps.TRAP.template + " ".join(traps.HOOKS) for name in traps.NAMES
    )


def test_no_two_attempts_have_one_name() -> None:
    every = [attempt.name for _, attempts in GROUPS for attempt in attempts]
    assert len(every) == len(set(every))


def test_a_page_without_the_place_for_the_list_is_refused() -> None:
    with pytest.raises(ValueError, match="unpack"):
        filled("# Security\n")
