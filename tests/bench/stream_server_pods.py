"""Pods as a busy cluster has them: two to four containers, 7 to 8 KB each as JSON, owned by Polecats of some rigs."""

from collections.abc import Sequence
from typing import Any, Final

import orjson
from attrs import frozen

from gastown_operator.api import labels
from gastown_operator.api.polecat import POLECAT

JSON = dict[str, Any]

NAMESPACE: Final = "gastown-workers"
FIRST_VERSION: Final = (
    1_000_000_000  # versions have ten digits from here on, so that all frames of a pod are as long
)
PODS_PER_RIG: Final = 100
_VERSION: Final = "@VERSION@"
_RESTARTS: Final = 7_777_777
_SECURITY: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@frozen
class EncodedPod:
    """The JSON of one pod, encoded but for its resource version and the restarts of its last container."""

    parts: tuple[bytes, bytes, bytes]

    def at(self, version: int, restarts: int = 0) -> bytes:
        """Return the JSON at a version."""
        head, middle, tail = self.parts
        return b"%s%d%s%d%s" % (head, version, middle, restarts, tail)

    @property
    def size(self) -> int:
        """Bytes of the JSON at any version."""
        return len(self.at(FIRST_VERSION))


def encoded_pods(count: int) -> list[EncodedPod]:
    """Return so many pods, whose names are in the order of their numbers."""
    templates = [_Template.of(containers) for containers in (2, 3, 4)]
    return [templates[number % 3].filled(number) for number in range(count)]


