"""A small coding agent: it asks its model what to do, by the API of whichever provider it was told of, until that wants nothing more."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

JSON = dict[str, Any]
#: An id and a command.
Call = tuple[str, str]
SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}}
NAMED = {"name": "bash", "description": "Run a shell command."}
#: What passes: limits, overload, and a gateway whose provider broke off.
PASSING = (429, 502, 529)


class Chat:
    """OpenAI's chat completions."""

    url = os.environ.get("OPENAI_BASE_URL", "") + "/chat/completions"
    key = os.environ.get("OPENAI_API_KEY", "")
    tool: Mapping[str, Any] = {"type": "function", "function": {**NAMED, "parameters": SCHEMA}}

    def read(self, answer: JSON) -> tuple[JSON, Sequence[Call]]:
        """Return the model's message, and what it calls."""
        message = answer["choices"][0]["message"]
        calls = message.get("tool_calls") or ()
        return message, [(call["id"], json.loads(call["function"]["arguments"])["command"]) for call in calls]

    def result(self, name: str, output: str) -> JSON:
        """Return the message that a call has answered."""
        return {"role": "tool", "tool_call_id": name, "content": output}


class Ollama(Chat):
    """Ollama's own: a call has no id, and arguments that are no text."""

    url = os.environ.get("OLLAMA_HOST", "") + "/api/chat"
    key = ""

    def read(self, answer: JSON) -> tuple[JSON, Sequence[Call]]:
        """Return the model's message, and what it calls."""
        message = answer["message"]
        return message, [
            ("", call["function"]["arguments"]["command"]) for call in message.get("tool_calls") or ()
        ]


class Messages:
    """Anthropic's Messages."""

    url = os.environ.get("ANTHROPIC_BASE_URL", "") + "/v1/messages"
    key = os.environ.get("ANTHROPIC_API_KEY", "")
    tool: Mapping[str, Any] = {**NAMED, "input_schema": SCHEMA}

    def read(self, answer: JSON) -> tuple[JSON, Sequence[Call]]:
        """Return the model's message, and what it calls."""
        content = answer["content"]
        message = {"role": "assistant", "content": content}
        return message, [
            (block["id"], block["input"]["command"]) for block in content if block["type"] == "tool_use"
        ]

    def result(self, name: str, output: str) -> JSON:
        """Return the message that a call has answered."""
        block = {"type": "tool_result", "tool_use_id": name, "content": output}
        return {"role": "user", "content": [block]}


def spoken() -> Chat | Messages:
    """Return the API of the provider that the operator has told of."""
    if "OLLAMA_HOST" in os.environ:
        return Ollama()
    return Messages() if "ANTHROPIC_BASE_URL" in os.environ else Chat()


def ask(api: Chat | Messages, messages: Sequence[JSON]) -> JSON:
    """Return the answer."""
    body: JSON = {"model": os.environ["GASTOWN_MODEL"], "messages": messages, "tools": [api.tool]}
    body |= {"stream": False, "max_tokens": 1000}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {api.key}"}
    request = urllib.request.Request(api.url, json.dumps(body).encode(), headers)  # noqa: S310 - the operator says where
    while True:
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
                found: JSON = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            if error.code not in PASSING:
                raise SystemExit(f"{error.code}: {error.read().decode()}") from error


def main() -> None:
    """Work until the model calls no tool any more."""
    api = spoken()
    messages: list[JSON] = [{"role": "user", "content": sys.stdin.read()}]
    while True:
        message, calls = api.read(ask(api, messages))
        messages.append(message)
        print(message["content"], flush=True)  # noqa: T201 - its log
        if not calls:
            return
        for name, command in calls:
            ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
            messages.append(api.result(name, ran.stdout + ran.stderr))


main()
