"""The command line of `hack/guards`."""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from random import Random

from hack.guards_run.guard import Catalogue, DataError, Guard, load, misfits, require
from hack.guards_run.table import listing, page, result
from hack.guards_run.trial import SLOW_TEST_SECONDS, Verdict, copy_tree, run_tests, try_without

DESCRIPTION = """\
Removes guards against known pitfalls, one at a time and in a copy of the tree, and expects the tests that belong to each to fail.
Before that, the same tests must pass with all guards in place.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("hack/guards", description=DESCRIPTION)
    parser.add_argument(
        "names", nargs="*", metavar="GUARD", help="guards, or numbers of pitfalls (default: all)"
    )
    parser.add_argument("--list", action="store_true", help="say which guards there are, and end")
    parser.add_argument("--markdown", action="store_true", help="print docs/pitfalls.md, and end")
    parser.add_argument("--sample", type=int, metavar="N", help="only N of the quick ones, by chance")
    parser.add_argument("--seed", default="0", help="another seed is another sample (default: %(default)s)")
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="so many at once (default: %(default)s)",
    )
    return parser


def sample(guards: Sequence[Guard], number: int, seed: str) -> list[Guard]:
    """Choose some of the quick guards; the same for the same seed."""
    quick = [guard for guard in guards if not guard.slow]
    return Random(seed).sample(quick, min(number, len(quick)))  # noqa: S311 - a choice, not a secret


def try_all(guards: Sequence[Guard], jobs: int) -> Iterator[Verdict]:
    """Yield what becomes of each guard's removal, as soon as that is known. Raises DataError."""
    with ThreadPoolExecutor(jobs) as executor:
        trials = [executor.submit(try_without, guard) for guard in guards]
        try:
            for trial in as_completed(trials):
                yield trial.result()
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def pass_with_guards(guards: Sequence[Guard]) -> str:
    """Run the tests of these guards with all guards in place; return what went wrong, if anything."""
    tests = sorted({test for guard in guards for test in guard.tests})
    with tempfile.TemporaryDirectory(prefix="guards-") as folder:
        run = run_tests(copy_tree(Path(folder)), tests, SLOW_TEST_SECONDS)
    return "" if run.status == 0 else f"the tests fail even with all guards in place:\n{run.output}"


def check(guards: Sequence[Guard], jobs: int) -> int:
    """Try the guards and say how it went; return the exit status."""
    started = time.monotonic()
    _say(f"{len(guards)} guards; first their tests with all guards in place")
    problem = pass_with_guards(guards)
    if problem:
        _say(problem)
        return 1
    verdicts = []
    for verdict in try_all(guards, jobs):
        verdicts.append(verdict)
        outcome = "killed" if verdict.killed else f"NOT KILLED: {verdict.words}"
        _say(f"{len(verdicts)}/{len(guards)} {verdict.guard.name}: {outcome}")
    killed = sum(verdict.killed for verdict in verdicts)
    print(f"\n{result(verdicts)}\n\n{killed} of {len(guards)} killed, {time.monotonic() - started:.0f} s")
    return 0 if killed == len(guards) else 1


def _chosen(catalogue: Catalogue, options: argparse.Namespace) -> Sequence[Guard]:
    guards = catalogue.named(options.names) if options.names else catalogue.guards
    return guards if options.sample is None else sample(guards, options.sample, options.seed)


def _say(text: str) -> None:
    print(f"hack/guards: {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 if every guard's tests noticed its absence, 1 if not, 2 if the list does not fit the code."""
    options = _parser().parse_args(arguments)
    try:
        catalogue = load()
        guards = _chosen(catalogue, options)
        require(misfits(guards) if guards != catalogue.guards else catalogue.problems())
    except DataError as error:
        _say(str(error))
        return 2
    if options.list:
        print(listing(guards))
        return 0
    if options.markdown:
        sys.stdout.write(page(catalogue))
        return 0
    return check(guards, max(1, options.jobs))


if __name__ == "__main__":
    sys.exit(main())
