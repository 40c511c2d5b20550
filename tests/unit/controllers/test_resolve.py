"""What a run is made of, and what a rig refuses: a credential is bound to its destination by the rig."""

from collections.abc import Mapping
from typing import Any

import pytest

from gastown_operator.api.agentconfig import Agent
from gastown_operator.api.common import SecretKeySelector
from gastown_operator.controllers.polecat.permission import RefusedError
from gastown_operator.controllers.polecat.resolve import resolve
from tests.unit.controllers.objects import REPOSITORY, SETTINGS, polecat, rig

ELSEWHERE = "ssh://git@evil.example.invalid/project.git"
CLAUDE: dict[str, Any] = {"agent": "claude-code", "agentConfig": {"command": []}}
#: An agent that holds the rig's key itself, which the rig must allow.
BARE: dict[str, Any] = {**CLAUDE, "gateway": "Disabled"}
UNGUARDED: dict[str, Any] = {"policy": {"allow": ["GatewayDisabled"]}}
WITH_PROVIDER: dict[str, Any] = {"command": ["true"], "provider": "anthropic"}

REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "local mode without a town": ({"executionMode": "local"}, {}, "LocalModeUnavailable", "kubectl -n"),
    "a rig with a town": ({}, {"town": {"mode": "CLI"}}, "TownUnavailable", "spec.town.mode"),
    "another repository with the rig's credential": (
        {"kubernetes": {"gitRepository": ELSEWHERE}},
        {},
        "CredentialBoundToRig",
        "gitURL",
    ),
    "another repository with the rig's credential named": (
        {"kubernetes": {"gitRepository": ELSEWHERE, "gitSecretRef": {"name": "git-credentials"}}},
        {"allowedSecrets": ["git-credentials"]},
        "CredentialBoundToRig",
        "allowedSecrets",
    ),
    "another repository with a Secret that the rig does not allow": (
        {"kubernetes": {"gitRepository": ELSEWHERE, "gitSecretRef": {"name": "mine"}}},
        {},
        "SecretNotAllowed",
        "mine",
    ),
    "another Secret for the rig's repository": (
        {"kubernetes": {"gitSecretRef": {"name": "other-rigs"}}},
        {},
        "SecretNotAllowed",
        "other-rigs",
    ),
    "an endpoint of its own with the rig's credential": (
        {
            **CLAUDE,
            "agentConfig": {"command": [], "modelProvider": {"endpoint": "https://evil.example.invalid"}},
        },
        {},
        "EndpointNotAllowed",
        "spec.providers",
    ),
    "another provider at its well-known address with the rig's credential": (
        {"agentConfig": {"command": ["sh"], "provider": "openai"}},
        {},
        "EndpointNotAllowed",
        "spec.providers",
    ),
    "a Secret in the environment": (
        {
            "agentConfig": {
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "git-credentials", "key": "k"}}}]
            }
        },
        {},
        "SecretNotAllowed",
        "git-credentials",
    ),
    "a ConfigMap in the environment": (
        {
            "agentConfig": {
                "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}]
            }
        },
        {},
        "ConfigMapNotAllowed",
        "cm",
    ),
    "known hosts of its own": (
        {"kubernetes": {"sshKnownHostsConfigMapRef": {"name": "mine"}}},
        {},
        "ConfigMapNotAllowed",
        "allowedConfigMaps",
    ),
    "pull secrets": (
        {"kubernetes": {"imagePullSecrets": [{"name": "pull"}]}},
        {},
        "SecretNotAllowed",
        "pull",
    ),
    "labels that could leave the network policy": (
        {"kubernetes": {"podLabels": {"a": "b"}}},
        {},
        "PolicyRefused",
        "PodLabels",
    ),
    "annotations that could inject": (
        {"kubernetes": {"podAnnotations": {"sidecar.istio.io/inject": "true"}}},
        {},
        "PolicyRefused",
        "PodAnnotations",
    ),
    "a service account": (
        {"kubernetes": {"serviceAccountName": "admin"}},
        {},
        "PolicyRefused",
        "ServiceAccountName",
    ),
    "a runtime class": (
        {"kubernetes": {"runtimeClassName": "none"}},
        {},
        "PolicyRefused",
        "RuntimeClassName",
    ),
    "a priority class": (
        {"kubernetes": {"priorityClassName": "high"}},
        {},
        "PolicyRefused",
        "PriorityClassName",
    ),
    "tolerations": (
        {"kubernetes": {"tolerations": [{"operator": "Exists"}]}},
        {},
        "PolicyRefused",
        "Tolerations",
    ),
    "no gateway": ({"gateway": "Disabled"}, {}, "PolicyRefused", "GatewayDisabled"),
    "host keys unchecked": (
        {"kubernetes": {"sshStrictHostKeyChecking": "no"}},
        {},
        "PolicyRefused",
        "HostKeyChecking",
    ),
    "a branch that is an option": ({"kubernetes": {"gitBranch": "-x"}}, {}, "InvalidGitBranch", "gitBranch"),
    "an agent that chooses no model": ({"agent": "aider"}, {}, "ModelMissing", "agentConfig.model"),
    "custom without a command": (
        {"agentConfig": {"command": []}},
        {},
        "CommandMissing",
        "agentConfig.command",
    ),
    "another provider without an endpoint": (
        {**CLAUDE, "agentConfig": {"command": [], "provider": "openai"}},
        {},
        "EndpointMissing",
        "endpoint",
    ),
    "Claude's own credentials file, of nobody's permission": (
        {**CLAUDE, "kubernetes": {"claudeCredsSecretRef": {"name": "mine"}}},
        {},
        "SecretNotAllowed",
        "mine",
    ),
    "Claude's own credentials file without the gateway, which alone reads it": (
        {
            **CLAUDE,
            "gateway": "Disabled",
            "kubernetes": {"claudeCredsSecretRef": {"name": "mine"}},
        },
        {"policy": {"allow": ["GatewayDisabled"]}, "allowedSecrets": ["mine"]},
        "GatewayNeeded",
        "apiKeySecretRef",
    ),
    "a budget that no gateway would keep": (
        {"budget": {"maxTokens": 5}},
        {},
        "ProviderMissing",
        "agentConfig.provider",
    ),
    "a budget of the rig that no gateway would keep": (
        {},
        {"budget": {"maxCostUSD": "5"}},
        "ProviderMissing",
        "agentConfig.provider",
    ),
    "a budget without the gateway": (
        {**CLAUDE, "budget": {"maxTokens": 5}, "gateway": "Disabled"},
        {"policy": {"allow": ["GatewayDisabled"]}},
        "BudgetNeedsGateway",
        "spec.gateway",
    ),
    "dollars for a model that the agent chooses": (
        {**CLAUDE, "budget": {"maxCostUSD": "5"}},
        {},
        "ModelMissing",
        "agentConfig.model",
    ),
    "dollars for a model whose price nobody knows": (
        {**CLAUDE, "agentConfig": {"command": [], "model": "homemade-7b"}, "budget": {"maxCostUSD": "5"}},
        {},
        "PriceUnknown",
        "--model-prices",
    ),
    "a source of variables that a later Kubernetes has": (
        {"agentConfig": {"env": [{"name": "A", "valueFrom": {"fileKeyRef": {"path": "p", "key": "k"}}}]}},
        {},
        "EnvironmentNotAllowed",
        "fileKeyRef",
    ),
    "a variable that tells our programs": (
        {"agentConfig": {"env": [{"name": "GASTOWN_PROMPT_FILE", "value": "/etc/passwd"}]}},
        {},
        "EnvironmentNotAllowed",
        "GASTOWN_PROMPT_FILE",
    ),
    "another home": (
        {"agentConfig": {"env": [{"name": "HOME", "value": "/workspace"}]}},
        {},
        "EnvironmentNotAllowed",
        "HOME",
    ),
    "the rig's key sent elsewhere": (
        {
            **BARE,
            "agentConfig": {
                "command": [],
                "env": [{"name": "ANTHROPIC_BASE_URL", "value": "https://evil.example.invalid"}],
            },
        },
        UNGUARDED,
        "CredentialBoundToRig",
        "apiKeySecretRef",
    ),
    "the rig's key sent through somebody else": (
        {
            **BARE,
            "agentConfig": {"command": [], "env": [{"name": "https_proxy", "value": "http://evil.invalid"}]},
        },
        UNGUARDED,
        "CredentialBoundToRig",
        "https_proxy",
    ),
    "a command beside the rig's key": (
        {**BARE, "agentConfig": {"command": ["sh", "-c", "env"]}},
        UNGUARDED,
        "CredentialBoundToRig",
        "agentConfig.command",
    ),
    "arguments that say where the rig's key goes": (
        {**BARE, "agentConfig": {"command": [], "args": ["--settings", "{}"]}},
        UNGUARDED,
        "CredentialBoundToRig",
        "agentConfig.args",
    ),
    "an image beside the rig's key": (
        {**BARE, "agentConfig": {"command": [], "image": "evil:1"}},
        UNGUARDED,
        "CredentialBoundToRig",
        "agentConfig.image",
    ),
    "an image under its older name beside the rig's key": (
        {**BARE, "kubernetes": {"image": "evil:1"}},
        UNGUARDED,
        "CredentialBoundToRig",
        "kubernetes.image",
    ),
    "a setup beside the rig's key": (
        {**BARE, "setupCommand": "env"},
        UNGUARDED,
        "CredentialBoundToRig",
        "setupCommand",
    ),
    "configuration files beside the rig's key": (
        {**BARE, "agentConfig": {"command": [], "configMapRef": {"name": "mine"}}},
        {**UNGUARDED, "allowedConfigMaps": ["mine"]},
        "CredentialBoundToRig",
        "agentConfig.configMapRef",
    ),
    "the base branch as work branch": (
        {"kubernetes": {"gitBranch": "trunk", "workBranch": "trunk"}},
        {},
        "InvalidWorkBranch",
        "trunk",
    ),
    "the rig's base branch as work branch": (
        {"kubernetes": {"gitBranch": "trunk", "workBranch": "main"}},
        {},
        "InvalidWorkBranch",
        "main",
    ),
    "the gateway for a command of which nobody says whose API it speaks": (
        {"gateway": "Enabled"},
        {},
        "ProviderMissing",
        "agentConfig.provider",
    ),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_refused(sentence: str) -> None:
    spec, of_rig, reason, hint = REFUSED[sentence]

    with pytest.raises(RefusedError) as refused:
        resolve(polecat(**spec), rig(**of_rig), SETTINGS)

    assert refused.value.reason == reason
    assert hint in refused.value.message


