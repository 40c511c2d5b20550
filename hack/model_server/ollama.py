"""The wire format of Ollama: https://github.com/ollama/ollama/blob/main/docs/api.md."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from hack.model_server.conversation import (
    PAUSE,
    Answer,
    Conversation,
    HttpError,
    content_text,
    everything,
)

CREATED_AT = "2026-01-01T00:00:00Z"  # any time will do
CONTEXT_LENGTH = 131_072


class Ollama:
    """What aider speaks with the provider `ollama`."""

    content_type = "application/x-ndjson"

    def read(self, request: Mapping[str, Any]) -> Conversation:
        """Return what a request says."""
        messages = request.get("messages", ())
        return Conversation(
            model=request.get("model", ""),
            tools=[tool.get("function", {}).get("name", "") for tool in request.get("tools") or ()],
            results=[content_text(entry.get("content")) for entry in messages if entry["role"] == "tool"],
            said=[content_text(entry.get("content")) for entry in messages if entry["role"] == "assistant"],
            everything=everything(request, "messages"),
            streamed=request.get("stream") is not False,
        )

    def whole(self, answer: Answer) -> Mapping[str, Any]:
        """Return the complete answer."""
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, **_calls(answer)}
        return {**_head(answer), "message": message, **_end(answer)}

    def body(self, answer: Answer) -> Iterator[bytes]:
        """Yield a line for each piece of the answer."""
        for text in answer.deltas():
            yield _line(answer, {"content": text}) if text else PAUSE
        if answer.tool is not None:
            yield _line(answer, {"content": "", **_calls(answer)})

    def ending(self, answer: Answer) -> Iterator[bytes]:
        """Yield the line that says that the answer is done, with its usage."""
        end = {**_head(answer), "message": {"role": "assistant", "content": ""}, **_end(answer)}
        yield json.dumps(end).encode() + b"\n"

    def error(self, error: HttpError) -> Mapping[str, Any]:
        """Return the body of an error answer."""
        return {"error": error.message}


def show(model: str) -> Mapping[str, Any]:
    """Return what the server says of a model."""
    return {
        "details": {"parent_model": "", "format": "gguf", "family": "scripted", "families": ["scripted"]},
        "model_info": {"general.architecture": "scripted", "scripted.context_length": CONTEXT_LENGTH},
        "capabilities": ["completion", "tools"],
        "modelfile": f"FROM {model}",
        "parameters": "",
        "template": "{{ .Prompt }}",
    }


def _head(answer: Answer) -> Mapping[str, Any]:
    return {"model": answer.model, "created_at": CREATED_AT}


def _calls(answer: Answer) -> Mapping[str, Any]:
    if answer.tool is None:
        return {}
    return {"tool_calls": [{"function": {"name": answer.tool.name, "arguments": answer.tool.input}}]}


def _end(answer: Answer) -> Mapping[str, Any]:
    return {
        "done": True,
        "done_reason": "stop",
        "total_duration": 1,
        "load_duration": 1,
        "prompt_eval_count": answer.usage.prompt,
        "prompt_eval_duration": 1,
        "eval_count": answer.usage.output,
        "eval_duration": 1,
    }


def _line(answer: Answer, message: Mapping[str, Any]) -> bytes:
    line = {**_head(answer), "message": {"role": "assistant", **message}, "done": False}
    return json.dumps(line).encode() + b"\n"
