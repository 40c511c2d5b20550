"""How a turn looks to the agent that asks: as a call of a tool that it offers, as an edit in a text, or as words.

An agent that offers tools gets one step in each answer. aider offers none and asks for edits between SEARCH and REPLACE: it
gets `write` as such an edit, and where the script goes on after that, an edit that cannot be applied, upon which aider asks
again (three times at most). Whoever offers nothing is only told a few words.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hack.model_server.conversation import (
    BYTES_PER_TOKEN,
    Answer,
    Conversation,
    ToolCall,
    Usage,
    tokens,
)
from hack.model_server.script import Script, ScriptError, Turn, Write, substituted

# What the agent asks beside its work, such as a title for the session, comes without tools.
SIDE_ANSWER = "Sample work"
# How aider's instructions, and no others, call an edit.
ASKS_FOR_EDITS = "*SEARCH/REPLACE block*"
WORKING_DIRECTORY = re.compile(r"[Ww]orking directory: (/\S*)")
# Breaks off in the middle of an edit, so that aider asks for it again.
HALF_AN_EDIT = "<<<<<<< SEARCH\n"


@dataclass(frozen=True)
class Reply:
    """The turn whose it is, its number from 0, and the answer unless the turn goes wrong."""

    number: int
    turn: Turn
    answer: Answer


def reply(script: Script, conversation: Conversation) -> Reply:
    """Return what the script says next. Raises ScriptError if the agent offers no tool for it."""
    if conversation.tools:
        number = script.number_after(len(conversation.results))
        turn = script.turns[number]
        return Reply(number, turn, _answer(turn, conversation, (turn.say,), _call(turn, conversation)))
    if ASKS_FOR_EDITS in conversation.everything:
        number = _after_what_was_said(script, conversation)
        return Reply(
            number, script.turns[number], _answer(script.turns[number], conversation, _edits(script, number))
        )
    number = min(len(conversation.said), len(script.turns) - 1)
    turn = script.turns[number]
    return Reply(
        number,
        turn,
        _answer(turn, conversation, (SIDE_ANSWER if turn.has_step else turn.say or SIDE_ANSWER,)),
    )


def _answer(
    turn: Turn, conversation: Conversation, texts: tuple[str, ...], tool: ToolCall | None = None
) -> Answer:
    said = tokens([*texts, tool.input if tool is not None else {}])
    usage = turn.usage or Usage(len(conversation.everything) // BYTES_PER_TOKEN + 1, said)
    return Answer(conversation.model, conversation.identity, texts, tool, usage, conversation.usage_wanted)


def _call(turn: Turn, conversation: Conversation) -> ToolCall | None:
    if turn.tool is not None:
        values = {f"result{number}": _trimmed(text) for number, text in enumerate(conversation.results, 1)}
        return ToolCall(turn.tool.name, substituted(turn.tool.input, values))
    if turn.write is not None:
        return _write(turn.write, conversation)
    return _shell(turn.run, conversation) if turn.run else None


def _write(write: Write, conversation: Conversation) -> ToolCall:
    """A call of the tool that writes files, which wants a whole path, or else of the shell."""
    fields = {"Write": "file_path", "write": "filePath"}
    name = next((name for name in conversation.tools if name in fields), None)
    directory = WORKING_DIRECTORY.search(conversation.everything)
    if name is None or directory is None:
        command = f"cat >{shlex.quote(write.path)} <<'END'\n{write.text}END"
        return _shell(command, conversation)
    return ToolCall(name, {fields[name]: f"{directory[1].rstrip('/')}/{write.path}", "content": write.text})


def _shell(command: str, conversation: Conversation) -> ToolCall:
    name = next((name for name in conversation.tools if name.lower() in {"bash", "shell"}), None)
    if name is None:
        raise ScriptError(f"the request offers no shell to run {command!r}")
    arguments: Mapping[str, Any] = {"command": command, "description": "A step of the script"}
    return ToolCall(name, arguments)


def _trimmed(text: str) -> str:
    """The text of a result, without the remarks that the agent adds."""
    return re.sub(r"<system-reminder>.*?</system-reminder>", "", text, flags=re.DOTALL).strip()


def _after_what_was_said(script: Script, conversation: Conversation) -> int:
    """The number of the first turn whose text is not part of the conversation."""
    said = {" ".join(text.split()) for text in conversation.said}
    for number in range(len(script.turns)):
        if " ".join("".join(_edits(script, number)).split()) not in said:
            return number
    return len(script.turns) - 1


def _edits(script: Script, number: int) -> tuple[str, ...]:
    """The texts of a turn; a repeated one is one answer that takes as long."""
    turn = script.turns[number]
    goes_on = number + 2 < len(script.turns)  # the last turn only says that the work is done
    edits = ""
    if turn.write is not None:
        edits = _edit(turn.write, "")
        if goes_on:
            edits += _edit(turn.write, "this line is not there\n")
    elif turn.has_step and goes_on:
        edits = HALF_AN_EDIT
    return (*[f"{turn.say}\n"] * (turn.repeat - 1), f"{turn.say}\n\n{edits}")


def _edit(write: Write, found: str) -> str:
    return f"{write.path}\n```\n<<<<<<< SEARCH\n{found}=======\n{write.text}>>>>>>> REPLACE\n```\n\n"
