"""Which pod has which address, as CNI records it before a pod's first container starts."""

import ctypes
import json
import os
from pathlib import Path

from hack.lab.policies.state import Attachments

_IN_CLOSE_WRITE, _IN_MOVED_TO, _IN_DELETE = 0x8, 0x80, 0x200  # linux/inotify.h


def read(directory: Path, network: str) -> Attachments:
    """The attachments to a network, from libcni's cache (`cniCacheV1`); a file that is being written is read next time."""
    found: dict[tuple[str, str], str] = {}
    for path in sorted(directory.glob(f"{network}-*")):
        try:
            record = json.loads(path.read_text())
            if record["networkName"] != network:  # another cluster's, whose name begins with this one's
                continue
            arguments = dict(record["cniArgs"])
            address = record["result"]["ips"][0]["address"].partition("/")[0]
        except (FileNotFoundError, ValueError, KeyError, IndexError, TypeError):
            continue
        found[arguments.get("K8S_POD_NAMESPACE", ""), arguments.get("K8S_POD_NAME", "")] = address
    return found


class Changes:
    """Blocks until the cache changes."""

    def __init__(self, directory: Path) -> None:
        """Watch a directory, which is made if it is missing. Raises OSError where the kernel has no inotify left."""
        directory.mkdir(parents=True, exist_ok=True)
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_CLOEXEC)
        mask = _IN_CLOSE_WRITE | _IN_MOVED_TO | _IN_DELETE
        if self._descriptor < 0 or libc.inotify_add_watch(self._descriptor, bytes(directory), mask) < 0:
            error = ctypes.get_errno()
            raise OSError(error, f"inotify: {os.strerror(error)}")

    def wait(self) -> None:
        """Return after the next changes; several at once are one."""
        os.read(self._descriptor, 65536)
