"""Claude Code, headless. What the program does was measured with 2.1.197."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from gastown_operator.agents.launch import (
    AgentConfigError,
    Launch,
    LaunchRequest,
    given_environment,
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
_ENVIRONMENT: Final[Mapping[str, str]] = {
    # Alone stops all traffic but the model's: telemetry, updates, feature flags.
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    # The default of 10 retries a refused key for three minutes.
    "CLAUDE_CODE_MAX_RETRIES": "3",
    "API_TIMEOUT_MS": "120000",
}
_RESERVED: Final = frozenset(
    {
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_CUSTOM_HEADERS",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE_CONFIG_DIR",
        *("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
        # Whom it takes for the provider, and whose code runs under its name.
        *("NODE_EXTRA_CA_CERTS", "NODE_OPTIONS", "NODE_TLS_REJECT_UNAUTHORIZED"),
        *("BASH_ENV", "ENV", "LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", "SHELL"),
    }
)


@frozen
class ClaudeCode:
    """Runs `claude --print`. It speaks the Anthropic Messages API only, whatever stands behind the endpoint."""

    holds_key: bool = True
    reserved: Collection[str] = _RESERVED
    providers: frozenset[Provider] = frozenset(Provider)
    default_provider: Provider | None = Provider.ANTHROPIC

    def launch(self, request: LaunchRequest) -> Launch:
        """Return the container's image, command and environment. Raises AgentConfigError."""
        config = request.config
        provider = request.chosen_provider or Provider.ANTHROPIC
        if provider is not Provider.ANTHROPIC and not request.endpoint:
            raise AgentConfigError(
                "EndpointMissing",
                f"claude-code speaks the Anthropic API: for provider {provider} set "
                "agentConfig.modelProvider.endpoint to an endpoint that speaks it",
            )
        if request.api_key is None and not request.gateway:
            raise AgentConfigError(
                "CredentialMissing", "claude-code needs kubernetes.apiKeySecretRef or the rig's credential"
            )
        model = ["--model", config.model] if config.model else []
        return Launch(
            image=config.image or request.default_image,
            command=config.command or [*_COMMAND, *model, *config.args],
            environment=[*self._environment(request), *given_environment(config)],
            model=config.model,
            config_target=".claude",
        )

    def _environment(self, request: LaunchRequest) -> list[Mapping[str, Any]]:
        entries = [variable(name, value) for name, value in _ENVIRONMENT.items()]
        entries += request.credential("ANTHROPIC_API_KEY")
        if request.base_url:
            # The program adds /v1 itself.
            entries.append(variable("ANTHROPIC_BASE_URL", request.base_url))
        return entries
