"""Claude Code, headless. What the program does was measured with 2.1.197."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from gastown_operator.agents.launch import (
    RESERVED_EVERYWHERE,
    AgentConfigError,
    Launch,
    LaunchRequest,
    ModelAgent,
    launch_of,
    provider_of,
    variable,
)
from gastown_operator.api.agentconfig import Provider

#: The prompt comes on standard input: as an argument after the variadic `--disallowedTools` it would be taken for a tool.
#: The two tools reach hosts other than the provider's. The container is the sandbox, so permissions are not asked for.
_COMMAND: Final[Sequence[str]] = (
    "claude",
    "--print",
    "--disallowedTools",
    "WebFetch",
    "WebSearch",
    "--dangerously-skip-permissions",
    "--output-format",
    "stream-json",
    "--verbose",  # stream-json without it is an error
)
#: Alone stops all traffic but the model's: telemetry, updates, feature flags.
_QUIET: Final = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
#: With a gateway, which bounds every wait and repeats what is worth repeating: more patience than it has.
_BEHIND_GATEWAY: Final = {"CLAUDE_CODE_MAX_RETRIES": "1", "API_TIMEOUT_MS": "600000"}
#: Without one: the default of 10 retries a refused key for three minutes, and waits 55 for a server that does not answer.
_ALONE: Final = {"CLAUDE_CODE_MAX_RETRIES": "3", "API_TIMEOUT_MS": "120000"}
#: Side requests, such as summaries, would go to another model.
_SIDE_MODELS: Final = (
    "ANTHROPIC_SMALL_FAST_MODEL",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
)
_RESERVED: Final = RESERVED_EVERYWHERE | {
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_CUSTOM_HEADERS",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CONFIG_DIR",
}


@frozen
class ClaudeCode(ModelAgent):
    """Runs `claude --print`. It speaks the Anthropic Messages API only, whatever stands behind the endpoint."""

    reserved: Collection[str] = _RESERVED

    def launch(self, request: LaunchRequest) -> Launch:
        """Return the container's image, command and environment. Raises AgentConfigError."""
        config = request.config
        provider = request.chosen_provider or self.default_provider
        if provider is not Provider.ANTHROPIC and not request.endpoint:
            raise AgentConfigError(
                "EndpointMissing",
                f"claude-code speaks the Anthropic API: for provider {provider} set "
                "agentConfig.modelProvider.endpoint to an endpoint that speaks it",
            )
        provider_of("claude-code", self, request)
        model = ["--model", config.model] if config.model else []
        return launch_of(request, [*_COMMAND, *model], _environment(request), config_target=".claude")


def _environment(request: LaunchRequest) -> list[Mapping[str, Any]]:
    values = {**_QUIET, **(_BEHIND_GATEWAY if request.gateway else _ALONE)}
    if request.config.model:
        values |= dict.fromkeys(_SIDE_MODELS, request.config.model)
    if request.base_url:
        # The program adds /v1 itself.
        values["ANTHROPIC_BASE_URL"] = request.base_url
    entries = [variable(name, value) for name, value in values.items()]
    return [*entries, request.credential("ANTHROPIC_API_KEY")]
