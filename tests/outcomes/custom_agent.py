"""A coding agent in forty lines: it asks its model what to do, in OpenAI's format, until that wants nothing more."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

TOOL = {
    "type": "function",
    "function": {
        "name": "bash",
        "description": "Run a shell command.",
        "parameters": {"type": "object", "properties": {"command": {"type": "string"}}},
    },
}


def ask(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the model's next message."""
    body = {"model": os.environ["GASTOWN_MODEL"], "messages": messages, "tools": [TOOL]}
    request = urllib.request.Request(  # noqa: S310 - the operator says where
        os.environ["OPENAI_BASE_URL"] + "/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]},
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
        message: dict[str, Any] = json.load(answer)["choices"][0]["message"]
    return message


def main() -> None:
    """Work until the model calls no tool any more."""
    messages = [{"role": "user", "content": sys.stdin.read()}]
    while True:
        try:
            message = ask(messages)
        except urllib.error.HTTPError as error:
            if error.code in (429, 529):
                continue
            raise SystemExit(f"{error.code}: {error.read().decode()}") from error
        messages.append(message)
        print(message.get("content"), flush=True)  # noqa: T201 - its log
        if not message.get("tool_calls"):
            return
        for call in message["tool_calls"]:
            command = json.loads(call["function"]["arguments"])["command"]
            ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": ran.stdout + ran.stderr})


main()
