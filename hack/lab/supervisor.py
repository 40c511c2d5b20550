"""Starts the components detached, finds them again, and ends them."""

import os
import subprocess
from collections import deque
from dataclasses import dataclass

from hack.lab import process
from hack.lab.cgroups import Cgroup
from hack.lab.components import Component
from hack.lab.errors import NotReadyError
from hack.lab.layout import Layout
from hack.lab.netns import NetworkNamespace
from hack.lab.process import Process

# In this order, the members of a group at once, each with its seconds of grace. Whoever uses a server ends
# before it: an apiserver that has lost its etcd, or still has watchers, takes its full time.
STOP_ORDER: tuple[tuple[tuple[str, ...], float], ...] = (
    (("policy-enforcer",), 0),
    (("kwok", "coredns", "kube-proxy", "kube-scheduler", "kube-controller-manager", "kubelet"), 5),
    (("containerd",), 5),
    (("kube-apiserver",), 5),
    (("etcd",), 5),
)


@dataclass(frozen=True)
class Supervisor:
    """One per cluster. There is no daemon: the records of the processes are all it knows."""

    layout: Layout
    cgroup: Cgroup
    netns: NetworkNamespace

    def running(self, name: str) -> Process | None:
        """The component's process, if it lives."""
        return process.load(self.layout.processes / f"{name}.json")

    def start(self, component: Component) -> None:
        """Start it in the cluster's cgroup and network namespace, with its log. Does nothing if it runs."""
        if self.running(component.name):
            return
        with self.layout.log(component.name).open("ab") as log:
            child = subprocess.Popen(
                self.netns.command(list(component.command)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "HOME": "/root"},
                start_new_session=True,
                preexec_fn=self.cgroup.join,  # noqa: PLW1509 - this program has one thread
            )
        if started := Process.of(child.pid):
            process.save(started, self.layout.processes / f"{component.name}.json")

    def check(self, component: Component) -> None:
        """Raises NotReadyError with the end of its log if the component does not run."""
        if not self.running(component.name):
            name, tail = component.name, self._tail(component.name)
            raise NotReadyError(f"{name} has ended ({tail}): see `hack/cluster logs {name}`")

    def stop(self, component: Component, grace: float) -> None:
        """End it, at once where `grace` is 0. Does nothing if it does not run."""
        process.stop([found for found in [self.running(component.name)] if found], grace)

    def stop_all(self) -> None:
        """End all components in order, then whatever else is in the cgroup or the network namespace."""
        for names, grace in STOP_ORDER:
            process.stop([found for name in names if (found := self.running(name))], grace)
            if "kubelet" in names:
                process.stop(self._pods(), grace=0)
        process.stop(process.in_network_namespace(self.layout.netns), grace=0)
        self.cgroup.kill()

    def _pods(self) -> list[Process]:
        """Everything in the cgroup that is not a component: containers, and their shims."""
        components = {self.running(name) for names, _ in STOP_ORDER for name in names}
        return [found for found in self.cgroup.processes() if found not in components]

    def _tail(self, name: str) -> str:
        try:
            with self.layout.log(name).open(errors="replace") as log:
                return deque(log, maxlen=1).pop().strip()[:300]
        except (FileNotFoundError, IndexError):
            return "it wrote no log"
