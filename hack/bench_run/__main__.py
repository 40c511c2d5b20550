"""hack/bench: run the measures that are asked for, each in a fresh cluster, and say what they found."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from hack.bench_run import plot, table
from hack.bench_run.machine import ROOT, describe
from hack.bench_run.results import Results
from tests.bench.figures import Figure
from tests.bench.measures import MEASURES, Measure

DOCS = ROOT / "docs"
PAGE = DOCS / "performance.md"
SCRATCH = ROOT / ".tox" / "bench-results"


def _setting(text: str) -> str:
    """Return `text` if it is a name and a JSON value."""
    name, equals, value = text.partition("=")
    try:
        json.loads(value)
    except ValueError:
        equals = ""
    if not (name.isidentifier() and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE with a JSON value, such as seconds=60")
    return text


def _parser() -> argparse.ArgumentParser:
    names = ", ".join(measure.name for measure in MEASURES)
    parser = argparse.ArgumentParser(
        prog="hack/bench",
        description="Measures the operator, in clusters that it makes and removes; needs root, and a machine that is otherwise idle. "
        "Results go to docs/performance.json and into the table of docs/performance.md, each measure's in the place of its former ones.",
        epilog="Exit status 0 if every measure ran, whatever its bars; 1 if one failed; 2 if it was called wrongly.",
    )
    parser.add_argument(
        "measures", nargs="*", metavar="MEASURE", help=f"what to measure (default: all): {names}"
    )
    parser.add_argument("--list", action="store_true", help="say what the measures are, and end")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="show that the benchmarks run, by small numbers that are not kept",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="KEY=VALUE",
        help="an argument of the measure's function, such as seconds=60 (JSON); the figures are not kept",
    )
    parser.add_argument(
        "--name", default="bench", metavar="CLUSTER", help="name of the cluster (default: bench)"
    )
    parser.add_argument("--missing", action="store_true", help="only what has no results of this commit yet")
    parser.add_argument("--table", action="store_true", help="print what is kept, measure nothing")
    return parser


def _say(text: str) -> None:
    print(f"hack/bench: {text}", file=sys.stderr, flush=True)


def _cluster(verb: str, name: str, *options: str) -> bool:
    command = [str(ROOT / "hack" / "cluster"), verb, *options, "--name", name]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def _run(
    measure: Measure, cluster: str, settings: Sequence[str], *, fresh: bool, keep: bool
) -> list[dict[str, Any]] | None:
    """Return the figures of one measure; None when it failed, and has said why.

    `fresh`: in a cluster that is made for it; `keep`: which stays for the next one.
    """
    file = SCRATCH / f"{cluster}-{measure.name}.figures"
    file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.bench", measure.name, str(file), *settings]
    if measure.surroundings:
        if fresh:
            _cluster("down", cluster)  # what an earlier run has left
        if not _cluster("up", cluster, "--nodes", measure.surroundings.value):
            return None
        command = [str(ROOT / "hack" / "cluster"), "exec", "--name", cluster, "--", *command]
    figures: list[dict[str, Any]] | None = None
    try:
        if subprocess.run(command, cwd=ROOT, timeout=measure.limit, check=False).returncode == 0:
            figures = json.loads(file.read_text())
    except subprocess.TimeoutExpired:
        _say(f"{measure.name} did not end within {measure.limit:.0f} s")
    finally:
        if measure.surroundings and not (keep and figures is not None):
            _cluster("down", cluster)
    return figures


def _chosen(arguments: argparse.Namespace, kept: Results) -> list[Measure]:
    known = {measure.name: measure for measure in MEASURES}
    unknown = [name for name in arguments.measures if name not in known]
    if unknown:
        _say(f"there is no measure {', '.join(unknown)}; there are {', '.join(known)}")
        sys.exit(2)
    chosen = [known[name] for name in arguments.measures] or list(MEASURES)
    if arguments.missing:
        stored, commit = kept.read(), describe()["commit"]
        chosen = [measure for measure in chosen if stored.get(measure.name, {}).get("commit") != commit]
    return chosen


def _settings(measure: Measure, arguments: argparse.Namespace) -> list[str]:
    quick = measure.quick if arguments.quick else {}
    return [*(f"{name}={json.dumps(value)}" for name, value in quick.items()), *arguments.set]


def main(argv: Sequence[str]) -> int:
    """Exit status of the whole."""
    arguments = _parser().parse_args(argv)
    if arguments.list:
        for measure in MEASURES:
            print(f"{measure.name:14} {measure.about}")
        return 0
    kept = Results(DOCS / "performance.json")
    trial = arguments.quick or bool(arguments.set)
    results = Results(SCRATCH / "trial.json") if trial else kept
    SCRATCH.mkdir(parents=True, exist_ok=True)
    if trial:
        results.path.unlink(missing_ok=True)
    failed = [] if arguments.table else _measure(_chosen(arguments, kept), arguments, results)
    print(table.text(results.figures()))
    if failed:
        _say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def _measure(chosen: Sequence[Measure], arguments: argparse.Namespace, results: Results) -> list[str]:
    """Run the measures, keep what they find after each, and return the names of those that failed."""
    failed: list[str] = []
    former = ""
    for number, (measure, following) in enumerate(zip_longest(chosen, chosen[1:]), start=1):
        _say(f"{number} of {len(chosen)}: {measure.name}: {measure.about}")
        started, about = time.monotonic(), describe()
        fresh = not former or measure.after != former
        keep = following is not None and following.after == measure.name
        figures = _run(measure, arguments.name, _settings(measure, arguments), fresh=fresh, keep=keep)
        former = measure.name if figures is not None else ""
        if figures is None:
            failed.append(measure.name)
            continue
        about["seconds"] = round(time.monotonic() - started)
        results.merge(measure.name, about, figures)
        if results.path.parent == DOCS:
            table.write(PAGE, table.markdown(list(results.figures()), results.read()))
        if measure.name == "curve":
            plot.draw(figures, results.path.parent / "performance-curve.svg")
        _say(
            f"{measure.name}, after {about['seconds']} s:\n"
            + table.text(Figure(**figure) for figure in figures)
        )
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