def test_a_polecat_of_a_foreign_namespace_is_refused() -> None:
    with pytest.raises(RefusedError) as refused:
        resolve(polecat(namespace="elsewhere"), rig(), SETTINGS)

    assert refused.value.reason == "NamespaceNotAllowed"


def test_the_rigs_repository_is_the_same_in_another_spelling() -> None:
    spelled = "ssh://git@GIT.example.invalid:22/project"

    resolved = resolve(polecat(kubernetes={"gitRepository": spelled}), rig(), SETTINGS)

    assert (resolved.repository, resolved.git_secret) == (REPOSITORY, "git-credentials")


def test_another_repository_may_come_with_a_secret_that_the_rig_allows() -> None:
    own = polecat(kubernetes={"gitRepository": ELSEWHERE, "gitSecretRef": {"name": "mine"}})

    resolved = resolve(own, rig(allowedSecrets=["mine"]), SETTINGS)

    assert (resolved.repository, resolved.git_secret) == (ELSEWHERE, "mine")


def test_a_provider_of_the_rig_brings_its_own_credential_which_the_gateway_alone_gets() -> None:
    endpoint = "https://models.example.invalid/v1"
    provider = {"name": "ours", "endpoint": endpoint, "secretRef": {"name": "ours", "key": "token"}}
    own = polecat(agent="claude-code", agentConfig={"command": [], "modelProvider": {"endpoint": endpoint}})

    resolved = resolve(own, rig(providers=[provider]), SETTINGS)

    gateway = resolved.gateway
    assert gateway is not None
    assert (gateway.endpoint, gateway.credential) == (endpoint, SecretKeySelector("ours", "token"))
    environment = {entry["name"]: entry for entry in resolved.launch.environment}
    assert environment["ANTHROPIC_BASE_URL"]["value"] == "http://127.0.0.1:4180"
    assert [entry for entry in resolved.launch.environment if "valueFrom" in entry] == []


