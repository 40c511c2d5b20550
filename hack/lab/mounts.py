"""Mounts below a directory, and the end of them."""

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from hack.lab.errors import LabError

MOUNTINFO = Path("/proc/self/mountinfo")


def parse_mounts(mountinfo: str) -> list[Path]:
    """The mount points in the text of /proc/self/mountinfo, in the order they were mounted."""
    return [Path(_unescape(line.split()[4])) for line in mountinfo.splitlines()]


def below(directories: Iterable[Path]) -> list[Path]:
    """What is mounted on or below the directories, in the order it was mounted."""
    roots = tuple(directories)
    return [
        point
        for point in parse_mounts(MOUNTINFO.read_text())
        if any(point == root or root in point.parents for root in roots)
    ]


def unmount_below(directories: Iterable[Path]) -> None:
    """Unmount everything on or below the directories, latest first; what is busy is detached.

    One unmount can take others along (propagation), so what is left decides, not the exit codes.
    """
    roots = tuple(directories)
    for point in reversed(below(roots)):
        subprocess.run(["umount", "--lazy", "--no-mtab", point], check=False, capture_output=True)
    if left := below(roots):
        raise LabError(f"{left[-1]} cannot be unmounted: see `findmnt {left[-1]}`")


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), field)
