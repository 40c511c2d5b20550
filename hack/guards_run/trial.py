"""One trial: a copy of the tree without a guard, and what its tests say there."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from hack.guards_run.guard import ROOT, Guard

PARTS: Final = ("gastown_operator", "tests", "hack", "docs", "manifests", "pyproject.toml")
TEST_SECONDS: Final = 20  # for one test, which may hang without its guard
SLOW_TEST_SECONDS: Final = 120
RUN_SECONDS: Final = 180  # for all of them, should the test runner itself hang


@dataclass(frozen=True)
class Run:
    """How a run of tests went: its exit status (pytest's, or None when its time was over), and who failed."""

    status: int | None
    failed: frozenset[str] = frozenset()
    output: str = ""


@dataclass(frozen=True)
class Verdict:
    """What became of a guard's removal: `killed` when every one of its tests failed."""

    guard: Guard
    killed: bool
    words: str


def try_without(guard: Guard) -> Verdict:
    """Remove the guard in a copy of the tree and run its tests there. Raises DataError."""
    with tempfile.TemporaryDirectory(prefix="guards-") as folder:
        copy = copy_tree(Path(folder))
        file = copy / guard.file
        file.write_text(guard.removed_from(file.read_text()))
        return judge(guard, _run_each(copy, guard))


def _run_each(root: Path, guard: Guard) -> Run:
    """Run a guard's tests together, which is quicker; one by one if one of them hangs, since that says nothing of the others."""
    seconds = SLOW_TEST_SECONDS if guard.slow else TEST_SECONDS
    together = run_tests(root, guard.tests, seconds)
    if together.status is not None or len(guard.tests) == 1:
        return together
    runs = {test: run_tests(root, [test], seconds) for test in guard.tests}
    hung = {_dotted(test) for test, run in runs.items() if run.status is None}
    broken = next((run for run in runs.values() if run.status not in {None, 0, 1}), None)
    failed = frozenset(hung.union(*(run.failed for run in runs.values())))
    return broken or Run(1, failed)


def judge(guard: Guard, run: Run) -> Verdict:
    """Decide whether the tests noticed. A tree that cannot even be imported proves nothing."""
    if run.status is None:
        return Verdict(guard, killed=True, words="the tests did not end in time")
    if run.status not in {0, 1}:
        return Verdict(guard, killed=False, words=f"the tests could not be run:\n{run.output}")
    blind = [test for test in guard.tests if not any(_is_case(failed, test) for failed in run.failed)]
    if blind:
        return Verdict(guard, killed=False, words=f"not noticed by {', '.join(blind)}")
    return Verdict(guard, killed=True, words="")


def run_tests(root: Path, tests: Sequence[str], seconds: float) -> Run:
    """Run tests of a tree, and give each of them so many seconds."""
    report = root / "report.xml"
    command = [
        *(sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", "--hypothesis-seed=0"),
        *(f"--timeout={seconds}", "--timeout-method=thread", f"--junitxml={report}", *tests),
    ]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(
            command,
            cwd=root,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=RUN_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Run(None)
    output = ended.stdout[-2000:] + ended.stderr[-2000:]
    if (
        not report.exists()
    ):  # pytest-timeout ends the whole run, which works even where the event loop is busy for ever
        return Run(None if "Timeout" in output else ended.returncode, output=output)
    return Run(ended.returncode, _failed(report), output)


def copy_tree(folder: Path) -> Path:
    """Copy what the tests need; return where it is."""
    skip = shutil.ignore_patterns("__pycache__", ".hypothesis", "*.xml")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=skip)
        else:
            shutil.copy2(ROOT / part, folder / part)
    return folder


def _failed(report: Path) -> frozenset[str]:
    """Return who failed, as `package.module.test[case]`."""
    cases = ET.parse(report).iter("testcase")  # noqa: S314 - written by our own pytest
    return frozenset(
        f"{case.get('classname')}.{case.get('name')}"
        for case in cases
        if any(child.tag in {"failure", "error"} for child in case)
    )


def _is_case(name: str, test: str) -> bool:
    """Whether a name of the report is a test, or a case of it."""
    dotted = _dotted(test)
    return name == dotted or name.startswith(f"{dotted}[")


def _dotted(test: str) -> str:
    """Return how the report names a test."""
    return test.replace(".py::", "::").replace("/", ".").replace("::", ".")
