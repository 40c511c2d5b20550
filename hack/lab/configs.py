"""Configuration files of the components, as text. JSON is YAML, so no YAML library is needed."""

import json
from pathlib import Path
from typing import Any

from hack.lab.layout import DNS_ADDRESS, NODE_NAME, PAUSE_IMAGE, POD_CIDR, Layout
from hack.lab.pki import Pki

CNI_PROGRAMS = "/usr/lib/cni"
CNI_RESULTS = Path("/var/lib/cni/results")  # libcni's cache; containerd leaves it where it is


def cni_network(layout: Layout) -> str:
    """The name of the pods' network; its result cache lies in a directory shared by the whole machine."""
    return layout.cgroup


def kubelet(layout: Layout, pki: Pki) -> str:
    """KubeletConfiguration: cgroups by file system, no reservations, images never collected, PIDs limited."""
    return _json(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(pki.certificate("ca"))},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(pki.certificate("kubelet-server")),
            "tlsPrivateKeyFile": str(pki.key("kubelet-server")),
            "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{layout.cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "clusterDomain": "cluster.local",
            "clusterDNS": [DNS_ADDRESS],
            "resolvConf": "",
            "podLogsDir": str(layout.data / "pods"),
            "volumePluginDir": str(layout.data / "volume-plugins"),
            "maxPods": 200,
            "podPidsLimit": 4096,
            "serializeImagePulls": False,
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "nodefs.inodesFree": "1%",
                "imagefs.available": "1%",
            },
        }
    )


def containerd(layout: Layout, *, lower_oom_scores: bool) -> str:
    """The configuration of containerd (version 2), apart from a containerd of the machine in every path.

    `lower_oom_scores` says whether this machine lets root do that; where not, runc would fail on every pod.
    """
    return f"""\
version = 2
root = "{layout.data}/containerd"
state = "{layout.containerd_state}"

[grpc]
  address = "{layout.containerd_socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  disable_apparmor = true
  disable_tcp_service = true
  restrict_oom_score_adj = {"false" if lower_oom_scores else "true"}
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PROGRAMS}"
    conf_dir = "{layout.etc}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "{layout.run}/runc"

[plugins."io.containerd.internal.v1.opt"]
  path = "{layout.data}/opt"
"""


def cni(layout: Layout) -> str:
    """A bridge with the gateway on it, and no masquerading: nothing leaves the namespace."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(layout.run / "cni"),
            "ranges": [[{"subnet": POD_CIDR}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    return _json({"cniVersion": "1.0.0", "name": cni_network(layout), "plugins": plugins})


def audit_policy() -> str:
    """Every write with who and what (no bodies), but for the components' leases, which are written all the time."""
    return _json(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [
                {
                    "level": "None",
                    "users": [f"system:node:{NODE_NAME}", "system:apiserver", "kwok"],
                    "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}],
                },
                {"level": "None", "verbs": ["get", "list", "watch"]},
                {"level": "Metadata"},
            ],
        }
    )


def corefile(layout: Layout, addresses: list[str]) -> str:
    """CoreDNS on these addresses: the cluster's names from the API; no other exists, as nothing outside can be reached.

    Two blocks, because `template` comes before `kubernetes` within one, whatever the order in the file.
    """
    return f"""\
cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {{
    bind {" ".join(addresses)}
    errors
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {layout.etc}/coredns.kubeconfig lab
    }}
}}
.:53 {{
    bind {" ".join(addresses)}
    errors
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1) + "\n"
