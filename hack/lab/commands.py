"""The verbs of `hack/cluster` for the provider `lab`."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from hack.lab import packages
from hack.lab.cluster import Cluster
from hack.lab.components import Nodes
from hack.lab.errors import LabError
from hack.lab.images import Images
from hack.lab.layout import NODE_ADDRESS, POD_GATEWAY, Layout
from hack.lab.packages import Apt
from hack.lab.progress import Progress
from hack.lab.record import Record, Spec
from hack.lab.toolbox import Toolbox
from hack.lab.versions import KubernetesVersion


@dataclass(frozen=True)
class LabCommands:
    """Each method is one verb and returns the exit status."""

    layout: Layout
    cache: Path
    progress: Progress

    def run(self, options: argparse.Namespace) -> int:
        """Run the verb that was given; raises LabError for what the user has to resolve."""
        if os.geteuid() != 0:
            raise LabError(
                "the lab needs root, for namespaces and cgroups: run it as root, or give a --kubeconfig"
            )
        match options.verb:
            case "up":
                return self._up(options)
            case "down":
                return self._down()
            case "status":
                return self._status()
            case "exec":
                return self._exec(options.command)
            case "kubeconfig":
                self._existing_record()
                print(self.layout.kubeconfig)
            case "load":
                return self._load(options.archive)
            case "restart":
                Cluster.at(self.layout, self.progress).restart(
                    self._existing_record(), options.component, kill=options.kill
                )
            case "logs":
                return self._logs(options.component, options.follow)
        return 0

    def _up(self, options: argparse.Namespace) -> int:
        version = KubernetesVersion.parse(options.kubernetes)
        spec = Spec(Nodes(options.nodes), str(version), policies=not options.no_network_policies)
        cluster = Cluster.at(self.layout, self.progress)
        lacks_helm = options.with_helm and not (self.layout.bin / "helm").exists()
        if not cluster.is_ready(spec) or lacks_helm:
            Apt(self.progress).ensure(packages.needed(spec.nodes))
            programs = Toolbox(self.cache, self.progress).programs(version, spec.nodes, options.with_helm)
            cluster.up(spec, programs)
        self.progress.say(f"cluster {self.layout.name} is ready ({spec})")
        return 0

    def _down(self) -> int:
        Cluster.at(self.layout, self.progress).down()
        packages.remove_stale_policy()
        self.progress.say(f"cluster {self.layout.name} is gone")
        return 0

    def _status(self) -> int:
        cluster = Cluster.at(self.layout, self.progress)
        record = cluster.record()
        if not record:
            print(f"cluster {self.layout.name}: none")
            return 1
        print(f"cluster {self.layout.name}: {record.spec}")
        for component in cluster.components(record):
            found = cluster.supervisor.running(component.name)
            print(f"  {component.name:<24} {f'pid {found.pid:<8} {found.age:8.0f} s' if found else 'ended'}")
        for name, node_ready in cluster.nodes().items():
            print(f"  node {name:<19} {'Ready' if node_ready else 'NotReady'}")
        ready = record.prepared and not cluster.missing(record) and cluster.ready(record)
        print(
            "  ready"
            if ready
            else f"  NOT READY: run `hack/cluster up {record.spec} --name {self.layout.name}`"
        )
        return 0 if ready else 1

    def _exec(self, command: list[str]) -> int:
        self._existing_record()
        cluster = Cluster.at(self.layout, self.progress)
        if not cluster.netns.exists():
            raise LabError(
                f"cluster {self.layout.name} is broken: run `hack/cluster up --name {self.layout.name}`"
            )
        environment = os.environ | {
            "KUBECONFIG": str(self.layout.kubeconfig),
            "PATH": f"{self.layout.bin}{os.pathsep}{os.environ['PATH']}",
            "GASTOWN_LAB": self.layout.name,
            "GASTOWN_LAB_NODE_ADDRESS": NODE_ADDRESS,
            "GASTOWN_LAB_POD_GATEWAY": POD_GATEWAY,
            "GASTOWN_LAB_AUDIT_LOG": str(self.layout.log("audit")),
        }
        inside = cluster.netns.command(command)
        os.execvpe(inside[0], inside, environment)  # noqa: S606 - the command takes our place

    def _load(self, archive: Path) -> int:
        if self._existing_record().spec.nodes is not Nodes.REAL:
            raise LabError("this cluster has no real node to load an image into")
        with self.progress.step(f"loading {archive}"):
            names = Images(self.layout).load(archive)
        print("\n".join(names))
        return 0

    def _logs(self, component: str, follow: bool) -> int:
        known = sorted(path.stem for path in self.layout.logs.glob("*.log"))
        if component not in known:
            self._existing_record()
            raise LabError(f"no component {component!r}: choose one of {', '.join(known)}")
        log = str(self.layout.log(component))
        command = ["tail", "--lines=+1", "--follow=name", log] if follow else ["cat", log]
        os.execvp(command[0], command)  # noqa: S606 - the printing program takes our place

    def _existing_record(self) -> Record:
        record = Record.load(self.layout.record)
        if not record or not record.prepared:
            raise LabError(
                f"there is no cluster {self.layout.name}: run `hack/cluster up --name {self.layout.name}`"
            )
        return record
