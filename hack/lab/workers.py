"""What makes pods run: waits for the nodes, and gives the cluster its DNS or its fake nodes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hack.lab import stages
from hack.lab.api import Api, answers
from hack.lab.components import Nodes
from hack.lab.images import Images
from hack.lab.layout import DNS_ADDRESS, NODE_ADDRESS, NODE_NAME, Layout
from hack.lab.record import Record, Spec

# An object, and the path of its collection.
Manifest = tuple[str, dict[str, Any]]
Wait = Callable[[str, Callable[[], bool]], None]

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_LABELS = {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}

# Port and path where the kubelet, kube-proxy and CoreDNS say that they work; a node's status may be older than them.
_SERVED = ((10248, "/healthz"), (10256, "/healthz"), (8181, "/ready"))


@dataclass(frozen=True)
class Workers:
    """The nodes of one cluster."""

    layout: Layout
    api: Api

    def ready(self, spec: Spec) -> bool:
        """Whether every node that there should be is Ready, and names and services are served on a real one."""
        wanted = {
            Nodes.REAL: {NODE_NAME},
            Nodes.KWOK: {node["metadata"]["name"] for node in stages.fake_nodes()},
        }
        served = spec.nodes is not Nodes.REAL or all(answers(self.api.netns, *check) for check in _SERVED)
        return served and wanted.get(spec.nodes, set()) <= self._ready_nodes()

    def provide_images(self, record: Record, wait: Wait) -> None:
        """Wait for containerd, and give it the image that every pod needs."""
        if record.spec.nodes is Nodes.REAL:
            images = Images(self.layout)
            wait("containerd", images.serving)
            images.load_pause(record.programs["pause"])

    def grant_rights(self, record: Record) -> None:
        """Let CoreDNS read what it serves; done before it starts, as it would be slow to try again."""
        if record.spec.nodes is Nodes.REAL:
            for path, manifest in dns_rights():
                self.api.apply(path, manifest)

    def set_up(self, record: Record, wait: Wait) -> None:
        """Give the cluster what its kind of nodes needs, and wait until they are Ready."""
        if record.spec.nodes is Nodes.REAL:
            for path, manifest in dns_service():
                self.api.apply(path, manifest)
        elif record.spec.nodes is Nodes.KWOK:
            for node in stages.fake_nodes():
                self.api.apply("/api/v1/nodes", node)
                self.api.apply("/api/v1/nodes", node, "/status")
        wait("a node", lambda: self.ready(record.spec))

    def _ready_nodes(self) -> set[str]:
        return {name for name, ready in self.nodes().items() if ready}

    def nodes(self) -> dict[str, bool]:
        """Each node's name, and whether it is Ready."""
        return {
            node["metadata"]["name"]: any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for condition in node["status"].get("conditions", [])
            )
            for node in self.api.get("/api/v1/nodes")["items"]
        }


def dns_rights() -> list[Manifest]:
    """What CoreDNS may read."""
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
    return [(f"{_RBAC}/clusterroles", role), (f"{_RBAC}/clusterrolebindings", binding)]


def dns_service() -> list[Manifest]:
    """The Service that leads to CoreDNS, which is no pod but runs beside the kubelet."""
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
        ("/api/v1/namespaces/kube-system/services", service),
        ("/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices", endpoints),
    ]
