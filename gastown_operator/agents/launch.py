"""What an adapter is asked, and what it answers."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Protocol

from attrs import field, frozen

from gastown_operator.api.agentconfig import AgentConfig, Provider
from gastown_operator.api.common import SecretKeySelector

#: Where agents find their model: the gateway of their pod, which puts the real credential in place of this one.
GATEWAY_URL: Final = "http://127.0.0.1:4180"
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

    def credential(self, name: str) -> list[Mapping[str, Any]]:
        """The variable `name` with what the agent shows as its key; none where there is none to show."""
        if self.gateway:
            return [variable(name, GATEWAY_KEY)]
        return [from_secret(name, self.api_key)] if self.api_key is not None else []


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


def variable(name: str, value: str) -> Mapping[str, Any]:
    """An environment variable with a literal value; `$(…)` in it is not expanded by the kubelet."""
    return {"name": name, "value": value.replace("$(", "$$(")}


def from_secret(name: str, selector: SecretKeySelector) -> Mapping[str, Any]:
    """An environment variable with the value of a Secret's key."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": selector.name, "key": selector.key}}}


def given_environment(config: AgentConfig) -> list[Mapping[str, Any]]:
    """The variables that the configuration adds; they come last, so that they win."""
    return [
        {"name": entry.name, "valueFrom": entry.value_from}
        if entry.value_from is not None
        else {"name": entry.name, "value": entry.value}
        for entry in config.env
    ]
