"""What an agent prints, as lines for people."""

import json
from collections.abc import Iterator
from typing import Any

WIDTH = 200
# What says most about a tool's call, by the names of its arguments.
_TELLING = ("command", "file_path", "pattern", "description")


def printable(text: str) -> str:
    """Return the text without what could steer a terminal: agents write what they like."""
    return "".join(character if character.isprintable() or character == "\t" else "�" for character in text)


def told(line: str) -> Iterator[str]:
    """Yield the lines for people in a line of the agent's output.

    Claude Code prints a JSON object per line (`--output-format stream-json`); anything else is passed on as it is.
    """
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict) or "type" not in event:
        yield from _cut(line)
        return
    if event["type"] == "assistant":
        for block in event.get("message", {}).get("content", ()):
            yield from _block(block)
    elif event["type"] == "result" and event.get("is_error"):
        yield from _cut(f"failed: {event.get('result', '')}")


def _block(block: dict[str, Any]) -> Iterator[str]:
    if block.get("type") == "text":
        for line in str(block.get("text", "")).splitlines():
            yield from _cut(line)
    elif block.get("type") == "tool_use":
        given = block.get("input", {})
        telling = next((given[name] for name in _TELLING if name in given), "")
        yield from _cut(f"  → {block.get('name', '')}: {' '.join(str(telling).split())}")


def _cut(line: str) -> Iterator[str]:
    text = printable(line.rstrip())
    if text:
        yield text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
