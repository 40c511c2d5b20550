"""The wire format of the Messages API: https://docs.anthropic.com/en/api/messages-streaming."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hack.model_server.conversation import (
    PAUSE,
    Answer,
    Conversation,
    HttpError,
    content_text,
    everything,
    pieces,
)


class Messages:
    """What Claude Code speaks, and others with the provider `anthropic`."""

    content_type = "text/event-stream"

    def read(self, request: Mapping[str, Any]) -> Conversation:
        """Return what a request says."""
        messages = request.get("messages", ())
        return Conversation(
            model=request.get("model", ""),
            tools=[tool.get("name", "") for tool in request.get("tools") or ()],
            results=[
                content_text(block.get("content", ""))
                for block in _blocks(messages, "user")
                if block.get("type") == "tool_result"
            ],
            said=[content_text(entry.get("content")) for entry in messages if entry["role"] == "assistant"],
            everything=everything(request, "system", "messages"),
            streamed=bool(request.get("stream")),
        )

    def whole(self, answer: Answer) -> Mapping[str, Any]:
        """Return the complete message."""
        content: list[dict[str, Any]] = []
        if answer.text:
            content.append({"type": "text", "text": answer.text})
        if answer.tool is not None:
            content.append(
                {
                    "type": "tool_use",
                    "id": f"toolu_{answer.identity}",
                    "name": answer.tool.name,
                    "input": answer.tool.input,
                }
            )
        return {
            "id": f"msg_{answer.identity}",
            "type": "message",
            "role": "assistant",
            "model": answer.model,
            "content": content,
            "stop_reason": "end_turn" if answer.tool is None else "tool_use",
            "stop_sequence": None,
            "usage": {
                "input_tokens": answer.usage.input,
                "cache_creation_input_tokens": answer.usage.cache_write,
                "cache_read_input_tokens": answer.usage.cache_read,
                "output_tokens": answer.usage.output,
            },
        }

    def body(self, answer: Answer) -> Iterator[bytes]:
        """Yield the events up to the message's end."""
        message = self.whole(answer)
        usage = {**message["usage"], "output_tokens": 1}
        begun = {**message, "content": [], "stop_reason": None, "usage": usage}
        yield _event("message_start", message=begun)
        for index, block in enumerate(message["content"]):
            if block["type"] == "text":
                yield from _block(index, {**block, "text": ""}, "text_delta", "text", answer.deltas())
            else:
                arguments = pieces(json.dumps(block["input"]))
                yield from _block(
                    index, {**block, "input": {}}, "input_json_delta", "partial_json", arguments
                )

    def ending(self, answer: Answer) -> Iterator[bytes]:
        """Yield the message's end."""
        ended = {"stop_reason": "end_turn" if answer.tool is None else "tool_use", "stop_sequence": None}
        yield _event("message_delta", delta=ended, usage={"output_tokens": answer.usage.output})
        yield _event("message_stop")

    def error(self, error: HttpError) -> Mapping[str, Any]:
        """Return the body of an error answer."""
        return {"type": "error", "error": {"type": error.type, "message": error.message}}


def _blocks(messages: Sequence[Mapping[str, Any]], role: str) -> Iterator[Mapping[str, Any]]:
    for message in messages:
        if message.get("role") == role and isinstance(message.get("content"), list):
            yield from message["content"]


def _block(
    index: int, empty: Mapping[str, Any], kind: str, field: str, texts: Iterator[str]
) -> Iterator[bytes]:
    yield _event("content_block_start", index=index, content_block=empty)
    for text in texts:
        yield _event("content_block_delta", index=index, delta={"type": kind, field: text}) if text else PAUSE
    yield _event("content_block_stop", index=index)


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
