"""What the demo needs of the machine before anything can run in the cluster's network, from where nothing else is in reach."""

import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hack.demo_run.errors import DemoError
from hack.demo_run.programs import ROOT, attached, stream
from hack.demo_run.steps import Images
from hack.git_server import GitServerError
from hack.git_server.openssh import prepare
from hack.lab.errors import LabError
from hack.lab.packages import Apt, Package
from hack.lab.progress import Progress

CLUSTER = str(ROOT / "hack/cluster")
IMAGES = str(ROOT / "hack/images")
PROGRAMS = (Package("make", "make"),)


def require_root() -> None:
    """Raise DemoError unless we are root."""
    if os.geteuid() != 0:
        raise DemoError("needs root, for the cluster's namespaces and cgroups: run it with sudo")


@contextmanager
def alone(cluster: str) -> Iterator[None]:
    """Hold the cluster against a second demo; raises DemoError if there is one. The kernel lets go, however we end."""
    with socket.socket(socket.AF_UNIX) as claim:
        try:
            claim.bind(f"\0gastown-operator/demo/{cluster}")
        except OSError as error:
            raise DemoError(
                f"another hack/demo works on the cluster {cluster}: wait for its end, or choose another --name"
            ) from error
        yield


def install_programs(progress: Progress) -> None:
    """Install what is missing."""
    try:
        Apt(progress).ensure(PROGRAMS)
        prepare(progress)
    except (LabError, GitServerError) as error:
        raise DemoError(str(error)) from error


def bring_up(cluster: str, progress: Progress) -> None:
    """Bring the cluster up, or find that it is."""
    with progress.step(f"bringing a cluster up: hack/cluster up --name {cluster}"):
        _run(progress, CLUSTER, "up", "--name", cluster)


def take_down(cluster: str, progress: Progress) -> None:
    """Remove the cluster."""
    with progress.step(f"removing the cluster: hack/cluster down --name {cluster}"):
        _run(progress, CLUSTER, "down", "--name", cluster)


def build_images(cluster: str, progress: Progress, *, with_agent: bool) -> Images:
    """Build what has changed, and load what the cluster lacks. Without an agent image, agents run in the workload's."""
    targets = ["operator", "workload", *(["agent"] if with_agent else [])]
    with progress.step(f"building images: hack/images {' '.join(targets)} --load {cluster}"):
        built = json.loads(_run(progress, IMAGES, *targets, "--load", cluster, "--json"))
    names = {target: str(image["image"]) for target, image in built.items()}
    return Images(names["operator"], names["workload"], names.get("agent", names["workload"]))


def run_inside(cluster: str, command: Sequence[str], descriptors: Sequence[int]) -> int:
    """Run a command with these descriptors in the cluster's network and return its exit status."""
    return attached([CLUSTER, "exec", "--name", cluster, "--", *command], descriptors)


def _run(progress: Progress, *command: str) -> str:
    return stream(command, lambda line: progress.say(f"  {line}"))
