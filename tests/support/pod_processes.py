"""The processes behind a pod on the lab's node: what a machine that loses its power loses."""

from pathlib import Path

from hack.lab.cgroups import Cgroup
from hack.lab.layout import Layout
from hack.lab.process import PROC, Process, stop

_SHIM = "containerd-shim"


def kill(layout: Layout, uid: str) -> None:
    """Kill all processes of a pod and its containerd shim at once, with SIGKILL. Raises AssertionError where there are none."""
    found = processes(layout, uid)
    assert found, f"pod {uid} has no process"
    stop([*_shims(found), *found], grace=0)


def processes(layout: Layout, uid: str) -> list[Process]:
    """Every process of a pod, its pause container's too."""
    machine = Cgroup.on_this_machine(layout.cgroup)
    names = {
        str(path.relative_to(hierarchy))
        for hierarchy in machine.hierarchies
        for path in (hierarchy / layout.cgroup).rglob(f"pod{uid}")
    }
    return list({found for name in names for found in Cgroup(name, machine.hierarchies).processes()})


def _shims(found: list[Process]) -> list[Process]:
    """Parents of a pod's processes that are shims; one serves a whole pod."""
    parents = {_parent(process.pid) for process in found}
    shims = (Process.of(pid) for pid in parents if _name(pid).startswith(_SHIM))
    return [shim for shim in shims if shim is not None]


def _parent(pid: int) -> int:
    """Field 4 of /proc/PID/stat, counted from the last parenthesis (proc(5)); 0 where the process is gone."""
    stat = _read(PROC / str(pid) / "stat")
    return int(stat[stat.rindex(")") + 2 :].split()[1]) if stat else 0


def _name(pid: int) -> str:
    return _read(PROC / str(pid) / "comm")


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
