"""What an agent's program says about its own end, read from what it printed.

Everything here is a hint: the agent controls every byte. Formats were measured with Claude Code 2.1.197, opencode 1.18.33 and
aider 0.86.2. Only the standard library and attrs: the keeper imports it.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from attrs import frozen

#: More than that of the transcript's end is not looked at.
MAXIMUM_TAIL: Final = 1024 * 1024
_MAXIMUM_EVENTS: Final = 10_000
_MAXIMUM_MESSAGE: Final = 300


@frozen
class AgentResult:
    """How the program says that it ended.

    Attributes:
        finished: whether it says that its work came to an end of its own; None if it says nothing.
        failed: whether it says that it failed.
        reason: one CamelCase word, empty where there is nothing to say; `PermissionDenied` also beside success, since a denied
            edit is none to Claude Code.
        message: its words, at most 300 printable characters.
    """

    finished: bool | None = None
    failed: bool = False
    reason: str = ""
    message: str = ""


def read_result(agent: str, transcript_tail: bytes) -> AgentResult:
    """Return what the program of `agent` says in the end of its transcript; never raises, whatever stands there."""
    reader = _READERS.get(agent)
    if reader is None:
        return AgentResult()
    return reader(transcript_tail[-MAXIMUM_TAIL:].decode("utf-8", "replace").splitlines())


def _of_claude_code(lines: list[str]) -> AgentResult:
    seen = False
    for event in _objects(reversed(lines)):
        if event.get("type") == "result":
            return _claude_code_end(event)
        seen = seen or event.get("type") in {"system", "assistant", "user"}
    return AgentResult(finished=False, reason="NoResult") if seen else AgentResult()


def _claude_code_end(event: Mapping[str, Any]) -> AgentResult:
    subtype, text = _word(event.get("subtype")), _text(event.get("result") or event.get("errors"))
    if event.get("is_error") is not False or subtype != "success":
        reasons = {"error_max_turns": "TurnLimit", "error_max_budget_usd": "CostLimit"}
        status = event.get("api_error_status")
        reason = reasons.get(subtype) or ("ModelError" if status else "AgentFailed")
        return AgentResult(finished=False, failed=True, reason=reason, message=text or _text(subtype))
    denials = event.get("permission_denials")
    if isinstance(denials, list) and denials:
        tools = {_word(denial.get("tool_name")) for denial in denials if isinstance(denial, dict)}
        return AgentResult(finished=True, reason="PermissionDenied", message=_text(", ".join(sorted(tools))))
    return AgentResult(finished=True)


def _of_opencode(lines: list[str]) -> AgentResult:
    """It prints no result of the whole: the last step tells, unless an error came after it."""
    denied = any("auto-rejecting" in line for line in lines if not line.startswith("{"))
    for event in _objects(reversed(lines)):
        if event.get("type") == "error":
            return _opencode_error(event.get("error"))
        if event.get("type") == "step_finish":
            part = event.get("part")
            reason = _word(part.get("reason")) if isinstance(part, dict) else ""
            if denied:
                return AgentResult(finished=False, failed=True, reason="PermissionDenied")
            if reason == "stop":
                return AgentResult(finished=True)
            return AgentResult(finished=False, reason="Unfinished", message=_text(f"last step: {reason}"))
        if event.get("type") in {"step_start", "tool_use", "text"}:
            return AgentResult(finished=False, reason="Unfinished")
    return AgentResult()


def _opencode_error(error: Any) -> AgentResult:
    data = error.get("data") if isinstance(error, dict) else None
    data = data if isinstance(data, dict) else {}
    name = _word(error.get("name")) if isinstance(error, dict) else ""
    reason = "ModelError" if name == "APIError" or "statusCode" in data else "AgentFailed"
    return AgentResult(
        finished=False, failed=True, reason=reason, message=_text(data.get("message")) or _text(name)
    )


#: What ends aider's work without an edit; it exits with 0 all the same. A retry or an edit that follows takes it back.
_AIDER_FAILURES: Final = (
    (re.compile(r"litellm\.\w{1,80}(Error|Exception|Timeout)\b"), "ModelError"),
    (re.compile(r"The LLM did not conform to the edit format"), "EditFormat"),
    (re.compile(r"Only \d{1,3} reflections allowed"), "EditFormat"),
    (re.compile(r"(Unable to list files in git repo|Unable to write file)"), "AgentFailed"),
)
#: Fills the line that a broken answer has left.
_AIDER_FILL: Final = " " * 8
_AIDER_RECOVERIES: Final = re.compile(r"(Retrying in [\d.]+ seconds|Applied edit to )")


def _of_aider(lines: list[str]) -> AgentResult:
    failure: AgentResult | None = None
    answered = False
    for line in lines:
        if _AIDER_RECOVERIES.match(line):
            failure, answered = None, answered or line.startswith("Applied")
        elif line.startswith("Tokens: "):
            answered = True
        else:
            failure = failure or _aider_failure(line)
    return failure or AgentResult(finished=True if answered else None)


def _aider_failure(line: str) -> AgentResult | None:
    words = line.rpartition(_AIDER_FILL)[2]
    for pattern, reason in _AIDER_FAILURES:
        if pattern.match(words):
            return AgentResult(finished=False, failed=True, reason=reason, message=_text(words))
    return None


_READERS: Final[Mapping[str, Callable[[list[str]], AgentResult]]] = {
    "claude-code": _of_claude_code,
    "opencode": _of_opencode,
    "aider": _of_aider,
}


def _objects(lines: Iterator[str]) -> Iterator[Mapping[str, Any]]:
    """The JSON objects among the lines."""
    written = (line for line in lines if line.startswith("{") and line.endswith("}"))
    for line in islice(written, _MAXIMUM_EVENTS):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _text(value: Any) -> str:
    """Words for a message: printable, on one line, and short."""
    if isinstance(value, list):
        value = "; ".join(item for item in value[:5] if isinstance(item, str))
    if not isinstance(value, str):
        return ""
    printable = "".join(
        character if character.isprintable() else " " for character in value[: 4 * _MAXIMUM_MESSAGE]
    )
    return " ".join(printable.split())[:_MAXIMUM_MESSAGE]