def test_without_the_gateway_the_agent_holds_the_key_that_the_rig_lends() -> None:
    resolved = resolve(polecat(**{**BARE, "agentConfig": {"command": []}}), rig(**UNGUARDED), SETTINGS)

    environment = {entry["name"]: entry for entry in resolved.launch.environment}
    source = environment["ANTHROPIC_API_KEY"]["valueFrom"]["secretKeyRef"]
    assert (resolved.gateway, source) == (None, {"name": "claude-credentials", "key": "api-key"})


def test_behind_the_gateway_a_polecat_may_bring_its_own_image_and_command() -> None:
    own = polecat(agent="claude-code", agentConfig={"command": ["mine"], "image": "mine:1"})

    launch = resolve(own, rig(), SETTINGS).launch

    assert (list(launch.command), launch.image) == (["mine"], "mine:1")


CREDENTIALS: Mapping[str, tuple[dict[str, Any], dict[str, Any], SecretKeySelector | None, bool]] = {
    "the rig's, by default": ({}, {}, SecretKeySelector("claude-credentials", "api-key"), True),
    "none, where the rig's provider has none": (
        {"agentConfig": {"provider": "litellm", "modelProvider": {"endpoint": "http://models.invalid"}}},
        {"providers": [{"name": "ours", "endpoint": "http://models.invalid"}]},
        None,
        True,
    ),
    "the one of the rig's provider of that name": (
        {"agentConfig": {"provider": "openai"}},
        {
            "providers": [
                {"name": "openai", "endpoint": "https://o.invalid", "secretRef": {"name": "o", "key": "k"}}
            ]
        },
        SecretKeySelector("o", "k"),
        True,
    ),
    "that of the rig's provider litellm, where it has one": (
        {"agentConfig": {"provider": "litellm"}},
        {
            "providers": [
                {"name": "litellm", "endpoint": "https://l.invalid", "secretRef": {"name": "l", "key": "k"}}
            ]
        },
        SecretKeySelector("l", "k"),
        True,
    ),
    "that of its own endpoint's, whatever the default one is": (
        {"agentConfig": {"provider": "openai"}},
        {
            "defaults": {"agentConfig": {"modelProvider": {"apiKeySecretRef": {"name": "d", "key": "k"}}}},
            "providers": [
                {"name": "openai", "endpoint": "https://o.invalid", "secretRef": {"name": "o", "key": "k"}}
            ],
        },
        SecretKeySelector("o", "k"),
        True,
    ),
    "none where the endpoint has none, though there is a default one": (
        {"agentConfig": {"provider": "ollama", "modelProvider": {"endpoint": "http://ollama.invalid/"}}},
        {
            "defaults": {"agentConfig": {"modelProvider": {"apiKeySecretRef": {"name": "d", "key": "k"}}}},
            "providers": [{"name": "ours", "endpoint": "http://ollama.invalid"}],
        },
        None,
        True,
    ),
    "the rig's default one at the rig's default endpoint": (
        {"agentConfig": {"provider": "openai"}},
        {
            "defaults": {
                "agentConfig": {
                    "modelProvider": {
                        "endpoint": "https://d.invalid",
                        "apiKeySecretRef": {"name": "d", "key": "k"},
                    }
                }
            }
        },
        SecretKeySelector("d", "k"),
        True,
    ),
    "none for an Ollama server, unless somebody says so": (
        {"agentConfig": {"provider": "ollama"}},
        {"defaults": {"agentConfig": {"modelProvider": {"endpoint": "http://ollama.invalid:11434"}}}},
        None,
        True,
    ),
    "the polecat's own key": (
        {"kubernetes": {"apiKeySecretRef": {"name": "mine", "key": "k"}}},
        {"allowedSecrets": ["mine"]},
        SecretKeySelector("mine", "k"),
        False,
    ),
    "the polecat's own credentials file, in which the gateway finds the token": (
        {"kubernetes": {"claudeCredsSecretRef": {"name": "mine"}}},
        {"allowedSecrets": ["mine"]},
        SecretKeySelector("mine", ""),
        False,
    ),
}