@frozen
class _Template:
    """A pod with other pods' numbers left out."""

    text: bytes

    @classmethod
    def of(cls, containers: int) -> "_Template":
        return cls(orjson.dumps(pod(0, containers, version=_VERSION, restarts=_RESTARTS)))

    def filled(self, number: int) -> EncodedPod:
        text = (
            self.text.replace(b"rig-0000", b"rig-%04d" % (number // PODS_PER_RIG))
            .replace(b"bead-00000", b"bead-%05d" % number)
            .replace(b"000000000000", b"%012d" % number)
            .replace(_moment(0).encode(), _moment(number).encode())
        )
        head, tail = text.split(_VERSION.encode())
        middle, tail = tail.split(b"%d" % _RESTARTS)
        return EncodedPod((head, middle, tail))


def pod_name(number: int) -> str:
    """Return the name of a pod."""
    return f"polecat-{polecat_name(number)}"


def polecat_name(number: int) -> str:
    """Return the name of the Polecat that controls a pod."""
    return f"bead-{number:05d}"


def pod(number: int, containers: int, *, version: str = "", restarts: int = 0) -> JSON:
    """Return a running pod with so many containers (2 to 4), as the API server shows it."""
    spec, status = _spec(containers), _status(number, containers, restarts)
    metadata: JSON = {
        "name": pod_name(number),
        "namespace": NAMESPACE,
        "uid": f"6c1f2d6e-58a1-4f0c-9d2f-{number:012d}",
        "resourceVersion": version,
        "generation": 1,
        "creationTimestamp": _moment(number),
        "labels": _labels(number),
        "annotations": {**_labels(number), labels.BRANCH: f"polecat/{polecat_name(number)}"},
        "ownerReferences": [
            {
                "apiVersion": POLECAT.api_version,
                "kind": POLECAT.kind,
                "name": polecat_name(number),
                "uid": f"0f9a6b1c-2d3e-4f50-8a6b-{number:012d}",
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ],
    }
    metadata["managedFields"] = [
        _managed(
            number,
            "gastown-polecat",
            "Apply",
            {"metadata": {"labels": _labels(number)}, "spec": _applied(spec)},
        ),
        {**_managed(number, "kubelet", "Update", {"status": _observed(status)}), "subresource": "status"},
    ]
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": status}


def _moment(number: int) -> str:
    """Return when a pod was created and started: one a second, for ten hours."""
    return f"2026-01-01T{10 + number // 3600 % 10}:{number // 60 % 60:02d}:{number % 60:02d}Z"


def _labels(number: int) -> JSON:
    return {
        labels.RIG: f"rig-{number // PODS_PER_RIG:04d}",
        labels.POLECAT: polecat_name(number),
        labels.BEAD: polecat_name(number),
        labels.NAME: labels.OPERATOR,
        labels.COMPONENT: "polecat",
        labels.MANAGED_BY: labels.OPERATOR,
    }


def _names(containers: int) -> tuple[Sequence[str], Sequence[str]]:
    """Return the names of the init containers and of the containers."""
    return {
        2: (("clone",), ("agent",)),
        3: (("clone", "keeper"), ("agent",)),
        4: (("clone", "keeper", "gateway"), ("agent",)),
    }[containers]


def _spec(containers: int) -> JSON:
    initial, main = _names(containers)
    variables = {2: 8, 3: 2, 4: 0}[containers]  # so that all pods are of about one size
    return {
        "volumes": [
            *({"name": name, "emptyDir": {}} for name in ("workspace", "control")),
            {
                "name": "git",
                "secret": {"secretName": "git-credentials", "optional": True, "defaultMode": 288},
            },
        ],
        "initContainers": [_container(name, variables) for name in initial],
        "containers": [_container(name, variables) for name in main],
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 120,
        "activeDeadlineSeconds": 7350,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "automountServiceAccountToken": False,
        "nodeName": "node-3",
        "securityContext": {"runAsUser": 10001, "runAsGroup": 10001, "runAsNonRoot": True, "fsGroup": 10001},
        "schedulerName": "default-scheduler",
        "enableServiceLinks": False,
        "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority",
    }


def _container(name: str, variables: int) -> JSON:
    return {
        "name": name,
        "image": f"registry.example/gastown/{name}:0.5.0",
        "args": [name],
        "env": [
            {"name": f"GASTOWN_{name.upper()}_SETTING_{number}", "value": f"value-of-{name}-{number}"}
            for number in range(variables)
        ],
        "resources": {"limits": {"memory": "1Gi"}, "requests": {"cpu": "20m", "memory": "64Mi"}},
        "volumeMounts": [{"name": volume, "mountPath": f"/{volume}"} for volume in ("workspace", "control")],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": _SECURITY,
    }


def _status(number: int, containers: int, restarts: int) -> JSON:
    initial, main = _names(containers)
    conditions = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    return {
        "phase": "Running",
        "conditions": [
            {
                "type": type_,
                "status": "True",
                "observedGeneration": 1,
                "lastProbeTime": None,
                "lastTransitionTime": _moment(number),
            }
            for type_ in conditions
        ],
        "hostIP": "10.250.0.1",
        "hostIPs": [{"ip": "10.250.0.1"}],
        "podIP": "10.244.0.17",
        "podIPs": [{"ip": "10.244.0.17"}],
        "startTime": _moment(number),
        "qosClass": "Burstable",
        "initContainerStatuses": [_container_status(number, name, 0) for name in initial],
        "containerStatuses": [_container_status(number, name, restarts) for name in main],
    }


def _container_status(number: int, name: str, restarts: int) -> JSON:
    state: JSON = {"running": {"startedAt": _moment(number)}}
    if name == "clone":
        state = {
            "terminated": {
                "exitCode": 0,
                "reason": "Completed",
                "startedAt": _moment(number),
                "finishedAt": _moment(number),
                "containerID": f"containerd://{name:x<64}",
            }
        }
    return {
        "name": name,
        "state": state,
        "lastState": {},
        "ready": True,
        "started": name != "clone",
        "restartCount": restarts,
        "image": f"registry.example/gastown/{name}:0.5.0",
        "imageID": f"registry.example/gastown/{name}@sha256:{name:a<64}",
        "containerID": f"containerd://{name:x<64}",
    }


def _managed(number: int, manager: str, operation: str, content: JSON) -> JSON:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "v1",
        "time": _moment(number),
        "fieldsType": "FieldsV1",
        "fieldsV1": _fields(content),
    }


def _applied(spec: JSON) -> JSON:
    """Return the part of a specification whose fields are tracked one by one."""
    return {
        "containers": [_slim(container) for container in spec["containers"]],
        "restartPolicy": spec["restartPolicy"],
    }


def _slim(container: JSON) -> JSON:
    return {name: container[name] for name in ("name", "image", "args", "resources")}


def _observed(status: JSON) -> JSON:
    """Return a status as it is tracked: the lists of container statuses are atomic."""
    return {name: {} if name.endswith("Statuses") else value for name, value in status.items()}


def _fields(content: Any) -> JSON:
    """Return the field set of some content, as server-side apply keeps it (structured-merge-diff, fieldpath)."""
    if isinstance(content, dict):
        return {f"f:{name}": _fields(value) for name, value in content.items()}
    if isinstance(content, list):
        names = [item.get("name") or item.get("type") for item in content if isinstance(item, dict)]
        return {f'k:{{"name":"{name}"}}': _fields(item) for name, item in zip(names, content, strict=False)}
    return {}
