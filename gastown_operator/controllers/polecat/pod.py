"""The polecat pod (DESIGN §6): clone, keeper and agent under PodSecurity `restricted`."""

from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve

from gastown_operator.api import labels, names
from gastown_operator.api.codec import to_json_value
from gastown_operator.api.polecat import POLECAT, Polecat
from gastown_operator.controllers.polecat.prompt import prompt, title
from gastown_operator.controllers.polecat.recovery import recovery_key
from gastown_operator.controllers.polecat.resolve import Resolved
from gastown_operator.controllers.settings import OperatorSettings
from gastown_operator.runtime.helpers import controller_reference
from gastown_operator.workload import layout
from gastown_operator.workload.clone import CLONE_TIMEOUT
from gastown_operator.workload.refs import RecoveryRefs
from gastown_operator.workload.settings import Settings

COMPONENT: Final = "polecat"
CLONE: Final = "clone"
KEEPER: Final = "keeper"
AGENT: Final = "agent"

GRACE_SECONDS: Final = 120
#: The backstop outside the pod. The kubelet counts from the pod's start, the keeper from the agent's: what is pulled and cloned
#: before that must not be taken from the agent's time. Then the keeper asks the agent to stop, and pushes within the grace.
DEADLINE_MARGIN: Final = 150 + int(CLONE_TIMEOUT)
_KUEUE_QUEUE_LABEL: Final = (
    "kueue.x-k8s.io/queue-name"  # https://kueue.sigs.k8s.io/docs/tasks/run/plain_pods/
)

_WORKLOAD_RESOURCES: Final = {
    "requests": {"cpu": "20m", "memory": "64Mi"},
    "limits": {"memory": "1Gi"},
}
_SECURITY_CONTEXT: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}

JSON = dict[str, Any]


def pod_name(polecat: Polecat) -> str:
    """The name of the pod of the current attempt."""
    return names.pod_name(polecat.metadata.name, polecat.status.attempt or 1, polecat.metadata.uid)


def build_pod(polecat: Polecat, resolved: Resolved, settings: OperatorSettings) -> JSON:
    """The Pod of the polecat's current attempt, owned by it."""
    init_containers = [_clone(polecat, resolved, settings)]
    containers = [_agent(resolved)]
    keeper = _keeper(polecat, resolved, settings)
    if settings.native_sidecars:
        init_containers.append({**keeper, "restartPolicy": "Always"})
    else:
        containers.append(keeper)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(polecat, resolved),
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "activeDeadlineSeconds": resolved.deadline + DEADLINE_MARGIN,
            "securityContext": _pod_security_context(settings),
            "initContainers": init_containers,
            "containers": containers,
            "volumes": _volumes(resolved),
            **_passed_on(resolved),
        },
    }


def _metadata(polecat: Polecat, resolved: Resolved) -> JSON:
    exact = {
        labels.RIG: polecat.spec.rig,
        labels.POLECAT: polecat.metadata.name,
        labels.BEAD: polecat.spec.bead_id,
        labels.CONVOY: polecat.spec.convoy or "",
    }
    ours = {name: value for name, value in exact.items() if value}
    queue = {_KUEUE_QUEUE_LABEL: resolved.pod.queue_name} if resolved.pod.queue_name else {}
    return {
        "name": pod_name(polecat),
        "namespace": polecat.metadata.namespace,
        "labels": {
            **resolved.pod.pod_labels,
            **queue,
            **{name: names.label_value(value) for name, value in ours.items()},
            labels.NAME: labels.OPERATOR,
            labels.COMPONENT: COMPONENT,
            labels.MANAGED_BY: labels.OPERATOR,
        },
        "annotations": {
            **resolved.pod.pod_annotations,
            **ours,
            labels.AGENT: resolved.agent.value,
            labels.BRANCH: resolved.work_branch,
            **({labels.MODEL: resolved.launch.model} if resolved.launch.model else {}),
        },
        "ownerReferences": [controller_reference(POLECAT, polecat.metadata, block_deletion=False)],
    }


def _pod_security_context(settings: OperatorSettings) -> JSON:
    context: JSON = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if settings.run_as_user is not None:
        context |= {
            "runAsUser": settings.run_as_user,
            "runAsGroup": settings.run_as_user,
            "fsGroup": settings.run_as_user,
            "fsGroupChangePolicy": "OnRootMismatch",
        }
    return context


def _clone(polecat: Polecat, resolved: Resolved, settings: OperatorSettings) -> JSON:
    return _workload(CLONE, workload_settings(polecat, resolved, settings), settings)


