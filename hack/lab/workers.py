"""What makes pods run: waits for the nodes, and gives the cluster its DNS or its fake nodes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hack.lab import stages
from hack.lab.api import Api
from hack.lab.components import Nodes
from hack.lab.images import Images
from hack.lab.layout import DNS_ADDRESS, NODE_ADDRESS, NODE_NAME, Layout
from hack.lab.record import Record, Spec

Wait = Callable[[str, Callable[[], bool]], None]

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_LABELS = {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}


@dataclass(frozen=True)
class Workers:
    """The nodes of one cluster."""

    layout: Layout
    api: Api

    def ready(self, spec: Spec) -> bool:
        """Whether as many nodes are Ready as there should be."""
        wanted = {
            Nodes.REAL: {NODE_NAME},
            Nodes.KWOK: {node["metadata"]["name"] for node in stages.fake_nodes()},
        }
        return wanted.get(spec.nodes, set()) <= self._ready_nodes()

    def set_up(self, record: Record, wait: Wait) -> None:
        """Give the cluster what its kind of nodes needs, and wait until they are Ready."""
        if record.spec.nodes is Nodes.REAL:
            self._set_up_real(record, wait)
        elif record.spec.nodes is Nodes.KWOK:
            self._set_up_fake()
        wait("a node", lambda: self.ready(record.spec))

    def _set_up_real(self, record: Record, wait: Wait) -> None:
        images = Images(self.layout)
        wait("containerd", images.serving)
        images.load_pause(record.programs["pause"])
        for path, manifest in dns_manifests():
            self.api.apply(path, manifest)

    def _set_up_fake(self) -> None:
        for node in stages.fake_nodes():
            self.api.apply("/api/v1/nodes", node)
            self.api.apply("/api/v1/nodes", node, "/status")

    def _ready_nodes(self) -> set[str]:
        return {
            node["metadata"]["name"]
            for node in self.api.get("/api/v1/nodes")["items"]
            for condition in node["status"].get("conditions", [])
            if condition["type"] == "Ready" and condition["status"] == "True"
        }


def dns_manifests() -> list[tuple[str, dict[str, Any]]]:
    """CoreDNS runs beside the kubelet: its rights, and the Service that leads to it, each with its collection's path."""
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "system:coredns"},
        "rules": rules,
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "system:coredns"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}],
    }
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "labels": _LABELS},
        "spec": {"clusterIP": DNS_ADDRESS, "ports": ports},
    }
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kube-dns", "labels": {"kubernetes.io/service-name": "kube-dns"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [NODE_ADDRESS], "conditions": {"ready": True}}],
        "ports": ports,
    }
    return [
        (f"{_RBAC}/clusterroles", role),
        (f"{_RBAC}/clusterrolebindings", binding),
        ("/api/v1/namespaces/kube-system/services", service),
        ("/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices", endpoints),
    ]
