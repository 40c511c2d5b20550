"""The objects that a user writes: Secrets, known hosts, a Rig, a Polecat."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

API_VERSION = "gastown.gastown.io/v1alpha1"
GIT_SECRET = "git-credentials"  # noqa: S105 - a Rig's default name for it
PROVIDER_SECRET = "claude-credentials"  # noqa: S105 - a Rig's default name for it
PROVIDER_KEY = "api-key"
KNOWN_HOSTS = "known-hosts"
# Whatever name it is asked for, the scripted model answers.
MODEL = "scripted"

Object = dict[str, Any]


def secret(name: str, namespace: str, texts: Mapping[str, str]) -> Object:
    """A Secret with these texts."""
    return {**_head("v1", "Secret", name, namespace), "stringData": dict(texts)}


def git_secret(namespace: str, private_key: str) -> Object:
    """The Secret of an SSH key, under the name that Rigs look for."""
    return secret(GIT_SECRET, namespace, {"ssh-privatekey": private_key})


def provider_secret(namespace: str, api_key: str) -> Object:
    """The Secret of a model provider's key, under the name that Rigs look for."""
    return secret(PROVIDER_SECRET, namespace, {PROVIDER_KEY: api_key})


def known_hosts(namespace: str, line: str) -> Object:
    """The ConfigMap by which pods know the git server; a Rig names it."""
    return {**_head("v1", "ConfigMap", KNOWN_HOSTS, namespace), "data": {"known_hosts": line}}


def rig(name: str, git_url: str, *, beads_prefix: str = "demo", endpoint: str = "") -> Object:
    """A Rig for a repository whose host key is in the ConfigMap of `known_hosts`; with `endpoint`, models are there."""
    defaults: Object = {"kubernetes": {"sshKnownHostsConfigMapRef": {"name": KNOWN_HOSTS}}}
    spec: Object = {
        "gitURL": git_url,
        "beadsPrefix": beads_prefix,
        "town": {"mode": "None"},
        "defaults": defaults,
        # They are inside of the cluster's ranges, which the pods' NetworkPolicy blocks.
        "network": {"allow": [_place(url) for url in (git_url, endpoint) if url]},
    }
    if endpoint:
        defaults["agentConfig"] = {"model": MODEL, "modelProvider": {"endpoint": endpoint}}
        lent = {"name": PROVIDER_SECRET, "key": PROVIDER_KEY}
        spec["providers"] = [{"name": MODEL, "endpoint": endpoint, "secretRef": lent}]
    return {**_head(API_VERSION, "Rig", name), "spec": spec}


def _place(url: str) -> Object:
    """The one address and port of a server, as NetworkPolicies name it."""
    parts = urlsplit(url)
    return {"cidr": f"{parts.hostname}/32", "ports": [parts.port]}


def polecat(
    name: str,
    namespace: str,
    rig_name: str,
    task: str,
    *,
    bead: str = "",
    agent: str = "claude-code",
    command: Sequence[str] = (),
) -> Object:
    """A Polecat that works at once; `command` is what the agent `custom` runs."""
    spec: Object = {
        "rig": rig_name,
        # The default is Idle.
        "desiredState": "Working",
        "taskDescription": task,
        "agent": agent,
    }
    if bead:
        spec["beadID"] = bead
    if command:
        spec["agentConfig"] = {"command": list(command)}
    return {**_head(API_VERSION, "Polecat", name, namespace), "spec": spec}


def _head(api_version: str, kind: str, name: str, namespace: str = "") -> Object:
    where = {"namespace": namespace} if namespace else {}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **where}}
