"""What each agent's container is, for each provider, with the gateway and without."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from gastown_operator.agents.launch import (
    GATEWAY_KEY,
    GATEWAY_URL,
    AgentConfigError,
    Launch,
    LaunchRequest,
)
from gastown_operator.agents.registry import adapter
from gastown_operator.api.agentconfig import Agent, AgentConfig, Provider
from gastown_operator.api.common import EnvVar, SecretKeySelector
from gastown_operator.gateway.settings import PORT

KEY = SecretKeySelector(name="model-credentials", key="api-key")
OF_SECRET = {"secretKeyRef": {"name": "model-credentials", "key": "api-key"}}
ENDPOINT = "https://models.example.invalid/team/v1/"
UPSTREAM = "https://models.example.invalid/team"
BUILT_IN = [Agent.CLAUDE_CODE, Agent.OPENCODE, Agent.AIDER]


def launch(
    agent: Agent,
    provider: Provider | None = None,
    *,
    gateway: bool = False,
    endpoint: str = ENDPOINT,
    key: SecretKeySelector | None = KEY,
    **config: Any,
) -> Launch:
    config.setdefault("model", "m")
    if agent is Agent.CUSTOM:
        config.setdefault("command", ("sh", "-c", "true"))
    request = LaunchRequest(AgentConfig(**config), "default:1", endpoint, key, provider, gateway)
    return adapter(agent).launch(request)


def values(launched: Launch) -> Mapping[str, Any]:
    """The variables: what they are, or where they come from."""
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in launched.environment}


def configuration(launched: Launch) -> Any:
    return json.loads(values(launched)["OPENCODE_CONFIG_CONTENT"])


def test_the_gateway_is_where_it_listens() -> None:
    assert f"http://127.0.0.1:{PORT}" == GATEWAY_URL


@pytest.mark.parametrize("provider", list(Provider))
@pytest.mark.parametrize("agent", list(Agent))
def test_behind_the_gateway_nothing_in_the_container_is_a_credential(
    agent: Agent, provider: Provider
) -> None:
    launched = launch(agent, provider, gateway=True)
    everything = json.dumps([*launched.command, *launched.environment, dict(launched.files)])
    assert "model-credentials" not in everything
    assert "models.example.invalid" not in everything
    assert GATEWAY_URL in everything


@pytest.mark.parametrize(
    ("agent", "provider", "expected"),
    [
        (Agent.CLAUDE_CODE, Provider.ANTHROPIC, {"ANTHROPIC_BASE_URL": "", "ANTHROPIC_API_KEY": None}),
        (Agent.CLAUDE_CODE, Provider.OLLAMA, {"ANTHROPIC_BASE_URL": "", "ANTHROPIC_API_KEY": None}),
        (Agent.AIDER, Provider.ANTHROPIC, {"ANTHROPIC_API_BASE": "", "ANTHROPIC_API_KEY": None}),
        (Agent.AIDER, Provider.OPENAI, {"OPENAI_API_BASE": "/v1", "OPENAI_API_KEY": None}),
        (Agent.AIDER, Provider.LITELLM, {"OPENAI_API_BASE": "/v1", "OPENAI_API_KEY": None}),
        (Agent.AIDER, Provider.OLLAMA, {"OLLAMA_API_BASE": ""}),
        (Agent.OPENCODE, Provider.LITELLM, {"GASTOWN_API_KEY": None}),
    ],
)
def test_agents_find_their_model_and_show_their_key(
    agent: Agent, provider: Provider, expected: Mapping[str, str | None]
) -> None:
    """A text is what follows the base URL; None is the key."""
    direct, behind = values(launch(agent, provider)), values(launch(agent, provider, gateway=True))
    for name, path in expected.items():
        assert direct[name] == (OF_SECRET if path is None else UPSTREAM + path)
        assert behind[name] == (GATEWAY_KEY if path is None else GATEWAY_URL + path)


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        (Provider.ANTHROPIC, {"ANTHROPIC_BASE_URL": GATEWAY_URL, "ANTHROPIC_API_KEY": GATEWAY_KEY}),
        *[
            (
                provider,
                {
                    "OPENAI_BASE_URL": f"{GATEWAY_URL}/v1",
                    "OPENAI_API_BASE": f"{GATEWAY_URL}/v1",
                    "OPENAI_API_KEY": GATEWAY_KEY,
                },
            )
            for provider in (Provider.OPENAI, Provider.LITELLM)
        ],
        (Provider.OLLAMA, {"OLLAMA_HOST": GATEWAY_URL, "OLLAMA_API_BASE": GATEWAY_URL}),
    ],
)
def test_a_custom_agent_is_told_of_its_model_by_the_usual_variables(
    provider: Provider, expected: Mapping[str, str]
) -> None:
    assert values(launch(Agent.CUSTOM, provider, gateway=True)) == {**expected, "GASTOWN_MODEL": "m"}


def test_a_custom_agent_without_a_provider_is_told_nothing() -> None:
    assert values(launch(Agent.CUSTOM, endpoint="", gateway=True)) == {}


def test_a_custom_agent_never_gets_the_key_of_the_secret() -> None:
    assert OF_SECRET not in values(launch(Agent.CUSTOM, Provider.OPENAI)).values()


@pytest.mark.parametrize("agent", BUILT_IN)
def test_a_server_that_asks_for_no_key_gets_one_that_says_nothing(agent: Agent) -> None:
    assert "secretKeyRef" not in json.dumps(launch(agent, Provider.OLLAMA, key=None).environment)


@pytest.mark.parametrize("agent", BUILT_IN)
@pytest.mark.parametrize(
    ("provider", "changes", "reason", "word"),
    [
        (Provider.LITELLM, {"endpoint": ""}, "EndpointMissing", "modelProvider.endpoint"),
        (Provider.OLLAMA, {"endpoint": ""}, "EndpointMissing", "modelProvider.endpoint"),
        (Provider.ANTHROPIC, {"key": None}, "CredentialMissing", "apiKeySecretRef"),
        (None, {"key": None}, "CredentialMissing", "apiKeySecretRef"),
    ],
)
def test_what_cannot_work_is_refused_with_the_field_to_set(
    agent: Agent, provider: Provider | None, changes: Mapping[str, Any], reason: str, word: str
) -> None:
    with pytest.raises(AgentConfigError, match=word) as refused:
        launch(agent, provider, **changes)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("agent", "changes", "reason", "word"),
    [
        (Agent.OPENCODE, {"model": ""}, "ModelMissing", "agentConfig.model"),
        (Agent.AIDER, {"model": ""}, "ModelMissing", "agentConfig.model"),
        (Agent.CUSTOM, {"command": ()}, "CommandMissing", "agentConfig.command"),
        (
            Agent.CLAUDE_CODE,
            {"provider": Provider.OPENAI, "endpoint": "", "gateway": True},
            "EndpointMissing",
            "Anthropic API",
        ),
        (
            Agent.CUSTOM,
            {"provider": Provider.OLLAMA, "endpoint": "", "gateway": True},
            "EndpointMissing",
            "modelProvider.endpoint",
        ),
    ],
)
def test_what_an_agent_needs_is_asked_for(
    agent: Agent, changes: Mapping[str, Any], reason: str, word: str
) -> None:
    with pytest.raises(AgentConfigError, match=word) as refused:
        launch(agent, **changes)
    assert refused.value.reason == reason


def test_claude_code_chooses_a_model_where_none_is_named() -> None:
    launched = launch(Agent.CLAUDE_CODE, model="")
    assert "--model" not in launched.command
    assert not [name for name in values(launched) if name.endswith("_MODEL")]


def test_claude_code_makes_its_side_requests_of_the_model_that_is_named() -> None:
    launched = launch(Agent.CLAUDE_CODE)
    assert launched.command[-2:] == ["--model", "m"]
    assert {value for name, value in values(launched).items() if name.endswith("_MODEL")} == {"m"}


def test_the_older_operators_stored_provider_is_none() -> None:
    stored = launch(Agent.CLAUDE_CODE, None, endpoint="")
    assert stored.model == "m"
    config = AgentConfig(provider=Provider.LITELLM, model="m")
    request = LaunchRequest(config, "default:1", "", KEY)
    assert request.chosen_provider is None
    assert LaunchRequest(config, "default:1", ENDPOINT, KEY).chosen_provider is Provider.LITELLM


@pytest.mark.parametrize("agent", list(Agent))
def test_the_configuration_decides_image_command_arguments_and_variables(agent: Agent) -> None:
    own = (
        EnvVar(name="A", value="1"),
        EnvVar(name="B", value_from={"secretKeyRef": {"name": "s", "key": "k"}}),
    )
    launched = launch(
        agent, Provider.ANTHROPIC, gateway=True, image="mine:2", command=("run", "it"), args=("-x",), env=own
    )
    assert (launched.image, list(launched.command)) == ("mine:2", ["run", "it", "-x"])
    assert [entry["name"] for entry in launched.environment][-2:] == ["A", "B"]
    assert launch(agent, Provider.ANTHROPIC, gateway=True).image == "default:1"


@pytest.mark.parametrize("agent", BUILT_IN)
def test_further_arguments_follow_the_agents_own_command(agent: Agent) -> None:
    plain = list(launch(agent).command)
    assert list(launch(agent, args=("--one", "two")).command) == [*plain, "--one", "two"]


@pytest.mark.parametrize("agent", list(Agent))
def test_the_kubelet_expands_nothing_in_what_the_operator_sets(agent: Agent) -> None:
    launched = launch(agent, Provider.OPENAI, gateway=True, model="$(HOSTNAME)")
    assert not [
        value
        for value in values(launched).values()
        if isinstance(value, str) and "$(" in value.replace("$$(", "")
    ]


@pytest.mark.parametrize(
    ("agent", "target"),
    [
        (Agent.CLAUDE_CODE, ".claude"),
        (Agent.OPENCODE, ".config/opencode"),
        (Agent.AIDER, "."),
        (Agent.CUSTOM, ""),
    ],
)
def test_the_users_files_go_where_the_program_looks(agent: Agent, target: str) -> None:
    assert launch(agent, Provider.ANTHROPIC).config_target == target


@pytest.mark.parametrize(
    ("provider", "name", "package"),
    [
        (Provider.ANTHROPIC, "anthropic", None),
        (Provider.OPENAI, "openai", None),
        (Provider.LITELLM, "gastown", "@ai-sdk/openai-compatible"),
        (Provider.OLLAMA, "gastown", "@ai-sdk/openai-compatible"),
    ],
)
def test_opencode_knows_one_provider_and_one_model(
    provider: Provider, name: str, package: str | None
) -> None:
    launched = launch(Agent.OPENCODE, provider, gateway=True, model="team/m")
    written = configuration(launched)
    assert launched.command[-1] == written["model"] == written["small_model"] == f"{name}/team/m"
    assert written["enabled_providers"] == list(written["provider"]) == [name]
    only = written["provider"][name]
    assert (only.get("npm"), list(only["models"])) == (package, ["team/m"])
    assert only["options"]["baseURL"] == f"{GATEWAY_URL}/v1"
    assert written["permission"] == {"*": "allow"}


def test_opencode_without_an_endpoint_asks_the_provider_itself() -> None:
    options = configuration(launch(Agent.OPENCODE, Provider.OPENAI, endpoint=""))["provider"]["openai"]
    assert "baseURL" not in options["options"]


@pytest.mark.parametrize(
    ("provider", "model", "usage_asked_for"),
    [
        (Provider.ANTHROPIC, "anthropic/m", False),
        (Provider.OPENAI, "openai/m", True),
        (Provider.LITELLM, "openai/m", True),
        (Provider.OLLAMA, "ollama_chat/m", False),
    ],
)
def test_aider_is_told_of_its_model_in_files(provider: Provider, model: str, usage_asked_for: bool) -> None:
    launched = launch(Agent.AIDER, provider, gateway=True)
    assert list(launched.command[-4:]) == ["--model", model, "--weak-model", model]
    assert list(json.loads(launched.files["aider-models.json"])) == [model]
    (settings,) = json.loads(launched.files["aider-settings.json"])
    assert settings["extra_params"]["max_retries"] == 0
    assert ("stream_options" in settings["extra_params"]) is usage_asked_for


def test_aiders_address_and_key_come_after_the_repositorys_own() -> None:
    behind = launch(Agent.AIDER, Provider.OPENAI, gateway=True).command
    direct = launch(Agent.AIDER, Provider.OPENAI).command
    assert f"OPENAI_API_BASE={GATEWAY_URL}/v1" in behind
    assert f"OPENAI_API_KEY={GATEWAY_KEY}" in behind
    assert not [word for word in direct if word.startswith("OPENAI_API_KEY=")]


def test_without_a_gateway_claude_code_bounds_its_own_waits() -> None:
    behind, alone = (values(launch(Agent.CLAUDE_CODE, gateway=gateway)) for gateway in (True, False))
    assert int(alone["API_TIMEOUT_MS"]) < int(behind["API_TIMEOUT_MS"])
    assert int(behind["CLAUDE_CODE_MAX_RETRIES"]) < int(alone["CLAUDE_CODE_MAX_RETRIES"]) < 10


@pytest.mark.parametrize("agent", BUILT_IN)
def test_every_variable_that_holds_a_key_or_an_address_is_reserved(agent: Agent) -> None:
    known = adapter(agent)
    assert known.holds_key
    for provider in known.providers:
        for name in values(launch(agent, provider)):
            if name.endswith(("_KEY", "_BASE", "_URL", "_CONTENT")) and not name.startswith("GASTOWN_"):
                assert name in known.reserved
