"""Programs of the machine that the lab uses, installed with apt where they are missing."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hack.lab.components import Nodes
from hack.lab.errors import LabError, last_line
from hack.lab.progress import Progress

POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = "#!/bin/sh\n# Written by hack/cluster while it installs packages: their services must not start.\nexit 101\n"
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


@dataclass(frozen=True)
class Package:
    """A Debian package, and a program by which it is known to be there."""

    name: str
    program: str


_ALWAYS = (Package("iproute2", "ip"), Package("util-linux", "nsenter"), Package("openssl", "openssl"))
_REAL = (
    Package("containerd", "containerd"),
    Package("runc", "runc"),
    Package("containernetworking-plugins", "/usr/lib/cni/bridge"),
    Package("iptables", "iptables"),
    Package("conntrack", "conntrack"),
    Package("nftables", "nft"),
    Package("buildah", "buildah"),
    Package("debootstrap", "debootstrap"),
)


def needed(nodes: Nodes) -> tuple[Package, ...]:
    """The packages that a cluster with such nodes needs; those of the images' builds come with real nodes."""
    return (*_ALWAYS, *_REAL) if nodes is Nodes.REAL else _ALWAYS


def missing(packages: tuple[Package, ...]) -> list[str]:
    """The names of those whose program is not there."""
    return [package.name for package in packages if not shutil.which(package.program, path=_PATH)]


def remove_stale_policy() -> None:
    """Remove our own policy-rc.d, which a killed run may have left; never anybody else's."""
    if POLICY.exists() and POLICY.read_text(errors="replace") == _POLICY_TEXT:
        POLICY.unlink()


@dataclass(frozen=True)
class Apt:
    """Installs packages without starting their services."""

    progress: Progress

    def ensure(self, packages: tuple[Package, ...]) -> None:
        """Install what is missing; raises LabError where that is not possible."""
        names = missing(packages)
        if not names:
            return
        if not shutil.which("apt-get"):
            raise LabError(f"programs are missing, and there is no apt-get: install {' '.join(names)}")
        with self.progress.step(f"installing {' '.join(names)}"), _services_held():
            if self._install(names).returncode:
                self._run("update")
                result = self._install(names)
                if result.returncode:
                    raise LabError(f"apt-get cannot install {' '.join(names)}: {last_line(result.stderr)}")

    def _install(self, names: list[str]) -> "subprocess.CompletedProcess[str]":
        return self._run("install", "--yes", "--no-install-recommends", *names)

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", *arguments],
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive", "PATH": _PATH},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


@contextmanager
def _services_held() -> Iterator[None]:
    """Debian's own way to keep a freshly installed service (containerd's) from starting. A policy that is there stays."""
    remove_stale_policy()
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text(_POLICY_TEXT)
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            remove_stale_policy()
