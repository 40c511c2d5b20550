"""The guards as tables: for the terminal, and for the documentation."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from hack.guards_run.guard import ROOT, Catalogue, Guard
from hack.guards_run.trial import Verdict

PAGE: Final = ROOT / "docs/pitfalls.md"
HEAD: Final = """\
# Pitfalls, and what keeps us out of them

What has gone wrong in other operators, the lines of ours that prevent it, and the tests that fail without those lines. `hack/guards` takes them out one
by one, in a copy of the tree, and expects each of the tests to fail; every run of the unit suite does so with two of them.

Generated from `hack/guards_run/guards.toml` by `hack/guards --markdown > docs/pitfalls.md`.
"""


def page(catalogue: Catalogue, root: Path = ROOT) -> str:
    """Return the page of the documentation."""
    lines = [HEAD, "| | pitfall | guard | where | test |", "|---|---|---|---|---|"]
    for number, guards in groupby(catalogue.guards, key=lambda guard: guard.pitfall):
        for position, guard in enumerate(guards):
            first = f"{number} | {catalogue.pitfalls[number]}" if position == 0 else " | "
            lines.append(f"| {first} | {guard.name} | {_where(guard, root)} | {_tests(guard)} |")
    return "\n".join(lines) + "\n"


def listing(guards: Sequence[Guard]) -> str:
    """Return one line for each guard."""
    return _aligned([(str(guard.pitfall), guard.name, f"{guard.file}: {guard.place()}") for guard in guards])


def result(verdicts: Sequence[Verdict]) -> str:
    """Return what became of each guard."""
    rows = [("pitfall", "guard", "test", "killed by")]
    for verdict in sorted(verdicts, key=lambda each: each.guard.pitfall):
        guard = verdict.guard
        for position, test in enumerate(guard.tests):
            shown = (str(guard.pitfall), guard.name) if position == 0 else ("", "")
            rows.append((*shown, test.rpartition("::")[2], _killer(verdict, test)))
    return _aligned(rows)


def _killer(verdict: Verdict, test: str) -> str:
    if verdict.killed:
        return verdict.words or test.partition("::")[0]
    return f"NOT KILLED: {verdict.words}" if test == verdict.guard.tests[0] else ""


def _where(guard: Guard, root: Path) -> str:
    place = guard.place(root)
    file = guard.file.removeprefix("gastown_operator/")
    return f"[`{file}`](../{guard.file})" + (f" `{place}`" if place else "")


def _tests(guard: Guard) -> str:
    return "<br>".join(_linked(test) for test in guard.tests)


def _linked(test: str) -> str:
    file, _, name = test.partition("::")
    return f"[`{name}`](../{file})"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(_padded(row, widths)).rstrip()


def _padded(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    return (text.ljust(width) for text, width in zip(row, widths, strict=True))
