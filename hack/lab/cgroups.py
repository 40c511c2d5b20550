"""The cluster's cgroup: the same name in every hierarchy of the machine, v1, hybrid or v2."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hack.lab.errors import LabError
from hack.lab.process import Process, stop

MOUNTINFO = Path("/proc/self/mountinfo")
COMPONENTS = "components"


def parse_hierarchies(mountinfo: str) -> list[Path]:
    """The mount points of all cgroup hierarchies in the text of /proc/self/mountinfo."""
    found = []
    for line in mountinfo.splitlines():
        mount, _, rest = line.partition(" - ")
        if rest.split()[0] in {"cgroup", "cgroup2"}:
            found.append(Path(mount.split()[4]))
    return found


@dataclass(frozen=True)
class Cgroup:
    """One cgroup in all `hierarchies`. Components join its child, so that pods can have siblings of that (cgroup v2)."""

    name: str
    hierarchies: tuple[Path, ...]

    @classmethod
    def on_this_machine(cls, name: str) -> "Cgroup":
        """The cgroup in the hierarchies mounted here; raises LabError where there are none."""
        hierarchies = parse_hierarchies(MOUNTINFO.read_text())
        if not hierarchies:
            raise LabError("no cgroup hierarchy is mounted: mount one at /sys/fs/cgroup")
        return cls(name, tuple(hierarchies))

    def create(self) -> None:
        """Make it and the components' child. Does nothing where they exist; raises LabError where that is forbidden."""
        for hierarchy in self.hierarchies:
            for path in (hierarchy / self.name, hierarchy / self.name / COMPONENTS):
                try:
                    path.mkdir(exist_ok=True)
                except OSError as error:
                    raise LabError(
                        f"cannot make a cgroup ({error}): /sys/fs/cgroup must be writable"
                    ) from error
                for setting in ("cpuset.cpus", "cpuset.mems"):
                    _inherit(path, setting)

    def join(self) -> None:
        """Move the calling process into the components' child; children that it starts follow."""
        for hierarchy in self.hierarchies:
            (hierarchy / self.name / COMPONENTS / "cgroup.procs").write_text(str(os.getpid()))

    def processes(self) -> list[Process]:
        """Every process in it or below, pods' included."""
        pids: set[int] = set()
        for path in self._existing():
            try:
                pids.update(int(pid) for pid in (path / "cgroup.procs").read_text().split())
            except (FileNotFoundError, OSError):  # vanished meanwhile, or a threaded v2 cgroup
                continue
        return [process for pid in pids if (process := Process.of(pid))]

    def kill(self, seconds: float = 15) -> None:
        """Kill every process in it, again and again until none is left (they may still fork).

        Raises LabError if some survive for `seconds`.
        """
        deadline = time.monotonic() + seconds
        while processes := self.processes():
            self._thaw()
            stop(processes, grace=0)
            if time.monotonic() > deadline:
                pids = ", ".join(str(process.pid) for process in processes)
                raise LabError(
                    f"processes {pids} of cgroup {self.name} cannot be killed: look at /proc/PID/stack"
                )

    def remove(self) -> None:
        """Remove it from every hierarchy, innermost first. Call `kill` before."""
        deadline = time.monotonic() + 5
        while remaining := self._existing():
            for path in reversed(remaining):
                try:
                    path.rmdir()
                except OSError:  # a killed process leaves its cgroup a moment after it has ended
                    continue
            if time.monotonic() > deadline:
                raise LabError(f"cgroup {remaining[-1]} cannot be removed: see its cgroup.procs")

    def exists(self) -> bool:
        """Whether any hierarchy has it."""
        return bool(self._existing())

    def _existing(self) -> list[Path]:
        """It and all below, in all hierarchies, outermost first."""
        return [path for hierarchy in self.hierarchies for path in _walk(hierarchy / self.name)]

    def _thaw(self) -> None:
        """Let frozen processes run: SIGKILL does not reach them otherwise (v1)."""
        for path in self._existing():
            frozen = path / "freezer.state"
            if frozen.exists():
                frozen.write_text("THAWED")


def _walk(path: Path) -> Iterator[Path]:
    for directory, _, _ in os.walk(path):
        yield Path(directory)


def _inherit(path: Path, setting: str) -> None:
    """A new v1 cpuset is empty, and nothing can join it: it gets its parent's."""
    file = path / setting
    if file.exists() and (path / "cgroup.clone_children").exists() and not file.read_text().strip():
        file.write_text((path.parent / setting).read_text())
