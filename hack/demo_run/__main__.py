"""The command line of `hack/demo`."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import IO

from hack.demo_run import machine
from hack.demo_run.errors import DemoError
from hack.demo_run.signals import InterruptedByUser, raise_on_signals
from hack.demo_run.steps import WORK_NAMESPACE, Images
from hack.lab.progress import Progress

DESCRIPTION = """\
Shows a polecat at work, from nothing to the end: makes a Kubernetes cluster on this machine, deploys the operator, serves a
small project with a failing test over SSH, and lets a polecat repair it. Needs root and Debian; installs and builds what is
missing (about 13 minutes the first time on two idle cores, less than a minute later).
"""
EPILOG = """\
The cluster stays, so that you can look around; the next run uses it again. The exit status is 0 if the commit that the
git server has is the one in the polecat's status, and the project's tests failed before it and pass on it.
"""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        "hack/demo",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--agent",
        choices=("claude-code", "custom"),
        default="claude-code",
        help="claude-code: the real program, with a scripted model instead of a provider; "
        "custom: a shell command, which spares you the large agent image (default: %(default)s)",
    )
    parser.add_argument("--name", default="demo", help="name of the cluster (default: %(default)s)")
    parser.add_argument(
        "--timeout",
        type=float,
        default=300,
        metavar="SECONDS",
        help="how long the polecat may take (default: %(default)s)",
    )
    after = parser.add_mutually_exclusive_group()
    after.add_argument(
        "--keep",
        action="store_true",
        help="let the git server and the model run on until Ctrl-C, to sling more work",
    )
    after.add_argument("--down", action="store_true", help="remove the cluster at the end")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, progress: Progress, result: IO[str]) -> int:
    """Prepare the machine and run the demo inside of the cluster, which writes to `result`; return the exit status."""
    machine.install_programs(progress)
    machine.bring_up(options.name, progress)
    images = machine.build_images(options.name, progress, with_agent=options.agent != "custom")
    command = inside(options, images, progress, result.fileno())
    try:
        status = machine.run_inside(options.name, command, [result.fileno()])
    except InterruptedByUser:
        if not (options.keep and result.seek(0, os.SEEK_END)):
            raise
        status = 0  # that is how --keep ends
    finally:
        if options.down:
            machine.take_down(options.name, progress)
    if not options.down:
        print(hints(options.name), flush=True)
    return status


def inside(options: argparse.Namespace, images: Images, progress: Progress, result: int) -> list[str]:
    """Return the command that runs in the cluster's network."""
    return [
        *(sys.executable, "-m", "hack.demo_run.inside"),
        *("--agent", options.agent, "--seconds", str(options.timeout)),
        *("--operator-image", images.operator, "--workload-image", images.workload),
        *("--agent-image", images.agent, "--began", str(progress.started), "--result", str(result)),
        *(["--keep"] if options.keep else []),
    ]


def hints(name: str) -> str:
    """Return what to do with the cluster that stays."""
    there = f"hack/cluster exec --name {name} --"
    return f"""\
The cluster stays. Look at it:  {there} kubectl --namespace {WORK_NAMESPACE} get polecats,pods,events
                   Remove it:   hack/cluster down --name {name}
"""


def demonstrate(options: argparse.Namespace, progress: Progress, result: IO[str]) -> int:
    """Run the demo, alone on its cluster; return the exit status. Errors are said in one line."""
    try:
        machine.require_root()
        with machine.alone(options.name):
            return run(options, progress, result)
    except DemoError as error:
        print(f"hack/demo: {error}", file=sys.stderr)
        return 1
    except InterruptedByUser as interruption:
        print("hack/demo: interrupted; run it again, the cluster is used as it is", file=sys.stderr)
        return interruption.exit_status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and print its result; return the exit status."""
    options = parse(arguments)
    raise_on_signals()
    with tempfile.TemporaryFile("w+") as result:
        status = demonstrate(options, Progress("demo", sys.stdout), result)
        if status == 0:
            result.seek(0)
            print(result.read())
        return status


if __name__ == "__main__":
    sys.exit(main())
