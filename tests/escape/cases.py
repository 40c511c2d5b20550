"""Polecats that ask for more than a Rig gives, each with what a Rig that allows it gives away: a table."""

import json
from collections.abc import Callable, Mapping
from string import Template
from typing import Any

from attrs import field, frozen

from tests.apiserver.client import JSON
from tests.support.site import KNOWN_HOSTS_NAME, SECRET_NAME, WORK, WORKLOAD_IMAGE, agent

COPY = "copy-of-the-key"
MODEL_SECRET = {"name": "claude-credentials", "key": "api-key"}
MODEL_KEY = "sk-ant-escape"
#: Places of the test, put in for `$NAME` in the specifications.
ELSEWHERE, MODELS, OUTSIDE = "$elsewhere", "$models", "$outside"
#: What the permissive Rig has beside it: a file of the other repository, an annotation that an injector obeys, a label of a policy.
TREASURE = "what the other repository holds"
INJECT = "injector.example.com/inject"
OPEN = {"network": "open"}
_HOLDS_THE_KEY = f"case $KEY in *'PRIVATE KEY'*) echo the agent has the key;; esac\n{WORK}"
_HOLDS_THE_MODELS_KEY = (
    f'[ "$ANTHROPIC_API_KEY" != {MODEL_KEY} ] || echo "the agent has the key of the model"\n{WORK}'
)
#: Asks the model; the server answers whoever shows the rig's key.
_ASK = """\
python3 -c '
import json, os, urllib.request
body = json.dumps({"model": "success", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}).encode()
headers = {"content-type": "application/json", "x-api-key": "k", "authorization": "Bearer k", "anthropic-version": "2023-06-01"}
address = os.environ["%s"] + "%s"
print("the model answers", urllib.request.urlopen(urllib.request.Request(address, body, headers)).status)'
"""
_LEAVE = "until python3 -c 'import socket; socket.create_connection((\"$outside\", 8443), 2)'; do sleep 0.2; done 2>/dev/null; echo it is out"


@frozen
class Case:
    """One Polecat, refused by a Rig as it is by default, and taken by one that allows it.

    Attributes:
        spec: of the Polecat.
        reason: why it is refused.
        allowed: what the permissive Rig's spec has.
        shows: what is found in the pod of the permissive Rig.
        says: what the agent prints there, where more comes of it than a field of the pod.
        taken: what the Polecat of the permissive Rig has besides.
        verified: whether the permissive Rig knows the keys of the git server.
    """

    spec: JSON
    reason: str
    allowed: JSON
    shows: Callable[[JSON], bool]
    says: str = ""
    taken: JSON = field(factory=dict)
    verified: bool = True

    @property
    def asked(self) -> JSON:
        """The spec of the permissive Rig's Polecat; one of which the pod alone is looked at finds no node, which costs less."""
        nowhere = {} if self.says else {"nodeSelector": {"example.com/there-is": "none"}}
        pod = {**self.spec.get("kubernetes", {}), **self.taken.get("kubernetes", {}), **nowhere}
        return {**self.spec, **self.taken, "kubernetes": pod}


def with_places(spec: JSON, places: Mapping[str, str]) -> JSON:
    """The specification with the places of the test."""
    filled: JSON = json.loads(Template(json.dumps(spec)).safe_substitute(places))
    return filled


def _kubernetes(**fields: Any) -> JSON:
    return {"kubernetes": fields}


def _config(script: str = WORK, **fields: Any) -> JSON:
    return {"agentConfig": {"command": ["sh", "-c", script], **fields}}


def _policy(item: str) -> JSON:
    return {"policy": {"allow": [item]}}


def _provider(name: str) -> JSON:
    return {"providers": [{"name": name, "endpoint": MODELS, "secretRef": MODEL_SECRET}]}


def _holds(word: str) -> Callable[[JSON], bool]:
    return lambda pod: word in json.dumps(pod["spec"])


