"""Any command that reads a prompt on standard input and changes the work tree."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from attrs import frozen

from gastown_operator.agents.launch import (
    AgentConfigError,
    Launch,
    LaunchRequest,
    launch_of,
    provider_of,
    variable,
)
from gastown_operator.api.agentconfig import Provider

#: By the API that a provider speaks: the variables with its base URL, what is added to that, and the variable with the key.
_VARIABLES: Final[Mapping[Provider, tuple[tuple[str, ...], str, str]]] = {
    Provider.ANTHROPIC: (("ANTHROPIC_BASE_URL",), "", "ANTHROPIC_API_KEY"),
    Provider.OPENAI: (("OPENAI_BASE_URL", "OPENAI_API_BASE"), "/v1", "OPENAI_API_KEY"),
    Provider.LITELLM: (("OPENAI_BASE_URL", "OPENAI_API_BASE"), "/v1", "OPENAI_API_KEY"),
    Provider.OLLAMA: (("OLLAMA_HOST", "OLLAMA_API_BASE"), "", ""),
}


@frozen
class Custom:
    """Runs `agentConfig.command` with `agentConfig.args`, and says by the usual variables where its model is.

    It is never given the provider's credential: the gateway has it, and without a gateway only `agentConfig.env` brings one.
    """

    holds_key: bool = False
    needs_task: bool = False
    reserved: Collection[str] = ()
    providers: frozenset[Provider] = frozenset(Provider)
    default_provider: Provider | None = None

    def launch(self, request: LaunchRequest) -> Launch:
        """Return the container's image, command and environment. Raises AgentConfigError."""
        if not request.config.command:
            raise AgentConfigError(
                "CommandMissing", 'agent "custom" needs agentConfig.command, for example ["sh", "-c", "…"]'
            )
        if request.chosen_provider is not None and request.gateway:
            provider_of("custom", self, request)
        return launch_of(request, (), _environment(request))


def _environment(request: LaunchRequest) -> list[Mapping[str, Any]]:
    provider = request.chosen_provider
    if provider is None:
        return []
    addresses, path, key = _VARIABLES[provider]
    entries: list[Mapping[str, Any]] = []
    if request.base_url:
        entries += [variable(name, request.base_url + path) for name in addresses]
    if request.gateway and key:
        entries.append(request.credential(key))
    if request.config.model:
        entries.append(variable("GASTOWN_MODEL", request.config.model))
    return entries
