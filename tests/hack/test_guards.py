"""The guards against known pitfalls: the list fits the code, the page fits the list, and the tests of two by chance notice."""

import subprocess
from pathlib import Path

import pytest

from hack.guards_run.__main__ import pass_with_guards, sample
from hack.guards_run.guard import PITFALLS, ROOT, Catalogue, DataError, Guard, load
from hack.guards_run.table import PAGE, page, result
from hack.guards_run.trial import Run, judge, try_without

GUARD = Guard(
    1, "g", "code.py", "  if bad:\n", "  if False:\n", ["tests/test_a.py::test_x", "tests/test_a.py::test_y"]
)


def commit() -> str:
    """Return what changes with every commit: the sample does too, and is the same when it is repeated."""
    asked = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip()


def test_the_text_of_every_guard_is_where_the_list_says_and_its_tests_exist() -> None:
    assert list(load().problems()) == []


def test_every_pitfall_has_a_guard() -> None:
    assert {guard.pitfall for guard in load().guards} == set(range(1, PITFALLS + 1))


def test_the_page_is_what_the_list_says() -> None:
    assert PAGE.read_text() == page(load()), "run: hack/guards --markdown > docs/pitfalls.md"


@pytest.mark.timeout(400)
def test_two_guards_by_chance_are_missed_when_they_are_gone() -> None:
    guards = sample(load().guards, 2, commit())
    assert pass_with_guards(guards) == ""
    for guard in guards:
        verdict = try_without(guard)
        assert verdict.killed, verdict.words


def test_a_sample_has_quick_guards_only_and_is_the_same_for_the_same_seed() -> None:
    guards = load().guards
    chosen = sample(guards, 5, "a")
    assert chosen == sample(guards, 5, "a")
    assert len({guard.name for guard in chosen}) == 5
    assert not any(guard.slow for guard in sample(guards, 1000, "a"))


def write(root: Path, code: str) -> None:
    (root / "tests").mkdir()
    (root / "tests/test_a.py").write_text("def test_x() -> None: ...\ndef test_y() -> None: ...\n")
    (root / "code.py").write_text(code)


@pytest.mark.parametrize("code", ["", "def f():\n  if bad:\n    pass\n  if bad:\n    pass\n"])
def test_a_text_that_is_not_there_exactly_once_is_an_error(tmp_path: Path, code: str) -> None:
    write(tmp_path, code)
    catalogue = Catalogue(dict.fromkeys(range(1, PITFALLS + 1), ""), [GUARD])
    assert any("times in code.py, not once" in problem for problem in catalogue.problems(tmp_path))
    with pytest.raises(DataError, match="not once"):
        GUARD.removed_from(code)


def test_a_guard_is_found_in_its_function(tmp_path: Path) -> None:
    write(tmp_path, "class C:\n @property\n def f(self):\n  if bad:\n    pass\n")
    assert GUARD.place(tmp_path) == "C.f"


X, Y = "tests.test_a.test_x", "tests.test_a.test_y"


@pytest.mark.parametrize(
    ("run", "killed", "words"),
    [
        (Run(1, frozenset({X, f"{Y}[case]"})), True, ""),
        (Run(1, frozenset({X})), False, "not noticed by tests/test_a.py::test_y"),
        (Run(1, frozenset({f"{X}_more", Y})), False, "not noticed by tests/test_a.py::test_x"),
        (Run(0), False, "not noticed by tests/test_a.py::test_x, tests/test_a.py::test_y"),
        (Run(2, frozenset({X, Y}), "ImportError"), False, "the tests could not be run:\nImportError"),
        (Run(None), True, "the tests did not end in time"),
    ],
    ids=["all fail", "one passes", "namesakes", "none fails", "broken", "hung"],
)
def test_a_guard_is_killed_when_each_of_its_tests_fails(run: Run, killed: bool, words: str) -> None:
    verdict = judge(GUARD, run)
    assert (verdict.killed, verdict.words) == (killed, words)
    assert ("NOT KILLED" in result([verdict])) is not killed


def test_names_and_numbers_choose_and_others_are_errors() -> None:
    catalogue = Catalogue({}, [GUARD])
    assert catalogue.named(["g"]) == catalogue.named(["1"]) == [GUARD]
    with pytest.raises(DataError, match="there is no guard h"):
        catalogue.named(["g", "h"])