CASES: Mapping[str, Case] = {
    "another-repository": Case(
        {**_kubernetes(gitRepository=ELSEWHERE), **agent(f"cat treasure.txt\n{WORK}")},
        "CredentialBoundToRig",
        {"allowedSecrets": [COPY]},
        _holds(COPY),
        TREASURE,
        _kubernetes(gitRepository=ELSEWHERE, gitSecretRef={"name": COPY}),
    ),
    "another-secret": Case(
        _kubernetes(gitSecretRef={"name": COPY}),
        "SecretNotAllowed",
        {"allowedSecrets": [COPY]},
        lambda pod: (
            {each.get("secret", {}).get("secretName") for each in pod["spec"]["volumes"]} == {None, COPY}
        ),
    ),
    "another-endpoint": Case(
        _config(
            _ASK % ("ANTHROPIC_BASE_URL", "/v1/messages"),
            provider="anthropic",
            modelProvider={"endpoint": MODELS},
        ),
        "EndpointNotAllowed",
        _provider("mine"),
        _holds(MODEL_SECRET["name"]),
        "the model answers 200",
    ),
    "another-provider": Case(
        _config(_ASK % ("OPENAI_BASE_URL", "/chat/completions"), provider="openai"),
        "EndpointNotAllowed",
        _provider("openai"),
        _holds(MODEL_SECRET["name"]),
        "the model answers 200",
    ),
    "gateway-disabled": Case(
        {"agent": "claude-code", "agentConfig": {"provider": "anthropic"}, "gateway": "Disabled"},
        "PolicyRefused",
        {
            **_policy("GatewayDisabled"),
            "defaults": {
                "agentConfig": {"image": WORKLOAD_IMAGE, "command": ["sh", "-c", _HOLDS_THE_MODELS_KEY]},
                "kubernetes": {"sshKnownHostsConfigMapRef": {"name": KNOWN_HOSTS_NAME}},
            },
        },
        lambda pod: _holds(MODEL_SECRET["name"])({"spec": pod["spec"]["containers"]}),
        "the agent has the key of the model",
    ),
    "environment-from-secret": Case(
        _config(
            _HOLDS_THE_KEY,
            env=[
                {
                    "name": "KEY",
                    "valueFrom": {"secretKeyRef": {"name": SECRET_NAME, "key": "ssh-privatekey"}},
                }
            ],
        ),
        "SecretNotAllowed",
        {"allowedSecrets": [SECRET_NAME]},
        lambda pod: "secretKeyRef" in json.dumps(pod["spec"]["containers"][0]["env"]),
        "the agent has the key",
    ),
    "image-pull-secret": Case(
        _kubernetes(imagePullSecrets=[{"name": SECRET_NAME}]),
        "SecretNotAllowed",
        {"allowedSecrets": [SECRET_NAME]},
        lambda pod: pod["spec"].get("imagePullSecrets") == [{"name": SECRET_NAME}],
    ),
    "injector-annotation": Case(
        {**_kubernetes(podAnnotations={INJECT: "true"}), **agent(_HOLDS_THE_KEY)},
        "PolicyRefused",
        _policy("PodAnnotations"),
        lambda pod: INJECT in pod["metadata"]["annotations"],
        "the agent has the key",
    ),
    "pod-label": Case(
        {**_kubernetes(podLabels=OPEN), **agent(_LEAVE)},
        "PolicyRefused",
        _policy("PodLabels"),
        lambda pod: OPEN.items() <= pod["metadata"]["labels"].items(),
        "it is out",
    ),
    "service-account": Case(
        _kubernetes(serviceAccountName="default"),
        "PolicyRefused",
        _policy("ServiceAccountName"),
        lambda pod: (
            pod["spec"]["serviceAccountName"] == "default"
            and pod["spec"]["automountServiceAccountToken"] is False
        ),
    ),
    "toleration": Case(
        _kubernetes(tolerations=[{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]),
        "PolicyRefused",
        _policy("Tolerations"),
        _holds("node-role.kubernetes.io/control-plane"),
    ),
    "priority-class": Case(
        _kubernetes(priorityClassName="system-node-critical"),
        "PolicyRefused",
        _policy("PriorityClassName"),
        lambda pod: bool(pod["spec"]["priority"] > 1_000_000_000),
    ),
    "host-key-checking": Case(
        {**_kubernetes(sshStrictHostKeyChecking="no"), **agent(f"cat README.md\n{WORK}")},
        "PolicyRefused",
        _policy("HostKeyChecking"),
        lambda pod: (
            {"name": "GASTOWN_HOST_KEY_CHECKING", "value": "no"} in pod["spec"]["initContainers"][0]["env"]
        ),
        "A project.",
        verified=False,
    ),
    "known-hosts": Case(
        {**_kubernetes(sshKnownHostsConfigMapRef={"name": COPY}), **agent(f"cat README.md\n{WORK}")},
        "ConfigMapNotAllowed",
        {"allowedConfigMaps": [COPY]},
        _holds(COPY),
        "A project.",
        verified=False,
    ),
}
