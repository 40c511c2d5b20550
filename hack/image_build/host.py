"""What the building machine brings: its programs, its certificates, its package indexes."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from hack.image_build.errors import BuildError
from hack.lab.packages import Package

PACKAGES = (
    Package("buildah", "buildah"),
    Package("debootstrap", "debootstrap"),
    Package("util-linux", "unshare"),
)
# Where build steps find the machine's files, which are mounted and never become part of an image.
MOUNT_POINT = "/run/builder"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def require_root() -> None:
    """Raise BuildError unless we are root: debootstrap and buildah's chroot isolation need it."""
    if os.geteuid() != 0:
        raise BuildError("needs root (debootstrap and buildah change roots): run it with sudo")


@dataclass(frozen=True)
class BuilderFiles:
    """Files of this machine that build steps may need to reach package indexes, and the arguments that say so."""

    directory: Path
    arguments: tuple[tuple[str, str], ...]

    def options(self) -> list[str]:
        """Return buildah's options that mount the files and name them."""
        options = ["--volume", f"{self.directory}:{MOUNT_POINT}:ro"]
        for name, value in self.arguments:
            options += ["--build-arg", f"{name}={value}"]
        return options


def collect_builder_files(directory: Path) -> BuilderFiles:
    """Copy this machine's certificates, pip and npm configuration, each if it has one, into `directory`."""
    sources = {
        "ca-certificates.crt": (CERTIFICATES, ("PIP_CERT", "NODE_EXTRA_CA_CERTS")),
        "pip.conf": (Path(os.environ.get("PIP_CONFIG_FILE", "/etc/pip.conf")), ("PIP_CONFIG_FILE",)),
        "npmrc": (
            Path(os.environ.get("NPM_CONFIG_USERCONFIG", Path.home() / ".npmrc")),
            ("NPM_CONFIG_USERCONFIG",),
        ),
    }
    arguments: list[tuple[str, str]] = []
    for name, (source, variables) in sources.items():
        if source.is_file():
            shutil.copyfile(source, directory / name)
            arguments += [(variable, f"{MOUNT_POINT}/{name}") for variable in variables]
    return BuilderFiles(directory, tuple(arguments))
