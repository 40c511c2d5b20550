"""Writes docs/reference/options.md from the operator's parser: `python -m hack.options_page [--check]`."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from gastown_operator.command_line import operator_parser
from hack.render import ELSEWHERE

PAGE = Path(__file__).resolve().parents[1] / "docs/reference/options.md"
COMMAND = "python -m hack.options_page"
HEAD = f"""\
# Options of the operator

Written by `{COMMAND}` from the operator's own parser. `make deploy ARGS="--https-proxy http://proxy.example.com:3128 --metrics-namespace monitoring"`
sets them; what the operator would not take is refused before anything is applied. Where a variable of `make deploy` is named instead, more than the
option belongs to it (rights, a volume, an image), and ARGS does not take it. A later `make deploy` without a variable takes away what it had set.

`make deploy MODEL_PRICES=FILE` puts the file into the ConfigMap `gastown-model-prices` of gastown-system, after the operator's parser has read it, and
mounts that. New contents make new pods of the operator.
"""


def page() -> str:
    """Return the whole page."""
    return HEAD + "".join(part for group in operator_parser()._action_groups for part in _group(group))  # noqa: SLF001


def _group(group: "argparse._ArgumentGroup") -> Iterator[str]:
    """Yield the table of a group of options; argparse has no public way to them."""
    actions = [each for each in group._group_actions if each.default != argparse.SUPPRESS]  # noqa: SLF001
    if not actions:
        return
    title = "General" if group.title == "options" else (group.title or "")
    yield f"\n## {title[0].upper()}{title[1:]}\n\n| option | set by | meaning |\n|---|---|---|\n"
    for action in actions:
        yield f"| `{_usage(action)}` | {_set_by(action)} | {_meaning(action)} |\n"


def _usage(action: argparse.Action) -> str:
    value = action.metavar or ("\\|".join(map(str, action.choices)) if action.choices else "")
    return " ".join(filter(None, [action.option_strings[-1], str(value) if action.nargs != 0 else ""]))


def _set_by(action: argparse.Action) -> str:
    name = action.option_strings[-1]
    if name == "--leader-elect":
        return "always"
    return f"`{ELSEWHERE.get(name, 'ARGS')}`"


def _meaning(action: argparse.Action) -> str:
    """Return the help, with the default where it does not say it."""
    text = (action.help or "").replace("|", "\\|")
    if action.nargs == 0 or action.required or "default" in text:
        return text
    return f"{text} (default: {action.default or 'none'})"


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or with `--check` compare it; return the exit status."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 if the page is not up to date")
    if not parser.parse_args(arguments).check:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    sys.stderr.write(f"{PAGE.name}: differs from the operator's parser; run `{COMMAND}`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
