"""opencode, headless. What the program does was measured with 1.18.33."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from gastown_operator.agents.launch import (
    RESERVED_EVERYWHERE,
    Launch,
    LaunchRequest,
    ModelAgent,
    launch_of,
    model_of,
    provider_of,
    variable,
)
from gastown_operator.api.agentconfig import Provider

#: The prompt comes on standard input. A title saves a request to another model, whose usage it would not report.
_COMMAND: Final[Sequence[str]] = ("opencode", "run", "--format", "json", "--title", "polecat", "--model")
_KEY: Final = "GASTOWN_API_KEY"
#: Its own names for providers; servers that speak the chat completions API get one that nobody else has.
_COMPATIBLE: Final = "gastown"
_NAMES: Final[Mapping[Provider, str]] = {
    Provider.ANTHROPIC: "anthropic",
    Provider.OPENAI: "openai",  # the responses API
    Provider.LITELLM: _COMPATIBLE,
    Provider.OLLAMA: _COMPATIBLE,
}
#: It knows neither limit of such a model. A longer context is used up to here; a shorter one ends in a compaction.
_LIMIT: Final = {"context": 128_000, "output": 8192}
#: Milliseconds for a whole answer, and between two parts of one. The gateway has less patience.
_TIMEOUTS: Final = {"timeout": 900_000, "chunkTimeout": 300_000}
_RESERVED: Final = RESERVED_EVERYWHERE | {
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OPENCODE_AUTH_CONTENT",
    "OPENCODE_CONFIG",
    "OPENCODE_CONFIG_CONTENT",
    "OPENCODE_CONFIG_DIR",
    "OPENCODE_MODELS_PATH",
    "OPENCODE_MODELS_URL",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
}


@frozen
class OpenCode(ModelAgent):
    """Runs `opencode run`, with its configuration in a variable: nothing in the repository comes before that."""

    reserved: Collection[str] = _RESERVED

    def launch(self, request: LaunchRequest) -> Launch:
        """Return the container's image, command and environment. Raises AgentConfigError."""
        provider = provider_of("opencode", self, request)
        model = f"{_NAMES[provider]}/{model_of('opencode', request.config)}"
        environment = [
            variable("OPENCODE_CONFIG_CONTENT", json.dumps(_configuration(request, _NAMES[provider]))),
            variable("OPENCODE_DISABLE_AUTOUPDATE", "1"),
            variable("OPENCODE_DISABLE_MODELS_FETCH", "1"),
            request.credential(_KEY),
        ]
        return launch_of(request, [*_COMMAND, model], environment, config_target=".config/opencode")


def _configuration(request: LaunchRequest, name: str) -> Mapping[str, Any]:
    model = f"{name}/{request.config.model}"
    options: dict[str, Any] = {"apiKey": f"{{env:{_KEY}}}", **_TIMEOUTS}
    if request.base_url:
        options["baseURL"] = f"{request.base_url}/v1"
    provider: dict[str, Any] = {"options": options, "models": {request.config.model: {}}}
    if name == _COMPATIBLE:
        provider["npm"] = "@ai-sdk/openai-compatible"  # part of the program
        provider["models"] = {request.config.model: {"tool_call": True, "limit": _LIMIT}}
    return {
        "autoupdate": False,
        "share": "disabled",
        "enabled_providers": [name],
        "model": model,
        "small_model": model,
        # What would ask is refused without a terminal, and the run then ends with status 0. The container is the sandbox.
        "permission": {"*": "allow"},
        "provider": {name: provider},
    }
