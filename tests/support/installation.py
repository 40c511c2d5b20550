"""Puts what is shipped into a cluster: CRDs, namespaces and rights; the operator itself runs beside the test."""

import json
from pathlib import Path

from tests.support.cluster import kubectl

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
POLICIES = MANIFESTS / "deploy" / "admission-policies.yaml"
NAMESPACE = "gastown-system"
SERVICE_ACCOUNT = "gastown-operator"


def install() -> None:
    """Apply the shipped manifests, all but the operator's Deployment and the users' roles."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(MANIFESTS / "crd"))
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(MANIFESTS / "crd"))
    for name in ("namespaces.yaml", "rbac.yaml", "scope-cluster.yaml"):
        kubectl("apply", "-f", str(MANIFESTS / "deploy" / name))
    if policies_served():
        kubectl("apply", "-f", str(POLICIES))


def policies_served() -> bool:
    """Whether the server has ValidatingAdmissionPolicies in v1 (Kubernetes 1.30 and later)."""
    return '"validatingadmissionpolicies"' in kubectl("get", "--raw", "/apis/admissionregistration.k8s.io/v1")


def operator_kubeconfig(directory: Path) -> Path:
    """Return a kubeconfig of the operator's own ServiceAccount, so that its shipped rights are the ones that count."""
    token = kubectl("create", "token", SERVICE_ACCOUNT, f"--namespace={NAMESPACE}", "--duration=4h").strip()
    administrator = json.loads(kubectl("config", "view", "--minify", "--raw", "--flatten", "--output=json"))
    context = {"cluster": "tested", "user": "operator", "namespace": NAMESPACE}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tested",
        "clusters": [{"name": "tested", "cluster": administrator["clusters"][0]["cluster"]}],
        "users": [{"name": "operator", "user": {"token": token}}],
        "contexts": [{"name": "tested", "context": context}],
    }
    path = directory / "operator.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(kubeconfig))
    return path
