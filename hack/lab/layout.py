"""Where everything of one cluster lives, and the addresses it uses."""

import re
from dataclasses import dataclass
from pathlib import Path

from hack.lab.errors import LabError

NODE_NAME = "lab"
NODE_ADDRESS = "10.250.0.1"
POD_CIDR = "10.244.0.0/24"
POD_GATEWAY = "10.244.0.1"
SERVICE_CIDR = "10.0.0.0/24"
API_SERVICE_ADDRESS = "10.0.0.1"
DNS_ADDRESS = "10.0.0.10"
API_PORT = 6443
PAUSE_IMAGE = "localhost/pause:1"

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,22}[a-z0-9])?")


def checked_name(name: str) -> str:
    """The name, if it is one that paths, cgroups and Unix sockets can carry; raises LabError otherwise."""
    if not _NAME.fullmatch(name):
        raise LabError(
            f"{name!r} is no cluster name: use 1 to 24 characters of a-z, 0-9 and -, with - not at an end"
        )
    return name


@dataclass(frozen=True)
class Layout:
    """The paths of the cluster `name`; what `run` and `data` hold is the cluster's alone.

    `run_root` should be on a file system that a reboot empties; sockets are there because their paths must be short.
    """

    name: str
    run_root: Path = Path("/run/gastown-lab")
    data_root: Path = Path("/var/lib/gastown-lab")

    @property
    def run(self) -> Path:
        """Sockets, process records, keys, configuration."""
        return self.run_root / self.name

    @property
    def data(self) -> Path:
        """Logs, etcd's data, images and pods' volumes."""
        return self.data_root / self.name

    @property
    def lock(self) -> Path:
        """Taken by whoever changes this cluster; outside of `run` because it outlives that."""
        return self.run_root / f".{self.name}.lock"

    @property
    def record(self) -> Path:
        """What was asked for, and whether it was prepared completely."""
        return self.run / "cluster.json"

    @property
    def netns(self) -> Path:
        """The file that the network namespace is mounted on."""
        return self.run / "netns"

    @property
    def cgroup(self) -> str:
        """The cluster's cgroup, the same name in every hierarchy; all its processes and pods are below it."""
        return f"gastown-lab-{self.name}"

    @property
    def processes(self) -> Path:
        """One record per started component."""
        return self.run / "processes"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.run / "pki"

    @property
    def etc(self) -> Path:
        """Configuration files and kubeconfigs of the components."""
        return self.run / "etc"

    @property
    def bin(self) -> Path:
        """The programs that `exec` puts on PATH."""
        return self.run / "bin"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; its address is reachable inside the network namespace."""
        return self.run / "kubeconfig"

    @property
    def containerd_socket(self) -> Path:
        """Where the lab's own containerd listens."""
        return self.run / "containerd.sock"

    @property
    def containerd_state(self) -> Path:
        """Run-time state of containerd: bundles, shim addresses, the pods' network namespaces."""
        return self.run / "containerd"

    @property
    def kubelet(self) -> Path:
        """The kubelet's root directory: pods' volumes."""
        return self.data / "kubelet"

    @property
    def logs(self) -> Path:
        """One log per component, and the audit log."""
        return self.data / "logs"

    def log(self, component: str) -> Path:
        """The log of a component."""
        return self.logs / f"{component}.log"
