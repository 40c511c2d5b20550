"""Pods without our protection, for the same attacks: a polecat's own pod with one thing changed, or one made from nothing."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from gastown_operator.api.core import POD
from gastown_operator.workload import layout
from tests.apiserver.client import JSON
from tests.support.site import SECRET_NAME, WORKLOAD_IMAGE, RigHandle, Site
from tests.support.waiting import eventually

USER = 10001
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
KEY_VOLUME = {"name": "key", "secret": {"secretName": SECRET_NAME, "defaultMode": 0o440}}
KEY_MOUNT = {"name": "key", "mountPath": str(layout.GIT_CREDENTIALS)}


def container(name: str, *command: str, **fields: Any) -> JSON:
    """A container of the workload image."""
    base = {"name": name, "image": WORKLOAD_IMAGE, "imagePullPolicy": "IfNotPresent"}
    return {**base, "command": list(command), "securityContext": RESTRICTED, **fields}


def copy_of(pod: JSON, name: str, change: Callable[[JSON], None]) -> JSON:
    """A polecat's pod again, as its operator made it but for `change`, with refs of its own on the git server.

    Nobody owns it and no policy selects it; what the attack aims at is where it is in the polecat's pod.
    """
    spec = deepcopy(pod["spec"])
    spec.pop("nodeName", None)
    own = {"GASTOWN_WORK_BRANCH": name, "GASTOWN_RECOVERY_KEY": name}
    for each in spec["initContainers"]:
        for entry in each["env"]:
            entry["value"] = own.get(entry["name"], entry.get("value", ""))
    change(spec)
    return {"metadata": {"namespace": pod["metadata"]["namespace"], "name": name}, "spec": spec}


def agent_of(spec: JSON) -> JSON:
    """The agent's container of a polecat's pod."""
    (agent,) = spec["containers"]
    found: JSON = agent
    return found


def ended(rig: RigHandle, name: str) -> JSON:
    """Wait until a pod is terminal; return it."""

    def terminal() -> JSON | None:
        pod = rig.site.cluster.get(POD, rig.namespace, name) or {}
        return pod if pod.get("status", {}).get("phase") in ("Succeeded", "Failed") else None

    return eventually(terminal, f"pod {name} has ended", 90)


def said_by(pod: JSON, name: str) -> str:
    """The termination message of a container."""
    status = pod["status"]
    statuses = (*status["initContainerStatuses"], *status["containerStatuses"])
    (found,) = (each for each in statuses if each["name"] == name)
    message: str = found["state"]["terminated"].get("message", "")
    return message


def run(rig: RigHandle, name: str, spec: JSON, reads: str, *, until: str) -> str:
    """Run a pod under PodSecurity `restricted` in the rig's namespace until a container has printed something; return all that it printed."""
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
    return printed(rig.site, body, reads, until=until)


def naive_keeper(rig: RigHandle, name: str, script: str, steps: str) -> str:
    """Do what no keeper of ours does: run `steps` in the agent's repository, beside the credential; return what they print.

    `script` is what the agent does in it before.
    """
    mounts = [
        {"name": "workspace", "mountPath": str(layout.WORKSPACE)},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume
    ]
    home = [{"name": "HOME", "value": str(layout.WORKSPACE)}]
    begin = f"""\
git config --global user.name a && git config --global user.email a@b
git init --quiet {layout.REPOSITORY} && cd {layout.REPOSITORY}
git commit --quiet --allow-empty --message Zero && git remote add origin ssh://git@x/y
"""
    agent = container("agent", "sh", "-c", begin + script, env=home, volumeMounts=mounts)
    then = f'cd {layout.REPOSITORY} && export PATH=".:$PATH"\n{steps}\necho stepped'
    keeper = container("keeper", "sh", "-c", then, env=home, volumeMounts=[*mounts, KEY_MOUNT])
    volumes = [*({"name": volume, "emptyDir": {}} for volume in ("workspace", "tmp")), KEY_VOLUME]
    spec = {"volumes": volumes, "initContainers": [agent], "containers": [keeper]}
    return run(rig, name, spec, "keeper", until="stepped")


def printed(site: Site, body: JSON, reads: str, *, until: str) -> str:
    """Run a pod until a container has printed something; return all that it printed."""
    site.cluster.create(POD, body)
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]

    def log() -> str:
        whole_lines, _, _ = site.cluster.log(namespace, name, reads).rpartition("\n")
        return whole_lines if until in whole_lines else ""

    found = eventually(log, f"{name} prints {until}")
    site.cluster.delete(POD, namespace, name, {"gracePeriodSeconds": 0})
    return found
