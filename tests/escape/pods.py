"""Pods without our protection, for the same attacks: under PodSecurity `restricted`, like a polecat's, and nothing more."""

from typing import Any

from gastown_operator.api.core import POD
from tests.apiserver.client import JSON
from tests.escape.conftest import WORKLOAD_IMAGE
from tests.support.site import SECRET_NAME, RigHandle
from tests.support.waiting import eventually

USER = 10001
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
KEY_VOLUME = {"name": "key", "secret": {"secretName": SECRET_NAME, "defaultMode": 0o440}}
KEY_MOUNT = {"name": "key", "mountPath": "/gastown/git-credentials"}


def container(name: str, *command: str, **fields: Any) -> JSON:
    """A container of the workload image."""
    base = {"name": name, "image": WORKLOAD_IMAGE, "imagePullPolicy": "IfNotPresent"}
    return {**base, "command": list(command), "securityContext": RESTRICTED, **fields}


def run(rig: RigHandle, name: str, spec: JSON, reads: str, *, until: str) -> str:
    """Run a pod in the rig's namespace until a container has printed something; return all that it printed."""
    ids = {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
    body = {
        "metadata": {"namespace": rig.namespace, "name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "securityContext": ids,
            **spec,
        },
    }
    rig.site.cluster.create(POD, body)

    def printed() -> str:
        log = rig.site.cluster.log(rig.namespace, name, reads)
        return log if until in log else ""

    log = eventually(printed, f"{name} prints {until}")
    rig.site.cluster.delete(POD, rig.namespace, name, {"gracePeriodSeconds": 0})
    return log
