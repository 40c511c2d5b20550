"""hack/test: run the suites that are asked for, each in the cluster that it needs, and say how they went."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from hack.suites.results import Counts, Result, read_counts, table
from hack.suites.suite import SUITES, Suite

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / ".tox" / "results"
FULL = {"GASTOWN_KILLS": "20", "GASTOWN_FULL": "1"}


def _parser() -> argparse.ArgumentParser:
    names = ", ".join(suite.name for suite in SUITES)
    parser = argparse.ArgumentParser(
        prog="hack/test",
        description="Runs every test. Clusters and images are made as needed, kept in a cache, and removed from memory at the end.",
        epilog="Exit status 0 only if everything passed. The last line is the total.",
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"suites to run (default: all): {names}")
    parser.add_argument("--keep", action="store_true", help="leave the clusters up, for a faster next run")
    parser.add_argument(
        "--full",
        action="store_true",
        help="the long form of suites that have one (20 kills instead of 3, 50 pods instead of 20)",
    )
    parser.add_argument("--list", action="store_true", help="say what the suites are, and end")
    return parser


def _say(text: str) -> None:
    print(f"hack/test: {text}", flush=True)


def _run(*command: str, environment: Mapping[str, str] | None = None) -> int:
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **(environment or {})}, check=False
    ).returncode


def _prepare(suite: Suite) -> int:
    """Exit status of making the cluster and loading the images; 0 where none is needed."""
    if not suite.nodes:
        return 0
    status = _run("hack/cluster", "up", "--nodes", suite.nodes, "--name", suite.cluster)
    if status == 0 and suite.images:
        status = _run("hack/images", *suite.images, "--load", suite.cluster)
    return status


def _command(suite: Suite, junit: Path) -> list[str]:
    if suite.name == "demo":
        return ["hack/demo", "--name", suite.cluster]
    tox = [".venv/bin/tox", "run", "-q", "-e", suite.name, "--", f"--junitxml={junit}"]
    return ["hack/cluster", "exec", "--name", suite.cluster, "--", *tox] if suite.nodes else tox


def _run_suite(suite: Suite, *, full: bool) -> Result:
    _say(f"=== {suite.name}: {suite.about}")
    started = time.monotonic()
    junit = RESULTS / f"{suite.name}.xml"
    junit.unlink(missing_ok=True)
    status = _prepare(suite)
    if status == 0:
        status = _run(*_command(suite, junit), environment=FULL if full else None)
    # A suite without pytest (lint, the demo) counts as one test.
    counts = read_counts(junit) or (Counts(passed=1) if status == 0 else Counts(failed=1))
    return Result(suite.name, status, counts, time.monotonic() - started)


def _still_needed(remaining: Sequence[Suite]) -> set[str]:
    return {suite.cluster for suite in remaining if suite.cluster}


def main(argv: Sequence[str]) -> int:
    """Exit status of the whole."""
    arguments = _parser().parse_args(argv)
    if arguments.list:
        for suite in SUITES:
            print(f"{suite.name:10} {suite.about}")
        return 0
    known = {suite.name: suite for suite in SUITES}
    unknown = [name for name in arguments.suites if name not in known]
    if unknown:
        print(
            f"hack/test: there is no suite {', '.join(unknown)}; there are {', '.join(known)}",
            file=sys.stderr,
        )
        return 2
    chosen = [known[name] for name in arguments.suites] or list(SUITES)
    RESULTS.mkdir(parents=True, exist_ok=True)
    results = []
    for number, suite in enumerate(chosen, start=1):
        results.append(_run_suite(suite, full=arguments.full))
        if suite.cluster and not arguments.keep and suite.cluster not in _still_needed(chosen[number:]):
            _run("hack/cluster", "down", "--name", suite.cluster)
    print(f"\n{table(results)}", flush=True)
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