@pytest.mark.parametrize("sentence", CREDENTIALS)
def test_the_credential_is(sentence: str) -> None:
    spec, of_rig, credential, is_the_rigs = CREDENTIALS[sentence]

    resolved = resolve(
        polecat(
            agentConfig={**WITH_PROVIDER, **spec.get("agentConfig", {})},
            kubernetes=spec.get("kubernetes", {}),
        ),
        rig(**of_rig),
        SETTINGS,
    )

    assert resolved.gateway is not None
    assert (resolved.gateway.credential, resolved.gateway.of_rig) == (credential, is_the_rigs)


def test_defaults_come_from_the_rig_and_then_from_the_older_operator() -> None:
    resolved = resolve(polecat(agent=None, agentConfig={"command": []}), rig(), SETTINGS)

    assert (resolved.agent, resolved.base_branch, resolved.deadline) == (Agent.CLAUDE_CODE, "main", 3600)
    assert resolved.work_branch == "polecat/toast"
    assert resolved.launch.image == "agent:1"

    of_rig = rig(
        defaults={"agent": "custom", "kubernetes": {"gitBranch": "trunk", "activeDeadlineSeconds": 60}}
    )
    resolved = resolve(polecat(agent=None), of_rig, SETTINGS)

    assert (resolved.agent, resolved.base_branch, resolved.deadline) == (Agent.CUSTOM, "trunk", 60)


