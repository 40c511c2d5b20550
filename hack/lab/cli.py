"""The command line of `hack/cluster`."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hack.lab import commands, existing
from hack.lab.components import Nodes
from hack.lab.errors import LabError
from hack.lab.layout import Layout, checked_name
from hack.lab.progress import Progress
from hack.lab.versions import DEFAULT_KUBERNETES

EPILOG = """\
Providers: `lab` makes a cluster on this machine (root only, no Docker), closed in a network namespace: reach it with
`hack/cluster exec`. `existing` uses the cluster of a kubeconfig; it is chosen by giving --kubeconfig or GASTOWN_KUBECONFIG.
See docs/lab.md.
"""


def parser() -> argparse.ArgumentParser:
    """Everything the program accepts."""
    top = argparse.ArgumentParser(
        "hack/cluster",
        description="A Kubernetes cluster for tests and the demo.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--name", default="gastown", help="which cluster; several can be up (default: %(default)s)"
    )
    common.add_argument(
        "--provider",
        choices=("lab", "existing"),
        help="default: lab, or existing where a kubeconfig is given",
    )
    common.add_argument(
        "--kubeconfig", type=Path, help="of an existing cluster (default: GASTOWN_KUBECONFIG)"
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=text, parents=[common])

    up = verb("up", "bring the cluster up, or repair it; ready when it returns")
    up.add_argument(
        "--nodes",
        choices=[nodes.value for nodes in Nodes],
        default=Nodes.REAL.value,
        help="default: %(default)s",
    )
    up.add_argument(
        "--kubernetes", metavar="VERSION", default=DEFAULT_KUBERNETES, help="default: %(default)s"
    )
    up.add_argument(
        "--no-network-policies",
        action="store_true",
        help="store NetworkPolicies and enforce none (default: a real node enforces them)",
    )
    up.add_argument("--with-helm", action="store_true", help="build Helm too, for `exec -- helm`")
    verb("down", "end the cluster and remove every trace of it")
    verb("status", "show its components and nodes; exit status 1 if it is not ready")
    run = verb("exec", "run a command where the cluster can be reached, with KUBECONFIG and PATH set")
    run.add_argument("command", nargs="*", metavar="-- CMD", help="the command and its arguments, after `--`")
    verb("kubeconfig", "print the path of the administrator's kubeconfig (for use inside `exec`)")
    verb("load", "load an image archive into the node").add_argument(
        "archive", type=Path, metavar="IMAGE_TAR"
    )
    logs = verb("logs", "print a component's log; `audit` is the apiserver's audit log")
    logs.add_argument("component", metavar="COMPONENT")
    logs.add_argument("-f", "--follow", action="store_true", help="go on printing what is added")
    restart = verb(
        "restart", "end a component and start it again as it was; the cluster is ready when it returns"
    )
    restart.add_argument("component", metavar="COMPONENT")
    restart.add_argument("--kill", action="store_true", help="by SIGKILL (default: SIGTERM, and time to end)")
    return top


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; what follows the first `--` is the command of `exec`, whatever it looks like."""
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    top = parser()
    options = top.parse_args(words[:end])
    command = words[end + 1 :]
    if options.verb == "exec":
        options.command += command
        if not options.command:
            top.error("exec needs a command: hack/cluster exec -- CMD")
    elif command:
        top.error(f"{options.verb} takes no command: {' '.join(command)}")
    return options


def main(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Run one command; returns the exit status, 2 for a situation that the user has to resolve."""
    options = parse(arguments)
    progress = Progress()
    try:
        provider = _provider(options, environment, progress)
        return provider.run(options)
    except LabError as error:
        print(f"hack/cluster: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hack/cluster: interrupted; run the same command again to continue", file=sys.stderr)
        return 130


def _provider(
    options: argparse.Namespace, environment: Mapping[str, str], progress: Progress
) -> "commands.LabCommands | existing.ExistingCommands":
    kubeconfig = options.kubeconfig or environment.get("GASTOWN_KUBECONFIG")
    if options.provider == "existing" or (kubeconfig and options.provider is None):
        return existing.ExistingCommands.of(kubeconfig)
    cache = environment.get("GASTOWN_CACHE")
    root = (
        Path(cache)
        if cache
        else Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gastown-operator"
    )
    return commands.LabCommands(Layout(checked_name(options.name)), root / "lab", progress)
