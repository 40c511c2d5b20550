"""The cluster's network namespace: nothing leaves it, and nothing outside is touched."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hack.lab import mounts
from hack.lab.errors import LabError, last_line

CLONE_NEWNET = 0x40000000  # linux/sched.h


@dataclass(frozen=True)
class NetworkNamespace:
    """The namespace mounted on `path`. A file of our own rather than `ip netns`, which leaves a mount behind."""

    path: Path

    def exists(self) -> bool:
        """Whether it is there to be entered."""
        return self.path in mounts.below([self.path])

    def create(self, addresses: list[str]) -> None:
        """Make it, with the addresses on `lo` (the kernel may have no dummy device) and a route that ends there.

        Raises LabError where root may not do that.
        """
        self.path.touch()
        _run(["unshare", f"--net={self.path}", "true"])
        for arguments in (
            ["ip", "link", "set", "lo", "up"],
            *(["ip", "address", "replace", address, "dev", "lo"] for address in addresses),
            ["ip", "route", "add", "default", "dev", "lo"],
        ):
            _run(self.command(arguments))

    def command(self, arguments: list[str]) -> list[str]:
        """The command that runs `arguments` inside, in the same process: nsenter replaces itself.

        Never `ip netns exec`: that remounts /sys, which hides the cgroups from the kubelet.
        """
        return ["nsenter", f"--net={self.path}", "--", *arguments]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Put the calling thread inside for a while; a socket made there stays there."""
        with self.path.open("rb") as inside, Path("/proc/thread-self/ns/net").open("rb") as outside:
            _setns(inside.fileno())
            try:
                yield
            finally:
                _setns(outside.fileno())


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise LabError(
            f"cannot make a network namespace ({last_line(result.stderr)}): "
            "run as root with all capabilities, in a container with --privileged"
        )


def _setns(descriptor: int) -> None:
    """Python 3.11 has no os.setns."""
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")
