"""The OpenAI Responses API.

https://developers.openai.com/api/reference/responses
"""

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from gastown_operator.gateway.dialects.answer import Answer, Dialect, at, encoded
from gastown_operator.gateway.dialects.openai_chat import error

#: An answer that is cut at `max_output_tokens` is incomplete, and has its proper end all the same.
_ENDED: Final = ("completed", "incomplete")


def _response(answer: Answer, response: Any) -> None:
    usage = at(response, "usage")
    answer.reported = answer.reported.updated(
        uncached=at(usage, "input_tokens"),
        cache_read=at(usage, "input_tokens_details", "cached_tokens"),
        cache_write=at(usage, "input_tokens_details", "cache_write_tokens"),
        output=at(usage, "output_tokens"),
    )
    status = at(response, "status")
    if status == "failed":
        answer.failed(at(response, "error"))
    answer.finished = answer.complete = status in _ENDED


def _event(answer: Answer, event: Mapping[str, Any]) -> None:
    kind = event.get("type")
    if not isinstance(kind, str) or kind == "keepalive":
        return
    answer.progress += 1
    if kind == "error":
        answer.failed(event.get("error") or event)
    elif kind in {"response.completed", "response.incomplete", "response.failed"}:
        _response(answer, event.get("response"))
    elif kind.endswith(".delta"):
        answer.wrote(event.get("delta"))


def _whole(answer: Answer, body: Mapping[str, Any]) -> None:
    items = body.get("output")
    for item in items if isinstance(items, list) else ():
        answer.wrote(at(item, "arguments"), at(item, "content", 0, "text"))
    _response(answer, body)
    if body.get("error") and answer.broken is None:
        answer.failed(body["error"])


def _nothing(_: MutableMapping[str, Any]) -> bool:
    return False


def _stream_error(kind: str, message: str) -> bytes:
    body = {"type": "error", "code": kind, "message": message, "param": None, "sequence_number": 0}
    return b"event: error\ndata: " + encoded(body) + b"\n\n"


RESPONSES = Dialect(
    name="openai-responses",
    cached_apart=False,
    lines=False,
    event=_event,
    whole=_whole,
    streams=lambda body: body.get("stream") is True,
    prepare=_nothing,
    error=error,
    stream_error=_stream_error,
)
