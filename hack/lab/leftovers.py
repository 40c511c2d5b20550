"""Whatever of a cluster is still on the machine: `down` has to leave none of it."""

import os
from pathlib import Path

from hack.lab import mounts
from hack.lab.cgroups import Cgroup
from hack.lab.layout import Layout
from hack.lab.process import PROC, Process


def leftovers(layout: Layout, cgroup: Cgroup) -> list[str]:
    """One line for each process, mount (network namespaces are mounts), cgroup and directory that is there."""
    return [
        *_processes(layout),
        *(f"mount {point}" for point in mounts.below([layout.run, layout.data])),
        *([f"cgroup {cgroup.name}"] if cgroup.exists() else []),
        *(f"directory {path}" for path in (layout.run, layout.data) if path.exists()),
    ]


def _processes(layout: Layout) -> list[str]:
    """Processes that name the cluster's directories in their arguments or are in its cgroup; but not ourselves."""
    marks = tuple(f"{path}/".encode() for path in (layout.run, layout.data))
    found = []
    for entry in PROC.iterdir():
        # A zombie is not ours any more: it waits for the machine's first process.
        if not entry.name.isdigit() or int(entry.name) == os.getpid() or not Process.of(int(entry.name)):
            continue
        arguments, cgroups = _read(entry / "cmdline"), _read(entry / "cgroup")
        if any(mark in arguments for mark in marks) or f"/{layout.cgroup}/".encode() in cgroups:
            command = arguments.replace(b"\0", b" ").decode(errors="replace")
            found.append(f"process {entry.name} {command[:80]}")
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""