def test_an_argument_is_never_expanded_by_the_kubelet() -> None:
    own = polecat(agent="claude-code", agentConfig={"command": [], "model": "m"})

    command = resolve(own, rig(), SETTINGS).launch.command

    assert command[0] == "claude"
    assert list(command[-2:]) == ["--model", "m"]


OWN_KEY = {"modelProvider": {"apiKeySecretRef": {"name": "mine", "key": "k"}}}
OWN_WAY: dict[str, Any] = {
    "command": ["claude", "--print"],
    "image": "mine:1",
    "env": [{"name": "ANTHROPIC_BASE_URL", "value": "https://models.example.invalid"}],
}


def test_with_a_key_of_its_own_a_polecat_is_free() -> None:
    own = polecat(agent="claude-code", agentConfig={**OWN_WAY, **OWN_KEY})

    launch = resolve(own, rig(allowedSecrets=["mine"]), SETTINGS).launch

    assert (launch.image, list(launch.command)) == ("mine:1", ["claude", "--print"])


def test_the_rig_decides_what_runs_beside_its_key() -> None:
    of_rig = rig(defaults={"agentConfig": OWN_WAY})

    launch = resolve(polecat(agent="claude-code", agentConfig={"command": []}), of_rig, SETTINGS).launch

    assert launch.image == "mine:1"
    assert launch.environment[-1] == OWN_WAY["env"][0]


def test_an_agent_that_is_given_no_key_runs_anything() -> None:
    own = polecat(
        agentConfig={"command": ["sh"], "image": "mine:1", "env": [{"name": "PATH", "value": "/x"}]}
    )

    assert resolve(own, rig(), SETTINGS).launch.image == "mine:1"
