"""Scripts: what the model does, turn by turn, as data.

A script is a JSON object `{"description": …, "turns": [turn, …]}`. A turn has `say`, the text of the answer, and at most one
step for the agent to take:

- `run`: a shell command;
- `write`: `{"path": …, "text": …}`, a new file, relative to the work tree;
- `tool`: `{"name": …, "input": {…}}`, a tool of one certain agent. `$result1`, `$result2`, … in the strings of the input
  stand for the trimmed text that the first, second, … tool answered; `$$` is a dollar sign.

A turn without a step ends the agent's work. How `run` and `write` look depends on what the agent offers (`steps`). A turn can
also go wrong, in at most one way:

- `error`: `{"status": …, "type": …, "message": …, "headers": {…}}`, an answer of that HTTP status instead of a message, with
  `"html": true` as a page;
- `cut`: true, the connection ends in the middle of the answer;
- `unfinished`: true, the stream ends properly, but nothing in it says that the answer is complete;
- `stall`: `"before"` or `"middle"` of the answer: nothing more comes.

With `"times": N` it goes wrong only the first N times that a conversation asks for it. And a turn can have `usage`, `{"input": …, "output": …, "cache_read": …, "cache_write": …}` in place of what was really said,
`pause`, seconds before the answer, and `repeat`, how many times the turn comes.

Which turn is next follows from the request alone: it is the one after as many turns as the conversation has tool results. So
any number of agents can talk to one server, and it has nothing to lose (`times` is the exception).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from string import Template
from typing import Any

from hack.model_server.conversation import HttpError, ToolCall, Usage

SCRIPTS = Path(__file__).parent / "scripts"
STEPS = ("tool", "run", "write")
FAULTS = ("error", "cut", "unfinished", "stall")
TURN_FIELDS = {"say", "usage", "pause", "repeat", "times", *STEPS, *FAULTS}


class ScriptError(Exception):
    """A script that cannot be followed; the message names the turn."""


class Fault(StrEnum):
    """How an answer goes wrong on its way."""

    CUT = "cut"
    UNFINISHED = "unfinished"
    STALL_BEFORE = "stall before"
    STALL_MIDDLE = "stall middle"


@dataclass(frozen=True)
class Write:
    """A file that the agent shall write."""

    path: str
    text: str


@dataclass(frozen=True)
class Turn:
    """One answer of the model; `times` is how often it goes wrong in a conversation, 0 for always."""

    say: str
    tool: ToolCall | None = None
    run: str = ""
    write: Write | None = None
    error: HttpError | None = None
    times: int = 0
    fault: Fault | None = None
    usage: Usage | None = None
    pause: float = 0.0
    repeat: int = 1

    @property
    def has_step(self) -> bool:
        """Whether the agent has something to do, and then asks again."""
        return bool(self.tool or self.run or self.write)


@dataclass(frozen=True)
class Script:
    """All answers, in order; the last one is repeated."""

    turns: tuple[Turn, ...]

    def number_after(self, steps: int) -> int:
        """Return the number of the turn, from 0, that follows so many steps."""
        for number, turn in enumerate(self.turns):
            if steps < turn.repeat:
                return number
            steps -= turn.repeat
        return len(self.turns) - 1


def script_file(name: str) -> Path | None:
    """Return the file of a script among those that are shipped; a dash in a name is an underscore in the file's."""
    path = SCRIPTS / f"{name.replace('-', '_')}.json"
    return path if re.fullmatch(r"[a-z0-9_-]+", name) and path.exists() else None


def load_script(name: str) -> Script:
    """Return the script of that name, or the one in the file of that path."""
    path = Path(name) if name.endswith(".json") else script_file(name)
    if path is None or not path.exists():
        names = ", ".join(sorted(file.stem for file in SCRIPTS.glob("*.json")))
        raise ScriptError(f"there is no script {name}: give the path of a .json file, or one of {names}")
    try:
        return parse_script(json.loads(path.read_text()))
    except json.JSONDecodeError as error:
        raise ScriptError(f"{path}: {error}") from error


def parse_script(data: Mapping[str, Any]) -> Script:
    """Check a script's data and return it as a Script."""
    turns = tuple(_turn(number, turn) for number, turn in enumerate(data.get("turns", ()), 1))
    if not turns:
        raise ScriptError("a script needs turns")
    if turns[-1].has_step:
        raise ScriptError("the last turn has a step, so the agent would never end")
    return Script(turns)


def _turn(number: int, data: Mapping[str, Any]) -> Turn:
    if unknown := set(data) - TURN_FIELDS:
        raise ScriptError(f"turn {number}: unknown fields {', '.join(sorted(unknown))}")
    for fields in (STEPS, FAULTS):
        if sum(field in data for field in fields) > 1:
            raise ScriptError(f"turn {number}: only one of {', '.join(fields)}")
    tool, write, usage, error = (data.get(field) for field in ("tool", "write", "usage", "error"))
    turn = Turn(
        say=data.get("say", ""),
        tool=ToolCall(tool["name"], tool["input"]) if tool else None,
        run=data.get("run", ""),
        write=Write(write["path"], write["text"]) if write else None,
        error=_error(error) if error else None,
        times=data.get("times", 0),
        fault=_fault(number, data),
        usage=Usage(**usage) if usage else None,
        pause=data.get("pause", 0.0),
        repeat=data.get("repeat", 1),
    )
    if turn.tool is not None:
        _check_references(number, turn.tool.input)
    return turn


def _error(data: Mapping[str, Any]) -> HttpError:
    headers = data.get("headers", {})
    return HttpError(data["status"], data["type"], data["message"], headers, data.get("html", False))


def _fault(number: int, data: Mapping[str, Any]) -> Fault | None:
    if "stall" in data:
        if data["stall"] not in {"before", "middle"}:
            raise ScriptError(f"turn {number}: a stall is before an answer or in its middle")
        return Fault(f"stall {data['stall']}")
    return next((Fault(name) for name in ("cut", "unfinished") if data.get(name)), None)


def _check_references(number: int, value: Any) -> None:
    known = {f"result{earlier}": "" for earlier in range(1, number)}
    try:
        substituted(value, known)
    except (KeyError, ValueError) as error:
        raise ScriptError(f"turn {number}: {error} is not the result of an earlier tool") from error


def substituted(value: Any, values: Mapping[str, str]) -> Any:
    """Return JSON data with the values in place of their names."""
    if isinstance(value, str):
        return Template(value).substitute(values)
    if isinstance(value, Mapping):
        return {key: substituted(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [substituted(item, values) for item in value]
    return value
