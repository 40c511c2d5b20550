"""Parts of the pods that the operator makes: security, literal variables, and what opens the rig's repository to git."""

from collections.abc import Mapping
from typing import Any, Final

from gastown_operator.agents.launch import variable
from gastown_operator.api.codec import to_json_value
from gastown_operator.api.podspec import PodSettings
from gastown_operator.controllers.settings import OperatorSettings

JSON = dict[str, Any]

SECURITY_CONTEXT: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
#: Memory-backed, so that a copy of a key is on no disk.
PRIVATE: Final = {"name": "private", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}}


def pod_security_context(settings: OperatorSettings) -> JSON:
    """PodSecurity `restricted`, under the ids that the platform wants."""
    context: JSON = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if settings.run_as_user is not None:
        context |= {
            "runAsUser": settings.run_as_user,
            "runAsGroup": settings.run_as_user,
            "fsGroup": settings.run_as_user,
            "fsGroupChangePolicy": "OnRootMismatch",
        }
    return context


def passed_on(pod: PodSettings) -> JSON:
    """Fields of the pod that a rig, or a polecat with its permission, sets."""
    values: Mapping[str, Any] = {
        "nodeSelector": dict(pod.node_selector),
        "tolerations": [to_json_value(toleration) for toleration in pod.tolerations],
        "affinity": pod.affinity,
        "runtimeClassName": pod.runtime_class_name,
        "priorityClassName": pod.priority_class_name,
        "serviceAccountName": pod.service_account_name,
        "imagePullSecrets": [{"name": secret.name} for secret in pod.image_pull_secrets],
    }
    return {name: value for name, value in values.items() if value}


def mount(volume: str, path: object) -> JSON:
    """An entry of `volumeMounts`."""
    return {"name": volume, "mountPath": str(path)}


def entries(environment: Mapping[str, str]) -> list[JSON]:
    """Literal variables."""
    return [dict(variable(name, value)) for name, value in environment.items()]


def secret_volume(volume: str, name: str) -> JSON:
    """Optional, so that the pod starts and its program can say what is missing; group-readable through fsGroup."""
    return {"name": volume, "secret": {"secretName": name, "optional": True, "defaultMode": 0o440}}


def git_volumes(secret: str, known_hosts: str) -> list[JSON]:
    """What opens a repository: the credential, and a ConfigMap with host keys where one is named."""
    hosts: JSON = (
        {"configMap": {"name": known_hosts, "optional": True}}
        if known_hosts
        else {"emptyDir": {"sizeLimit": "1Mi"}}
    )
    return [secret_volume("git-credentials", secret), {"name": "known-hosts", **hosts}, PRIVATE]
