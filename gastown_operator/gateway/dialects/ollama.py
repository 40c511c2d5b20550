"""Ollama's own API: JSON lines, streamed unless the request says otherwise.

https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from collections.abc import Mapping, MutableMapping
from typing import Any

from gastown_operator.gateway.dialects.answer import Answer, Dialect, at, encoded


def _event(answer: Answer, event: Mapping[str, Any]) -> None:
    answer.progress += 1
    if event.get("error"):
        answer.failed(event["error"])
        return
    message = event.get("message")
    answer.wrote(
        at(message, "content"), at(message, "thinking"), event.get("response"), event.get("thinking")
    )
    if event.get("done") is True:
        # Leaves the prompt's count out when all of the prompt was in its cache.
        answer.reported = answer.reported.updated(
            uncached=event.get("prompt_eval_count", 0), output=event.get("eval_count", 0)
        )
        answer.finished = answer.complete = True


def _nothing(_: MutableMapping[str, Any]) -> bool:
    return False


def _error(_: str, message: str) -> bytes:
    return encoded({"error": message})


CHAT = Dialect(
    name="ollama",
    cached_apart=False,
    lines=True,
    event=_event,
    whole=_event,
    streams=lambda body: body.get("stream", True) is not False,
    prepare=_nothing,
    error=_error,
    stream_error=lambda kind, message: _error(kind, message) + b"\n",
)
