"""What can go wrong in a way that the user can act on."""

from pathlib import Path


class BuildError(Exception):
    """The message says what to do."""


class CommandError(BuildError):
    """A program failed; the message ends with the last lines of its log."""

    def __init__(self, what: str, status: int, log: Path, tail: list[str]) -> None:
        last = "\n".join(f"    {line}" for line in tail)
        super().__init__(f"{what} failed with status {status}; its log is {log} and ends:\n{last}")
