"""What people see of an agent's output."""

import json

import pytest

from hack.demo_run.transcript import WIDTH, told


def spoken(*blocks: dict[str, object]) -> str:
    """Return a line of Claude Code's output with an answer of the model."""
    return json.dumps({"type": "assistant", "message": {"role": "assistant", "content": blocks}})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (spoken({"type": "text", "text": "One.\n\nTwo."}), ["One.", "Two."]),
        (
            spoken(
                {
                    "type": "tool_use",
                    "name": "Bash",
                    "input": {"command": "cd x &&\n  ls", "description": "d"},
                }
            ),
            ["  → Bash: cd x && ls"],
        ),
        (
            spoken(
                {"type": "tool_use", "name": "Edit", "input": {"old_string": "a", "file_path": "/w/a.py"}}
            ),
            ["  → Edit: /w/a.py"],
        ),
        (spoken({"type": "tool_use", "name": "Other", "input": {}}), ["  → Other:"]),
        (json.dumps({"type": "system", "subtype": "init", "tools": ["Bash"]}), []),
        (json.dumps({"type": "result", "is_error": False, "result": "said already"}), []),
        (json.dumps({"type": "result", "is_error": True, "result": "Overloaded"}), ["failed: Overloaded"]),
        ("Ran 7 tests in 0.001s", ["Ran 7 tests in 0.001s"]),
        ('{"msg": "cloned"}', ['{"msg": "cloned"}']),
        ("[1, 2]", ["[1, 2]"]),
        ("", []),
    ],
)
def test_an_agents_line_becomes_lines_for_people(line: str, expected: list[str]) -> None:
    assert list(told(line)) == expected


def test_nothing_that_an_agent_prints_reaches_the_terminal_as_a_command() -> None:
    assert list(told("\x1b[2Jred\tcell\x07")) == ["�[2Jred\tcell�"]


def test_long_lines_are_cut() -> None:
    (line,) = told("x" * 1000)
    assert len(line) == WIDTH
    assert line.endswith("…")
