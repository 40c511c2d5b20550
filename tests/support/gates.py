"""What Kueue's webhook does to the pods of its queues, done by an admission policy: a gate that somebody must open."""

import json
from typing import Any

from tests.support.cluster import kubectl
from tests.support.waiting import eventually

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_API = "admissionregistration.k8s.io/v1"
_GATE = "kueue.x-k8s.io/admission"


def served() -> bool:
    """Whether the server has MutatingAdmissionPolicies in v1 (Kubernetes 1.36 and later)."""
    return '"mutatingadmissionpolicies"' in kubectl("get", "--raw", f"/apis/{_API}")


def close(queue: str) -> None:
    """Give every new pod of a queue a scheduling gate; return when that has begun."""
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    of_queue = f"object.metadata.?labels['{QUEUE_LABEL}'].orValue('') == '{queue}'"
    gates = f'Object.spec.schedulingGates{{name: "{_GATE}"}}'
    expression = f"Object{{spec: Object.spec{{schedulingGates: [{gates}]}}}}"
    policy = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [pods]},
        "matchConditions": [{"name": "of-the-queue", "expression": of_queue}],
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}],
    }
    _apply("MutatingAdmissionPolicy", queue, policy)
    _apply("MutatingAdmissionPolicyBinding", queue, {"policyName": queue})
    eventually(lambda: _is_closed(queue), f"pods of queue {queue} get a gate")


def remove(queue: str) -> None:
    """Leave new pods of the queue alone again."""
    for kind in ("mutatingadmissionpolicybinding", "mutatingadmissionpolicy"):
        kubectl("delete", kind, queue)


def admit(namespace: str, pod: str) -> None:
    """Open the gate of one pod."""
    patch = [{"op": "remove", "path": "/spec/schedulingGates"}]
    kubectl("--namespace", namespace, "patch", "pod", pod, "--type=json", f"--patch={json.dumps(patch)}")


def _is_closed(queue: str) -> bool:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "default", "name": "probe", "labels": {QUEUE_LABEL: queue}},
        "spec": {"containers": [{"name": "probe", "image": "probe"}]},
    }
    made = kubectl("create", "--dry-run=server", "--output=json", "--filename=-", stdin=json.dumps(pod))
    return "schedulingGates" in json.loads(made)["spec"]


def _apply(kind: str, name: str, spec: dict[str, Any]) -> None:
    body = {"apiVersion": _API, "kind": kind, "metadata": {"name": name}, "spec": spec}
    kubectl("apply", "--filename=-", stdin=json.dumps(body))
