"""Writes the list of attempts into docs/security.md: `python -m tests.escape.table`."""

from pathlib import Path
from typing import Final

from tests.escape.attempts import GROUPS

PAGE: Final = Path(__file__).parents[2] / "docs" / "security.md"
BEGIN: Final = "<!-- the escape suite: written by `python -m tests.escape.table` -->\n"
END: Final = "<!-- end of the escape suite -->\n"


def rendered() -> str:
    """The list as Markdown."""
    parts = []
    for title, attempts in GROUPS:
        rows = [
            f"| {attempt.name} | {attempt.attack} | {attempt.protected} | {attempt.unprotected} |"
            for attempt in attempts
        ]
        head = f"### {title}\n\n| attempt | what is tried | what comes of it | without the protection |\n|---|---|---|---|"
        parts.append("\n".join([head, *rows]))
    return "\n" + "\n\n".join(parts) + "\n\n"


def filled(page: str) -> str:
    """The page with the list of now. Raises ValueError for a page that has no place for it."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + rendered() + END + after


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
