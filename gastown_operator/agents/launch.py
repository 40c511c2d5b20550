"""What an adapter is asked, and what it answers."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Protocol

from attrs import field, frozen

from gastown_operator.api.agentconfig import AgentConfig, Provider
from gastown_operator.api.common import SecretKeySelector
from gastown_operator.gateway.settings import PORT

#: Where agents find their model: the gateway of their pod, which puts the real credential in place of this one.
GATEWAY_URL: Final = f"http://127.0.0.1:{PORT}"
GATEWAY_KEY: Final = "gastown"


class AgentConfigError(ValueError):
    """The agent cannot run as it is configured; reason and message are for the polecat's condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@frozen
class LaunchRequest:
    """What is known when an agent's container is built.

    Attributes:
        config: the polecat's configuration, with the rig's where it has none.
        default_image: image that has the agents which this operator ships.
        endpoint: base URL of the model's API, also where the gateway stands before it; the provider's own where empty.
        api_key: Secret and key of the provider's credential; None where there is none. Nothing of it reaches the agent
            where the gateway stands before the model.
        provider: whose API the endpoint speaks; None where nobody chose one.
        gateway: whether the agent talks to the gateway of its pod instead of the endpoint.
    """

    config: AgentConfig
    default_image: str
    endpoint: str
    api_key: SecretKeySelector | None
    provider: Provider | None = None
    gateway: bool = False

    @property
    def base_url(self) -> str:
        """What the agent is told to talk to, without a path `/v1` at its end; empty for the provider's own."""
        return GATEWAY_URL if self.gateway else self.endpoint.rstrip("/").removesuffix("/v1")

    @property
    def chosen_provider(self) -> Provider | None:
        """The provider that somebody chose; one stored by default, without an endpoint, is no choice."""
        return self.provider or (self.config.provider if self.endpoint else self.config.chosen_provider)

    def credential(self, name: str) -> Mapping[str, Any]:
        """The variable `name` with what the agent shows as its key; programs insist on one where the server does not."""
        if self.gateway or self.api_key is None:
            return variable(name, GATEWAY_KEY)
        return from_secret(name, self.api_key)


@frozen
class Launch:
    """How the agent's container runs: its wrapper gets `command` as arguments, and the prompt on standard input.

    Attributes:
        image: container image; it needs `sh` and the agent.
        command: argument vector.
        environment: entries as in a Pod's `env`.
        model: name of the model, for status; empty where the agent chooses.
        files: texts by name, which the agent finds below `workload.layout.AGENT_FILES`.
        config_target: where below HOME the user's configuration files are copied to; they stay where they are mounted if empty.
    """

    image: str
    command: Sequence[str]
    environment: Sequence[Mapping[str, Any]]
    model: str
    files: Mapping[str, str] = field(factory=dict)
    config_target: str = ""


class Adapter(Protocol):
    """Knows one agent program."""

    @property
    def holds_key(self) -> bool:
        """Whether its container is given the credential of the model's provider."""
        ...

    @property
    def needs_task(self) -> bool:
        """Whether it asks a model what to do, which costs money also where there is nothing to do."""
        ...

    @property
    def reserved(self) -> Collection[str]:
        """Variables, in capitals, that decide which credential it uses, where that goes, or what runs in its place."""
        ...

    @property
    def providers(self) -> frozenset[Provider]:
        """The providers whose API it can be run with."""
        ...

    @property
    def default_provider(self) -> Provider | None:
        """The provider where nobody chose one; None where it then needs none."""
        ...

    def launch(self, request: LaunchRequest) -> Launch:
        """Return how to run the agent. Raises AgentConfigError."""
        ...


@frozen
class ModelAgent:
    """What the adapters of programs that ask a model have in common; each names its own `reserved`."""

    holds_key: bool = True
    needs_task: bool = True
    reserved: Collection[str] = ()
    providers: frozenset[Provider] = frozenset(Provider)
    default_provider: Provider | None = Provider.ANTHROPIC


#: Servers that people run themselves have no address of their own; these often ask for no key either.
_OWN_SERVERS: Final = frozenset({Provider.LITELLM, Provider.OLLAMA})


def provider_of(agent: str, adapter: Adapter, request: LaunchRequest) -> Provider:
    """Return the provider that the agent is to be run with. Raises AgentConfigError where it cannot be."""
    provider = request.chosen_provider or adapter.default_provider
    if provider is None or provider not in adapter.providers:
        known = ", ".join(sorted(adapter.providers))
        raise AgentConfigError(
            "ProviderNotSupported",
            f"{agent} runs with the providers {known}; set agentConfig.provider to one of them",
        )
    if provider in _OWN_SERVERS and not request.endpoint:
        raise AgentConfigError(
            "EndpointMissing",
            f"provider {provider} has no address of its own: set agentConfig.modelProvider.endpoint to the base URL of "
            "your server",
        )
    if request.api_key is None and not request.gateway and provider not in _OWN_SERVERS:
        raise AgentConfigError(
            "CredentialMissing",
            f"{agent} needs a key for provider {provider}: set kubernetes.apiKeySecretRef, or the rig's credential",
        )
    return provider


def model_of(agent: str, config: AgentConfig) -> str:
    """Return the model. Raises AgentConfigError where none is named, for agents that cannot choose one."""
    if not config.model:
        raise AgentConfigError(
            "ModelMissing",
            f"{agent} does not choose a model by itself: set agentConfig.model to one that the provider has",
        )
    return config.model


def launch_of(
    request: LaunchRequest,
    command: Sequence[str],
    environment: Sequence[Mapping[str, Any]],
    *,
    files: Mapping[str, str] | None = None,
    config_target: str = "",
) -> Launch:
    """How any agent runs: what is configured comes in place of its image and command, and after its arguments and variables."""
    config = request.config
    return Launch(
        image=config.image or request.default_image,
        command=[*(config.command or command), *config.args],
        environment=[*environment, *_given_environment(config)],
        model=config.model,
        files=files or {},
        config_target=config_target,
    )


#: Whom a program trusts, whom it asks instead of its target, and whose code runs under its name.
RESERVED_EVERYWHERE: Final = frozenset(
    {
        *("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
        *(
            "NODE_EXTRA_CA_CERTS",
            "NODE_OPTIONS",
            "NODE_TLS_REJECT_UNAUTHORIZED",
            "SSL_CERT_DIR",
            "SSL_CERT_FILE",
        ),
        *("BASH_ENV", "ENV", "LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", "SHELL"),
    }
)


def variable(name: str, value: str) -> Mapping[str, Any]:
    """An environment variable with a literal value; `$(…)` in it is not expanded by the kubelet."""
    return {"name": name, "value": value.replace("$(", "$$(")}


def from_secret(name: str, selector: SecretKeySelector) -> Mapping[str, Any]:
    """An environment variable with the value of a Secret's key."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": selector.name, "key": selector.key}}}


def _given_environment(config: AgentConfig) -> list[Mapping[str, Any]]:
    """The variables that the configuration adds; they come last, so that they win."""
    return [
        {"name": entry.name, "valueFrom": entry.value_from}
        if entry.value_from is not None
        else {"name": entry.name, "value": entry.value}
        for entry in config.env
    ]
