"""What a cluster needs before its first process: directories, network, keys, configuration; and its stray files."""

from dataclasses import dataclass, replace
from pathlib import Path

from hack.lab import configs
from hack.lab.components import Nodes
from hack.lab.layout import Layout
from hack.lab.netns import NetworkNamespace
from hack.lab.pki import CLIENTS, Pki
from hack.lab.record import Record
from hack.lab.resolver import dns_addresses
from hack.lab.stages import kwok_configuration

CAP_SYS_RESOURCE = 24  # linux/capability.h
CONTAINER_LOG_LINKS = Path("/var/log/containers")


@dataclass(frozen=True)
class Preparation:
    """Fills empty directories; what was there before must have been swept."""

    layout: Layout
    netns: NetworkNamespace
    pki: Pki

    def prepare(self, record: Record) -> Record:
        """Make everything; returns the record that says so. The unfinished one is on disk from the beginning."""
        layout = self.layout
        for directory in (layout.run, layout.data):
            directory.mkdir(parents=True, mode=0o700)
        record.save(layout.record)
        for directory in (
            layout.processes,
            layout.etc,
            layout.etc / "cni",
            layout.bin,
            layout.kubelet,
            layout.logs,
        ):
            directory.mkdir()
        self.netns.create(dns_addresses())
        self.pki.create()
        self._write_configuration(record.spec.nodes)
        self.link_programs(record)
        return replace(record, prepared=True)

    def _write_configuration(self, nodes: Nodes) -> None:
        etc = self.layout.etc
        (etc / "audit-policy.json").write_text(configs.audit_policy())
        for client in CLIENTS:
            _write_private(etc / f"{client.file}.kubeconfig", self.pki.kubeconfig(client.file))
        _write_private(self.layout.kubeconfig, self.pki.kubeconfig("admin"))
        if nodes is Nodes.KWOK:
            (etc / "kwok.json").write_text(kwok_configuration())
        if nodes is Nodes.REAL:
            (etc / "kubelet.json").write_text(configs.kubelet(self.layout, self.pki))
            (etc / "containerd.toml").write_text(
                configs.containerd(self.layout, lower_oom_scores=may_lower_oom_scores())
            )
            (etc / "cni/10-lab.conflist").write_text(configs.cni(self.layout))
            (etc / "Corefile").write_text(configs.corefile(self.layout, dns_addresses()))

    def link_programs(self, record: Record) -> None:
        """Make what `exec` finds on PATH; the one binary goes by the name that it is called by."""
        for name, program in (("kubectl", "kubernetes"), ("helm", "helm")):
            link = self.layout.bin / name
            link.unlink(missing_ok=True)
            if program in record.programs:
                link.symlink_to(record.programs[program])


def may_lower_oom_scores() -> bool:
    """Whether this process has CAP_SYS_RESOURCE; root in a container or a sandbox may not."""
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> CAP_SYS_RESOURCE & 1)


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def remove_strays(layout: Layout) -> None:
    """Remove what containerd and the kubelet put outside of their own directories, where no setting moves it."""
    for address in layout.containerd_state.glob("io.containerd.runtime.v2.task/*/*/address"):
        socket = Path(address.read_text().removeprefix("unix://"))
        socket.unlink(missing_ok=True)
    # A container's id is 64 digits, by which the name of a cluster ends: others may begin with it.
    for result in configs.CNI_RESULTS.glob(f"{configs.cni_network(layout)}-{'[0-9a-f]' * 64}-*"):
        result.unlink(missing_ok=True)
    if CONTAINER_LOG_LINKS.is_dir():
        for link in CONTAINER_LOG_LINKS.iterdir():
            if link.is_symlink() and layout.data in link.readlink().parents:
                link.unlink(missing_ok=True)
