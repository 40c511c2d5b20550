"""Scripts: what the model does, turn by turn, as data.

A script is a JSON object `{"description": …, "turns": [turn, …]}`. A turn has `say`, the text of the answer, and at most one
of

- `tool`: `{"name": …, "input": {…}}`, a tool for the agent to run. `$result1`, `$result2`, … in the strings of the input
  stand for the trimmed text that the first, second, … tool answered; `$$` is a dollar sign.
- `error`: `{"status": …, "type": …, "message": …, "headers": {…}}`, an answer of that HTTP status instead of a message.
- `cut`: true, the connection ends in the middle of the answer.

A turn without any of them ends the agent's work. Which turn is next follows from the request alone: it is the one after as
many turns as the conversation has tool results. So any number of agents can talk to one server, and it has nothing to lose.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

SCRIPTS = Path(__file__).parent / "scripts"
TURN_FIELDS = {"say", "tool", "error", "cut"}
# What the agent asks beside its work, such as a title for the session, comes without tools.
SIDE_ANSWER = "Sample work"


class ScriptError(Exception):
    """A script that cannot be followed; the message names the turn."""


@dataclass(frozen=True)
class ToolCall:
    """A tool that the agent shall run."""

    name: str
    input: Mapping[str, Any]


@dataclass(frozen=True)
class HttpError:
    """An answer that is an error."""

    status: int
    type: str
    message: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Turn:
    """One answer of the model."""

    say: str
    tool: ToolCall | None = None
    error: HttpError | None = None
    cut: bool = False


@dataclass(frozen=True)
class Script:
    """All answers, in order; the last one is repeated."""

    turns: tuple[Turn, ...]

    def answer(self, request: Mapping[str, Any]) -> Turn:
        """Return the next turn for a request of the Messages API, with the tools' results filled in."""
        if not request.get("tools"):
            return Turn(SIDE_ANSWER)
        results = tool_results(request)
        turn = self.turns[min(len(results), len(self.turns) - 1)]
        if turn.tool is None:
            return turn
        values = {f"result{number}": text for number, text in enumerate(results, 1)}
        return Turn(turn.say, ToolCall(turn.tool.name, _substituted(turn.tool.input, values)))


def load_script(name: str) -> Script:
    """Return the script of that name, or the one in the file of that path."""
    path = Path(name) if name.endswith(".json") else SCRIPTS / f"{name}.json"
    try:
        return parse_script(json.loads(path.read_text()))
    except FileNotFoundError as error:
        names = ", ".join(sorted(file.stem for file in SCRIPTS.glob("*.json")))
        raise ScriptError(
            f"there is no script {name}: give the path of a .json file, or one of {names}"
        ) from error
    except json.JSONDecodeError as error:
        raise ScriptError(f"{path}: {error}") from error


def parse_script(data: Mapping[str, Any]) -> Script:
    """Check a script's data and return it as a Script."""
    turns = tuple(_turn(number, turn) for number, turn in enumerate(data.get("turns", ()), 1))
    if not turns:
        raise ScriptError("a script needs turns")
    if turns[-1].tool is not None:
        raise ScriptError("the last turn calls a tool, so the agent would never end")
    return Script(turns)


def _turn(number: int, data: Mapping[str, Any]) -> Turn:
    if unknown := set(data) - TURN_FIELDS:
        raise ScriptError(f"turn {number}: unknown fields {', '.join(sorted(unknown))}")
    if sum(field in data for field in ("tool", "error", "cut")) > 1:
        raise ScriptError(f"turn {number}: only one of tool, error and cut")
    tool, error = data.get("tool"), data.get("error")
    turn = Turn(
        say=data.get("say", ""),
        tool=ToolCall(tool["name"], tool["input"]) if tool else None,
        error=HttpError(error["status"], error["type"], error["message"], error.get("headers", {}))
        if error
        else None,
        cut=data.get("cut", False),
    )
    if turn.tool is not None:
        _check_references(number, turn.tool.input)
    return turn


def _check_references(number: int, value: Any) -> None:
    known = {f"result{earlier}": "" for earlier in range(1, number)}
    try:
        _substituted(value, known)
    except (KeyError, ValueError) as error:
        raise ScriptError(f"turn {number}: {error} is not the result of an earlier tool") from error


def _substituted(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return Template(value).substitute(values)
    if isinstance(value, Mapping):
        return {key: _substituted(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_substituted(item, values) for item in value]
    return value


def tool_results(request: Mapping[str, Any]) -> list[str]:
    """Return the texts of all tool results in the conversation, in order."""
    return [
        _text(block.get("content", ""))
        for message in request.get("messages", ())
        if message.get("role") == "user" and isinstance(message.get("content"), list)
        for block in message["content"]
        if block.get("type") == "tool_result"
    ]


def _text(content: str | list[Mapping[str, Any]]) -> str:
    texts = [content] if isinstance(content, str) else [block.get("text", "") for block in content]
    # The agent adds remarks of its own to what a tool answered.
    return re.sub(r"<system-reminder>.*?</system-reminder>", "", "\n".join(texts), flags=re.DOTALL).strip()
