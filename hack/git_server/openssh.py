"""Where sshd comes from: the machine's, or one unpacked from Debian's package into the cache.

Installing openssh-server would open port 22 of the machine; unpacking it changes nothing outside the cache.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from hack.git_server.commands import ask
from hack.git_server.errors import GitServerError
from hack.lab.packages import Apt, Package
from hack.lab.progress import Progress

INSTALLED = Path("/usr/sbin/sshd")
# Programs of the machine that the server and its clients use.
PROGRAMS = (
    Package("git", "git"),
    Package("openssh-client", "ssh-keygen"),
    Package("openssl", "openssl"),
    Package("util-linux", "unshare"),
)
# The only library of Debian 12's sshd that a small system lacks.
LIBRARY = Package("libwrap0", "libwrap.so.0")


def prepare(progress: Progress) -> Path:
    """Make sure that everything the server runs is there; return the path of sshd."""
    apt = Apt(progress)
    apt.ensure(PROGRAMS)
    if INSTALLED.exists():
        return INSTALLED
    sshd = _cached()
    if not sshd.exists():
        progress.say("unpacking Debian's openssh-server into the cache")
        _unpack(sshd.parents[2])
    if "not found" in ask("ldd", str(sshd)):
        apt.ensure((LIBRARY,))
    return sshd


def find_sshd() -> Path | None:
    """Return the path of sshd, or None before `prepare`."""
    return next((path for path in (INSTALLED, _cached()) if path.exists()), None)


def _cached() -> Path:
    chosen = os.environ.get("GASTOWN_CACHE")
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(chosen) if chosen else Path(caches) / "gastown-operator"
    return cache / "openssh-server" / "usr/sbin/sshd"


def _unpack(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="openssh-", dir=target.parent) as name:
        directory = Path(name)
        # apt's own unprivileged user downloads, so it must be able to enter; else apt warns and goes on as root.
        directory.chmod(0o755)
        command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "openssh-server"]
        if subprocess.run(command, cwd=directory, check=False, capture_output=True).returncode != 0:
            ask("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", "update")
            ask(*command, directory=directory)
        packages = list(directory.glob("*.deb"))
        if len(packages) != 1:
            raise GitServerError("apt-get download openssh-server left no package")
        ask("dpkg-deb", "--extract", str(packages[0]), str(directory / "root"))
        shutil.rmtree(target, ignore_errors=True)
        (directory / "root").rename(target)
