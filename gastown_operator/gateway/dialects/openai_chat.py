"""The OpenAI Chat Completions API, also spoken by LiteLLM, vLLM and Ollama.

https://developers.openai.com/api/reference/chat-completions
"""

from collections.abc import Mapping, MutableMapping
from typing import Any

from gastown_operator.gateway.dialects.answer import Answer, Dialect, at, encoded


def _count(answer: Answer, usage: Any) -> None:
    answer.reported = answer.reported.updated(
        uncached=at(usage, "prompt_tokens"),
        cache_read=at(usage, "prompt_tokens_details", "cached_tokens"),
        cache_write=at(usage, "prompt_tokens_details", "cache_write_tokens"),
        output=at(usage, "completion_tokens"),
    )


def _message(answer: Answer, message: Any) -> None:
    answer.wrote(at(message, "content"), at(message, "reasoning_content"), at(message, "reasoning"))
    calls = at(message, "tool_calls")
    for call in calls if isinstance(calls, list) else ():
        answer.wrote(at(call, "function", "name"), at(call, "function", "arguments"))


def _take(answer: Answer, event: Mapping[str, Any], part: str) -> None:
    answer.progress += 1
    if event.get("error"):
        answer.failed(event["error"])
        return
    _count(answer, event.get("usage"))
    choices = event.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        _message(answer, at(choice, part))
        answer.choice(at(choice, "index"), ended=isinstance(at(choice, "finish_reason"), str))


def _event(answer: Answer, event: Mapping[str, Any]) -> None:
    _take(answer, event, "delta")


def _whole(answer: Answer, body: Mapping[str, Any]) -> None:
    _take(answer, body, "message")


def _prepare(body: MutableMapping[str, Any]) -> bool:
    """Ask for the usage at the end of a stream: not every agent does."""
    options = body.get("stream_options")
    if body.get("stream") is not True or at(options, "include_usage") is True:
        return False
    body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    return True


def error(kind: str, message: str) -> bytes:
    """Body of an error answer of either OpenAI API."""
    return encoded({"error": {"message": message, "type": kind, "param": None, "code": None}})


CHAT = Dialect(
    name="openai-chat",
    cached_apart=False,
    lines=False,
    event=_event,
    whole=_whole,
    streams=lambda body: body.get("stream") is True,
    prepare=_prepare,
    error=error,
    stream_error=lambda kind, message: b"data: " + error(kind, message) + b"\n\n",
)
