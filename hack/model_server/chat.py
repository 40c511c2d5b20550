"""The wire format of chat completions: https://platform.openai.com/docs/api-reference/chat."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from hack.model_server.conversation import (
    PAUSE,
    Answer,
    Conversation,
    HttpError,
    Usage,
    content_text,
    everything,
    pieces,
)

CREATED = 1_750_000_000  # any time will do


class Chat:
    """What most servers of models speak: opencode with litellm and ollama, aider with openai and litellm."""

    content_type = "text/event-stream"

    def read(self, request: Mapping[str, Any]) -> Conversation:
        """Return what a request says."""
        messages = request.get("messages", ())
        return Conversation(
            model=request.get("model", ""),
            tools=[tool.get("function", {}).get("name", "") for tool in request.get("tools") or ()],
            results=[content_text(entry.get("content")) for entry in messages if entry["role"] == "tool"],
            said=[content_text(entry.get("content")) for entry in messages if entry["role"] == "assistant"],
            everything=everything(request, "messages"),
            streamed=bool(request.get("stream")),
            usage_wanted=bool((request.get("stream_options") or {}).get("include_usage")),
        )

    def whole(self, answer: Answer) -> Mapping[str, Any]:
        """Return the complete answer."""
        message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
        if answer.tool is not None:
            message["tool_calls"] = [_call(answer, json.dumps(answer.tool.input))]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(answer)}
        return {**_head(answer, "chat.completion"), "choices": [choice], "usage": _usage(answer.usage)}

    def body(self, answer: Answer) -> Iterator[bytes]:
        """Yield the chunks up to the one with the finish reason."""
        yield _chunk(answer, {"role": "assistant", "content": ""})
        for text in answer.deltas():
            yield _chunk(answer, {"content": text}) if text else PAUSE
        if answer.tool is not None:
            yield _chunk(answer, {"tool_calls": [{"index": 0, **_call(answer, "")}]})
            for text in pieces(json.dumps(answer.tool.input)):
                yield _chunk(answer, {"tool_calls": [{"index": 0, "function": {"arguments": text}}]})

    def ending(self, answer: Answer) -> Iterator[bytes]:
        """Yield the finish reason, the usage if it was asked for, and the mark of the end."""
        yield _chunk(answer, {}, _reason(answer))
        if answer.usage_wanted:
            head = _head(answer, "chat.completion.chunk")
            yield _data({**head, "choices": [], "usage": _usage(answer.usage)})
        yield b"data: [DONE]\n\n"

    def error(self, error: HttpError) -> Mapping[str, Any]:
        """Return the body of an error answer."""
        return {"error": {"message": error.message, "type": error.type, "param": None, "code": None}}


def _head(answer: Answer, kind: str) -> Mapping[str, Any]:
    return {"id": f"chatcmpl-{answer.identity}", "object": kind, "created": CREATED, "model": answer.model}


def _reason(answer: Answer) -> str:
    return "stop" if answer.tool is None else "tool_calls"


def _call(answer: Answer, arguments: str) -> Mapping[str, Any]:
    name = answer.tool.name if answer.tool is not None else ""
    return {
        "id": f"call_{answer.identity}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _usage(usage: Usage) -> Mapping[str, Any]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.output,
        "total_tokens": usage.prompt + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
    }


def _chunk(answer: Answer, delta: Mapping[str, Any], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    return _data({**_head(answer, "chat.completion.chunk"), "choices": [choice]})


def _data(fields: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(fields)}\n\n".encode()
