"""How suites went: counts from JUnit files, and the table at the end."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Counts:
    """How many tests ended how."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        """Both together."""
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        """As runners of tests say it."""
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


@dataclass(frozen=True)
class Result:
    """How one suite went.

    Attributes:
        status: exit status of the suite's command, or of what prepared it.
        seconds: how long it took, its cluster and images included.
    """

    name: str
    status: int
    counts: Counts
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether everything in it passed."""
        return self.status == 0 and self.counts.failed == 0


def read_counts(file: Path) -> Counts | None:
    """Counts in a JUnit file of pytest; None where there is none, because the suite has another runner or did not start."""
    if not file.exists():
        return None
    total = Counts()
    for suite in ET.parse(file).getroot().iter("testsuite"):  # noqa: S314 - see above
        tests, skipped = int(suite.get("tests", "0")), int(suite.get("skipped", "0"))
        failed = int(suite.get("failures", "0")) + int(suite.get("errors", "0"))
        total += Counts(max(0, tests - failed - skipped), failed, skipped)
    return total


def table(results: Sequence[Result]) -> str:
    """One line per suite, and the total as the last line."""
    rows = [("SUITE", "RESULT", "PASSED", "FAILED", "SKIPPED", "SECONDS")]
    for result in results:
        counts = result.counts
        verdict = "ok" if result.ok else f"FAILED (exit status {result.status})"
        numbers = (str(counts.passed), str(counts.failed), str(counts.skipped), f"{result.seconds:.0f}")
        rows.append((result.name, verdict, *numbers))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    total = sum((result.counts for result in results), Counts())
    return "\n".join([*lines, "", f"Total: {total}"])
