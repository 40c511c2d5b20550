"""The volumes of a polecat pod."""

from typing import Any

from gastown_operator.controllers.parts import git_volumes, secret_volume
from gastown_operator.controllers.polecat.resolve import Resolved

JSON = dict[str, Any]


def volumes(resolved: Resolved) -> list[JSON]:
    """All volumes; which container mounts which is decided in `containers`."""
    return [
        {"name": "workspace", **_workspace(resolved)},
        {"name": "control", "emptyDir": {}},
        {"name": "hints", "emptyDir": {}},
        {"name": "keeper", "emptyDir": {}},
        {"name": "home", "emptyDir": {}},
        *git_volumes(resolved.git_secret, resolved.known_hosts_config_map),
        *_of_model(resolved),
        *_of_rig(resolved),
    ]


def _of_model(resolved: Resolved) -> list[JSON]:
    """What only the gateway sees, and the configuration of the agent's program."""
    found = []
    gateway = resolved.gateway
    if gateway is not None and gateway.credential is not None:
        found.append(secret_volume("model-credentials", gateway.credential.name))
    if resolved.agent_config_map:
        found.append(
            {"name": "agent-config", "configMap": {"name": resolved.agent_config_map, "optional": True}}
        )
    return found


def _of_rig(resolved: Resolved) -> list[JSON]:
    claims = {"mirror": (resolved.mirror_claim, True), "cache": (resolved.cache_claim, False)}
    return [
        {"name": name, "persistentVolumeClaim": {"claimName": claim, "readOnly": read_only}}
        for name, (claim, read_only) in claims.items()
        if claim
    ]


def _workspace(resolved: Resolved) -> JSON:
    workspace = resolved.pod.workspace
    if workspace.storage_class_name is None:
        return {"emptyDir": {"sizeLimit": str(workspace.size)} if workspace.size is not None else {}}
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": workspace.storage_class_name,
        "resources": {"requests": {"storage": str(workspace.size or "10Gi")}},
    }
    return {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}}
