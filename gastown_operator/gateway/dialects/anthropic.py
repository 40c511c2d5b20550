"""The Anthropic Messages API.

https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from collections.abc import Mapping, MutableMapping
from typing import Any

from gastown_operator.gateway.dialects.answer import Answer, Dialect, at, encoded


def _count(answer: Answer, usage: Any) -> None:
    """Counts are cumulative; later ones replace earlier ones."""
    answer.reported = answer.reported.updated(
        uncached=at(usage, "input_tokens"),
        cache_read=at(usage, "cache_read_input_tokens"),
        cache_write=at(usage, "cache_creation_input_tokens"),
        cache_write_1h=at(usage, "cache_creation", "ephemeral_1h_input_tokens"),
        output=at(usage, "output_tokens"),
    )


def _event(answer: Answer, event: Mapping[str, Any]) -> None:
    kind = event.get("type")
    if kind == "ping":
        return
    answer.progress += 1
    match kind:
        case "message_start":
            _count(answer, at(event, "message", "usage"))
        case "content_block_delta":
            delta = event.get("delta")
            answer.wrote(at(delta, "text"), at(delta, "thinking"), at(delta, "partial_json"))
        case "message_delta":
            _count(answer, event.get("usage"))
            answer.finished = answer.finished or isinstance(at(event, "delta", "stop_reason"), str)
        case "message_stop":
            answer.finished = answer.complete = True
        case "error":
            answer.failed(event.get("error"))


def _whole(answer: Answer, body: Mapping[str, Any]) -> None:
    if body.get("type") == "error":
        answer.failed(body.get("error"))
        return
    _count(answer, body.get("usage"))
    content = body.get("content")
    for block in content if isinstance(content, list) else ():
        answer.wrote(at(block, "text"), at(block, "thinking"))


def _nothing(_: MutableMapping[str, Any]) -> bool:
    return False


def _error(kind: str, message: str) -> bytes:
    return encoded({"type": "error", "error": {"type": kind, "message": message}})


def _stream_error(kind: str, message: str) -> bytes:
    return b"event: error\ndata: " + _error(kind, message) + b"\n\n"


MESSAGES = Dialect(
    name="anthropic",
    cached_apart=True,
    lines=False,
    event=_event,
    whole=_whole,
    streams=lambda body: body.get("stream") is True,
    prepare=_nothing,
    error=_error,
    stream_error=_stream_error,
)
