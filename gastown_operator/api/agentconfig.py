"""Which agent works, with which model, and what it needs to start."""

from enum import StrEnum

from attrs import field, frozen

from gastown_operator.api.common import EnvVar, LocalObjectReference, SecretKeySelector
from gastown_operator.api.fields import doc


class Agent(StrEnum):
    """A coding agent that the operator knows how to run; `custom` runs any command."""

    CLAUDE_CODE = "claude-code"
    OPENCODE = "opencode"
    AIDER = "aider"
    CUSTOM = "custom"


class Provider(StrEnum):
    """Whose API the model is spoken to with."""

    LITELLM = "litellm"
    ANTHROPIC = "anthropic"
    OPENAI = "openai"
    OLLAMA = "ollama"


@frozen(kw_only=True)
class ModelProvider:
    """Where the model is served, and the credential for it."""

    endpoint: str = field(
        default="",
        metadata=doc(
            "Base URL of the API. A credential of the Rig is used only for endpoints in the Rig's providers.",
            older=True,
        ),
    )
    api_key_secret_ref: SecretKeySelector | None = field(
        default=None, metadata=doc("Secret and key that hold the API key.", older=True)
    )


@frozen(kw_only=True)
class AgentConfig:
    """Configuration of the coding agent."""

    provider: Provider | None = field(
        default=None,
        metadata=doc(
            "Provider of the model. `litellm` without an endpoint, on a Rig that has no provider of that name, counts as "
            "unset: the older operator stored it by default. Defaults to the Rig's, else to the agent's own.",
            older=True,
        ),
    )
    model: str = field(default="", metadata=doc("Name of the model, as the provider knows it.", older=True))
    model_provider: ModelProvider = field(
        default=ModelProvider(), metadata=doc("Endpoint of the model and the credential for it.", older=True)
    )
    image: str = field(default="", metadata=doc("Container image of the agent.", older=True))
    command: tuple[str, ...] = field(
        default=(),
        metadata=doc(
            "Command to run in place of the agent's own; required for `custom`. Not a shell line.", older=True
        ),
    )
    args: tuple[str, ...] = field(default=(), metadata=doc("Further arguments of the command.", older=True))
    env: tuple[EnvVar, ...] = field(
        default=(), metadata=doc("Further environment variables of the agent.", older=True)
    )
    config_map_ref: LocalObjectReference | None = field(
        default=None,
        metadata=doc(
            "ConfigMap with the agent's configuration files, one per key; it must be allowed by the Rig.",
            older=True,
        ),
    )

    @property
    def chosen_provider(self) -> Provider | None:
        """The provider that somebody chose; None for the older operator's stored default (on a Rig without that provider)."""
        unset = self.provider is Provider.LITELLM and not self.model_provider.endpoint
        return None if unset else self.provider