def _keeper(polecat: Polecat, resolved: Resolved, settings: OperatorSettings) -> JSON:
    told = evolve(workload_settings(polecat, resolved, settings), prompt="")
    hook = {"exec": {"command": ["python3", "-m", "gastown_operator.workload", "checkpoint"]}}
    return {**_workload(KEEPER, told, settings), "lifecycle": {"preStop": hook}}


def _workload(program: str, told: Settings, settings: OperatorSettings) -> JSON:
    """Clone and keeper see the same: everything but the agent's home."""
    environment = told.environment()
    return {
        "name": program,
        "image": settings.workload_image,
        "args": [program],
        "env": [{"name": name, "value": value.replace("$(", "$$(")} for name, value in environment.items()],
        "resources": _WORKLOAD_RESOURCES,
        "securityContext": {**_SECURITY_CONTEXT, "readOnlyRootFilesystem": True},
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            _mount("workspace", layout.WORKSPACE),
            _mount("control", layout.CONTROL),
            _mount("hints", layout.HINTS),
            _mount("keeper", layout.KEEPER),
            {**_mount("git-credentials", layout.GIT_CREDENTIALS), "readOnly": True},
            {**_mount("known-hosts", layout.KNOWN_HOSTS), "readOnly": True},
            # Each container has a part of its own, since a copy of the key lies there.
            {**_mount("private", layout.PRIVATE), "subPath": program},
        ],
    }


def workload_settings(polecat: Polecat, resolved: Resolved, settings: OperatorSettings) -> Settings:
    """What clone and keeper are told of this attempt."""
    status = polecat.status
    return Settings(
        repository=resolved.repository,
        base_branch=resolved.base_branch,
        work_branch=resolved.work_branch,
        refs=RecoveryRefs(resolved.ref_prefix, recovery_key(polecat), status.round or 1),
        attempt=status.attempt or 1,
        polecat=str(polecat.metadata.key),
        bead=polecat.spec.bead_id,
        title=title(polecat),
        prompt=prompt(polecat, resolved),
        committer_name=resolved.committer_name,
        committer_email=resolved.committer_email,
        git_secret=resolved.git_secret,
        host_key_checking=resolved.host_key_checking,
        checkpoint_interval=resolved.checkpoint_interval,
        deadline=float(resolved.deadline),
        ended_by_pipe=not settings.native_sidecars,
    )


def _agent(resolved: Resolved) -> JSON:
    launch = resolved.launch
    home = [
        {"name": "HOME", "value": str(layout.HOME)},
        {"name": "GASTOWN_PROMPT_FILE", "value": str(layout.PROMPT)},
    ]
    return {
        "name": AGENT,
        "image": launch.image,
        "command": ["/bin/sh", str(layout.AGENT_WRAPPER)],
        "args": [argument.replace("$(", "$$(") for argument in launch.command],
        "workingDir": str(layout.REPOSITORY),
        "env": [*home, *launch.environment],
        "resources": to_json_value(resolved.resources),
        "securityContext": _SECURITY_CONTEXT,
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            # The clone alone: the agent must not put something else in its place.
            {**_mount("workspace", layout.REPOSITORY), "subPath": layout.REPOSITORY.name},
            {**_mount("control", layout.CONTROL), "readOnly": True},
            _mount("hints", layout.HINTS),
            _mount("home", layout.HOME),
        ],
    }


def _volumes(resolved: Resolved) -> list[JSON]:
    known_hosts: JSON = {"emptyDir": {"sizeLimit": "1Mi"}}
    if resolved.known_hosts_config_map:
        known_hosts = {"configMap": {"name": resolved.known_hosts_config_map, "optional": True}}
    return [
        {"name": "workspace", **_workspace(resolved)},
        {"name": "control", "emptyDir": {}},
        {"name": "hints", "emptyDir": {}},
        {"name": "keeper", "emptyDir": {}},
        {"name": "home", "emptyDir": {}},
        {"name": "private", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
        # Optional, so that the pod starts and clone can say what is missing; group-readable through fsGroup.
        {
            "name": "git-credentials",
            "secret": {"secretName": resolved.git_secret, "optional": True, "defaultMode": 0o440},
        },
        {"name": "known-hosts", **known_hosts},
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


def _passed_on(resolved: Resolved) -> JSON:
    """Fields of the pod that the rig, or the polecat with its permission, sets."""
    pod = resolved.pod
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


def _mount(volume: str, path: object) -> JSON:
    return {"name": volume, "mountPath": str(path)}
