"""aider, headless. What the program does was measured with 0.86.2."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from gastown_operator.agents.launch import (
    GATEWAY_KEY,
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
from gastown_operator.workload.layout import AGENT_FILES, PROMPT

#: aider keeps notes in the work tree, wherever it is told to keep the others. They are not part of the work.
_START: Final = (
    'exclude=$(git rev-parse --git-path info/exclude) && mkdir -p "${exclude%/*}" && echo ".aider*" >>"$exclude"; '
    'exec aider "$@"'
)
_METADATA: Final = "aider-models.json"
_SETTINGS: Final = "aider-settings.json"
_OPTIONS: Final[Sequence[str]] = (
    "--yes-always",
    "--no-check-update",
    "--analytics-disable",
    "--no-show-release-notes",
    "--no-detect-urls",  # it would fetch what the task mentions
    "--no-suggest-shell-commands",  # nobody is there to confirm them
    "--no-auto-commits",  # with messages from a further request
    "--no-gitignore",
    *("--edit-format", "diff"),  # a model that it does not know would have to write whole files
    *("--model-metadata-file", str(AGENT_FILES / _METADATA)),
    *("--model-settings-file", str(AGENT_FILES / _SETTINGS)),
    *("--timeout", "600"),  # seconds without a byte; the gateway has less patience
    *("--message-file", str(PROMPT)),
)
#: It downloads its list of models for one that it does not know.
_METADATA_OF_MODEL: Final = {"max_input_tokens": 128_000, "max_output_tokens": 8192, "mode": "chat"}


@frozen
class _Dialect:
    """How aider is told of one provider.

    Attributes:
        prefix: stands before the model's name.
        address: variable with the base URL, and what is added to that.
        key: variable with the key; empty where it sends none.
    """

    prefix: str
    address: tuple[str, str]
    key: str


_OPENAI: Final = _Dialect("openai", ("OPENAI_API_BASE", "/v1"), "OPENAI_API_KEY")
_DIALECTS: Final[Mapping[Provider, _Dialect]] = {
    Provider.ANTHROPIC: _Dialect("anthropic", ("ANTHROPIC_API_BASE", ""), "ANTHROPIC_API_KEY"),
    Provider.OPENAI: _OPENAI,
    Provider.LITELLM: _OPENAI,
    Provider.OLLAMA: _Dialect("ollama_chat", ("OLLAMA_API_BASE", ""), ""),
}
_RESERVED: Final = RESERVED_EVERYWHERE | {
    "ANTHROPIC_API_BASE",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "OLLAMA_API_BASE",
    "OPENAI_API_BASE",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "REQUESTS_CA_BUNDLE",
    "SSL_VERIFY",
}


@frozen
class Aider(ModelAgent):
    """Runs `aider --message-file`, which edits the work tree and leaves committing to the keeper."""

    reserved: Collection[str] = _RESERVED

    def launch(self, request: LaunchRequest) -> Launch:
        """Return the container's image, command, environment and files. Raises AgentConfigError."""
        dialect = _DIALECTS[provider_of("aider", self, request)]
        model = f"{dialect.prefix}/{model_of('aider', request.config)}"
        return launch_of(
            request,
            _command(request, dialect, model),
            _environment(request, dialect),
            files={
                _METADATA: json.dumps({model: {**_METADATA_OF_MODEL, "litellm_provider": dialect.prefix}}),
                _SETTINGS: json.dumps([{"name": "aider/extra_params", "extra_params": _parameters(dialect)}]),
            },
            config_target=".",
        )


def _command(request: LaunchRequest, dialect: _Dialect, model: str) -> Sequence[str]:
    """The repository's own `.env` is read after the environment; only `--set-env` comes after that."""
    address, path = dialect.address
    last_words = [(address, request.base_url + path)] if request.base_url else []
    if request.gateway and dialect.key:
        last_words.append((dialect.key, GATEWAY_KEY))
    options = [word for name, value in last_words for word in ("--set-env", f"{name}={value}")]
    return ["sh", "-c", _START, "aider", *_OPTIONS, *options, "--model", model, "--weak-model", model]


def _environment(request: LaunchRequest, dialect: _Dialect) -> Sequence[Mapping[str, Any]]:
    address, path = dialect.address
    values = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        # Histories would lie in the work tree.
        "AIDER_CHAT_HISTORY_FILE": "/tmp/aider.chat",  # noqa: S108 - a volume of the container's own
        "AIDER_INPUT_HISTORY_FILE": "/tmp/aider.input",  # noqa: S108
        # Its git refuses a work tree of another user, and then it writes no edit.
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    if request.base_url:
        values[address] = request.base_url + path
    entries = [variable(name, value) for name, value in values.items()]
    return [*entries, request.credential(dialect.key)] if dialect.key else entries


def _parameters(dialect: _Dialect) -> Mapping[str, Any]:
    """Aider repeats a request nine times by itself; its library would three times for each of these."""
    parameters: dict[str, Any] = {"max_retries": 0}
    if dialect is _OPENAI:
        parameters["stream_options"] = {"include_usage": True}
    return parameters
