"""The wrapper's report of the agent's end: a hint, since the agent can write the same file."""

import re
from pathlib import Path
from typing import Final

import attrs

from gastown_operator.workload.errors import UnreadableRepositoryError
from gastown_operator.workload.plain_files import read_beneath

_REPORT: Final = re.compile(rb"code=(\d{1,3}) stopped=(yes|no)(?: setup=(copy|\d{1,3}))?\n?")


@attrs.frozen
class WrapperReport:
    """How the agent's processes ended.

    Attributes:
        code: exit status; None when there is no report.
        stopped: whether the agent was told to end.
        setup: why the agent was not started: `copy`, or the setup command's exit status; empty if it was.
    """

    code: int | None = None
    stopped: bool = False
    setup: str = ""

    @property
    def clean(self) -> bool:
        """Whether the agent ended by itself, with exit status 0."""
        return self.code == 0 and not self.stopped


def read(hints: Path) -> WrapperReport:
    """The report; one that says nothing where there is none, or something else in its place."""
    try:
        content = read_beneath(hints, ["exit"], 256) or b""
    except (OSError, UnreadableRepositoryError):
        # The agent put something else there: then nothing is known.
        content = b""
    match = _REPORT.fullmatch(content)
    if match is None:
        return WrapperReport()
    return WrapperReport(int(match[1]), match[2] == b"yes", (match[3] or b"").decode("ascii"))
