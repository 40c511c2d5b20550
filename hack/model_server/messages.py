"""The wire format of the Messages API: https://docs.anthropic.com/en/api/messages-streaming."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from hack.model_server.script import HttpError, Turn

# About right for English and code.
BYTES_PER_TOKEN = 4
DELTA_LENGTH = 40


def tokens(data: Any) -> int:
    """Return roughly how many tokens JSON data is."""
    return len(json.dumps(data)) // BYTES_PER_TOKEN + 1


def message(request: Mapping[str, Any], turn: Turn) -> dict[str, Any]:
    """Return the complete answer to a request."""
    content: list[dict[str, Any]] = []
    if turn.say:
        content.append({"type": "text", "text": turn.say})
    if turn.tool is not None:
        content.append(
            {
                "type": "tool_use",
                "id": _identity("toolu", request),
                "name": turn.tool.name,
                "input": turn.tool.input,
            }
        )
    return {
        "id": _identity("msg", request),
        "type": "message",
        "role": "assistant",
        "model": request.get("model", "scripted"),
        "content": content,
        "stop_reason": "end_turn" if turn.tool is None else "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": tokens(request.get("messages", ())),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": tokens(content),
        },
    }


def events(answer: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the server-sent events that stream an answer."""
    usage = answer["usage"]
    begun = {**answer, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    yield _event("message_start", message=begun)
    for index, block in enumerate(answer["content"]):
        yield from _block_events(index, block)
    ended = {"stop_reason": answer["stop_reason"], "stop_sequence": None}
    yield _event("message_delta", delta=ended, usage={"output_tokens": usage["output_tokens"]})
    yield _event("message_stop")


def _block_events(index: int, block: Mapping[str, Any]) -> Iterator[bytes]:
    if block["type"] == "text":
        empty, kind, field, text = {**block, "text": ""}, "text_delta", "text", block["text"]
    else:
        empty, kind, field, text = (
            {**block, "input": {}},
            "input_json_delta",
            "partial_json",
            json.dumps(block["input"]),
        )
    yield _event("content_block_start", index=index, content_block=empty)
    for start in range(0, len(text), DELTA_LENGTH):
        delta = {"type": kind, field: text[start : start + DELTA_LENGTH]}
        yield _event("content_block_delta", index=index, delta=delta)
    yield _event("content_block_stop", index=index)


def error_body(error: HttpError) -> dict[str, Any]:
    """Return the body of an error answer."""
    return {"type": "error", "error": {"type": error.type, "message": error.message}}


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def _identity(prefix: str, request: Mapping[str, Any]) -> str:
    """Return an identity that is the same for the same conversation, and no other."""
    return f"{prefix}_{hashlib.sha256(json.dumps(request.get('messages', ())).encode()).hexdigest()[:24]}"
