"""What an adapter is asked, and what it answers."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from attrs import frozen

from gastown_operator.api.agentconfig import AgentConfig
from gastown_operator.api.common import SecretKeySelector


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
        endpoint: base URL of the model's API; the provider's own where empty.
        api_key: Secret and key of the provider's credential; None where the agent needs none.
    """

    config: AgentConfig
    default_image: str
    endpoint: str
    api_key: SecretKeySelector | None


@frozen
class Launch:
    """How the agent's container runs: its wrapper gets `command` as arguments, and the prompt on standard input.

    Attributes:
        image: container image; it needs `sh` and the agent.
        command: argument vector.
        environment: entries as in a Pod's `env`.
        model: name of the model, for status; empty where the agent chooses.
    """

    image: str
    command: Sequence[str]
    environment: Sequence[Mapping[str, Any]]
    model: str


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
