"""The components of a cluster: what each is started with, and in which order."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hack.lab.configs import CNI_RESULTS, cni_network
from hack.lab.layout import API_PORT, NODE_ADDRESS, NODE_NAME, POD_CIDR, SERVICE_CIDR, Layout
from hack.lab.pki import Pki


class Nodes(StrEnum):
    """What pods run on."""

    REAL = "real"
    """One node: a kubelet with containerd, kube-proxy and CoreDNS."""
    KWOK = "kwok"
    """Ten fake nodes; their pods become Running and do nothing."""
    NONE = "none"
    """No node: pods stay Pending."""


# What the other components cannot start without.
SERVERS = frozenset({"etcd", "kube-apiserver", "containerd"})
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Component:
    """One long-running program of the cluster."""

    name: str
    command: tuple[str, ...]


# The built programs by name: `kubernetes`, the one binary for all of Kubernetes and etcd, and what the nodes need.
Programs = Mapping[str, Path]


@dataclass(frozen=True)
class Catalog:
    """Makes the components' command lines."""

    layout: Layout
    pki: Pki
    programs: Programs

    def components(self, nodes: Nodes, *, policies: bool = True) -> list[Component]:
        """What a cluster with such nodes consists of, in the order of starting; `policies`: whether a real node enforces them."""
        always = [self._etcd(), self._apiserver(), self._controller_manager()]
        if nodes is Nodes.NONE:
            return always
        if nodes is Nodes.KWOK:
            return [*always, self._scheduler(), self._kwok()]
        return [
            *always,
            self._scheduler(),
            # Before anything can start a pod.
            *([self._enforcer()] if policies else []),
            self._containerd(),
            self._kubelet(),
            self._proxy(),
            self._coredns(),
        ]

    def _etcd(self) -> Component:
        return self._kubernetes(
            "etcd",
            f"--data-dir={self.layout.data}/etcd",
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--quota-backend-bytes=8589934592",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )

    def _apiserver(self) -> Component:
        pki, layout = self.pki, self.layout
        return self._kubernetes(
            "kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379",
            f"--advertise-address={NODE_ADDRESS}",
            f"--secure-port={API_PORT}",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            f"--client-ca-file={pki.certificate('ca')}",
            f"--tls-cert-file={pki.certificate('kube-apiserver')}",
            f"--tls-private-key-file={pki.key('kube-apiserver')}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki.certificate('service-account')}",
            f"--service-account-signing-key-file={pki.key('service-account')}",
            "--authorization-mode=Node,RBAC",
            # The second one is off by default and on in OpenShift: who blocks an owner's deletion needs a right for it.
            "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
            "--allow-privileged=true",
            # Without it `kubectl logs` looks the node's name up.
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-certificate-authority={pki.certificate('ca')}",
            f"--kubelet-client-certificate={pki.certificate('kube-apiserver-kubelet-client')}",
            f"--kubelet-client-key={pki.key('kube-apiserver-kubelet-client')}",
            f"--audit-policy-file={layout.etc}/audit-policy.json",
            f"--audit-log-path={layout.log('audit')}",
            "--audit-log-maxsize=200",
            "--audit-log-maxbackup=2",
            # Else it waits a minute for its watchers when it is asked to end.
            "--shutdown-watch-termination-grace-period=1s",
            # A kind that nobody uses is watched in etcd itself, where a test can see what compaction does.
            "--watch-cache-sizes=podtemplates#0",
        )

    def _controller_manager(self) -> Component:
        pki = self.pki
        return self._kubernetes(
            "kube-controller-manager",
            f"--kubeconfig={self._kubeconfig('kube-controller-manager')}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--service-account-private-key-file={pki.key('service-account')}",
            f"--root-ca-file={pki.certificate('ca')}",
            f"--cluster-signing-cert-file={pki.certificate('ca')}",
            f"--cluster-signing-key-file={pki.key('ca')}",
            "--use-service-account-credentials",
            f"--flex-volume-plugin-dir={self.layout.data}/volume-plugins",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        )

    def _scheduler(self) -> Component:
        return self._kubernetes(
            "kube-scheduler",
            f"--kubeconfig={self._kubeconfig('kube-scheduler')}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--kube-api-qps=1000",
            "--kube-api-burst=2000",
        )

    def _kubelet(self) -> Component:
        return self._kubernetes(
            "kubelet",
            f"--config={self.layout.etc}/kubelet.json",
            f"--kubeconfig={self._kubeconfig('kubelet')}",
            f"--root-dir={self.layout.kubelet}",
            f"--cert-dir={self.layout.kubelet}/pki",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={NODE_ADDRESS}",
        )

    def _proxy(self) -> Component:
        return self._kubernetes(
            "kube-proxy",
            f"--kubeconfig={self._kubeconfig('kube-proxy')}",
            "--proxy-mode=iptables",
            f"--cluster-cidr={POD_CIDR}",
            f"--hostname-override={NODE_NAME}",
            # Connection tracking's limits belong to the machine, not to this network namespace.
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        )

    def _containerd(self) -> Component:
        return Component("containerd", ("containerd", f"--config={self.layout.etc}/containerd.toml"))

    def _coredns(self) -> Component:
        return Component("coredns", (str(self.programs["coredns"]), "-conf", f"{self.layout.etc}/Corefile"))

    def _enforcer(self) -> Component:
        pki = self.pki
        return Component(
            "policy-enforcer",
            (
                *("env", f"PYTHONPATH={ROOT}", sys.executable, "-B", "-m", "hack.lab.policies"),
                f"--authority={pki.certificate('ca')}",
                f"--certificate={pki.certificate('admin')}",
                f"--key={pki.key('admin')}",
                f"--attachments={CNI_RESULTS}",
                f"--network={cni_network(self.layout)}",
            ),
        )

    def _kwok(self) -> Component:
        return Component(
            "kwok",
            (
                str(self.programs["kwok"]),
                f"--kubeconfig={self._kubeconfig('kwok')}",
                f"--config={self.layout.etc}/kwok.json",
                "--manage-all-nodes=true",
                f"--node-ip={NODE_ADDRESS}",
                "--cidr=10.128.0.1/10",
                "--server-address=127.0.0.1:10247",
            ),
        )

    def _kubernetes(self, name: str, *arguments: str) -> Component:
        return Component(name, (str(self.programs["kubernetes"]), name, *arguments))

    def _kubeconfig(self, name: str) -> Path:
        return self.layout.etc / f"{name}.kubeconfig"
