"""The wire format of the Responses API: https://platform.openai.com/docs/api-reference/responses-streaming."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from hack.model_server.chat import CREATED, Chat
from hack.model_server.conversation import (
    PAUSE,
    Answer,
    Conversation,
    HttpError,
    content_text,
    everything,
    pieces,
)


class Responses:
    """What opencode speaks with the provider `openai`."""

    content_type = "text/event-stream"

    def read(self, request: Mapping[str, Any]) -> Conversation:
        """Return what a request says."""
        items = request.get("input", ())
        entries = [item for item in items if isinstance(item, Mapping)]
        return Conversation(
            model=request.get("model", ""),
            tools=[tool.get("name", "") for tool in request.get("tools") or ()],
            results=[
                content_text(item.get("output"))
                for item in entries
                if item.get("type") == "function_call_output"
            ],
            said=[content_text(item.get("content")) for item in entries if item.get("role") == "assistant"],
            everything=everything(request, "instructions", "input"),
            streamed=bool(request.get("stream")),
        )

    def whole(self, answer: Answer) -> Mapping[str, Any]:
        """Return the complete response."""
        return _response(answer, "completed", _items(answer))

    def body(self, answer: Answer) -> Iterator[bytes]:
        """Yield the events of every item of the output."""
        events = _Events()
        for kind in ("created", "in_progress"):
            yield events.make(f"response.{kind}", response=_response(answer, "in_progress", []))
        for index, item in enumerate(_items(answer)):
            if item["type"] == "message":
                yield from _text_item(events, index, item, answer)
            else:
                yield from _call_item(events, index, item)

    def ending(self, answer: Answer) -> Iterator[bytes]:
        """Yield the event that says that the response is complete, with its usage."""
        before = sum(part != PAUSE for part in self.body(answer))
        yield _Events(before).make("response.completed", response=self.whole(answer))

    def error(self, error: HttpError) -> Mapping[str, Any]:
        """Return the body of an error answer."""
        return Chat().error(error)


class _Events:
    """Numbers the events of one stream."""

    def __init__(self, first: int = 0) -> None:
        self._numbers = count(first)

    def make(self, kind: str, **fields: Any) -> bytes:
        data = {"type": kind, "sequence_number": next(self._numbers), **fields}
        return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def _response(answer: Answer, status: str, output: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    usage = answer.usage
    counted = {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cache_read},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt + usage.output,
    }
    return {
        "id": f"resp_{answer.identity}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": answer.model,
        "output": output,
        "usage": counted if status == "completed" else None,
    }


def _items(answer: Answer) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if answer.text:
        content = {"type": "output_text", "text": answer.text, "annotations": []}
        items.append(
            {
                "type": "message",
                "id": f"msg_{answer.identity}",
                "status": "completed",
                "role": "assistant",
                "content": [content],
            }
        )
    if answer.tool is not None:
        items.append(
            {
                "type": "function_call",
                "id": f"fc_{answer.identity}",
                "call_id": f"call_{answer.identity}",
                "status": "completed",
                "name": answer.tool.name,
                "arguments": json.dumps(answer.tool.input),
            }
        )
    return items


def _text_item(events: _Events, index: int, item: Mapping[str, Any], answer: Answer) -> Iterator[bytes]:
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    content = item["content"][0]
    begun = {**item, "status": "in_progress", "content": []}
    yield events.make("response.output_item.added", output_index=index, item=begun)
    yield events.make("response.content_part.added", **place, part={**content, "text": ""})
    for text in answer.deltas():
        yield events.make("response.output_text.delta", **place, delta=text) if text else PAUSE
    yield events.make("response.output_text.done", **place, text=answer.text)
    yield events.make("response.content_part.done", **place, part=content)
    yield events.make("response.output_item.done", output_index=index, item=item)


def _call_item(events: _Events, index: int, item: Mapping[str, Any]) -> Iterator[bytes]:
    place = {"item_id": item["id"], "output_index": index}
    begun = {**item, "status": "in_progress", "arguments": ""}
    yield events.make("response.output_item.added", output_index=index, item=begun)
    for text in pieces(item["arguments"]):
        yield events.make("response.function_call_arguments.delta", **place, delta=text)
    yield events.make("response.function_call_arguments.done", **place, arguments=item["arguments"])
    yield events.make("response.output_item.done", output_index=index, item=item)
