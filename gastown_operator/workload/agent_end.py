"""How the agent ended, by the report of its wrapper: a hint, since the agent can write the same file."""

import re
from pathlib import Path

import attrs

from gastown_operator.workload.errors import UnreadableRepositoryError
from gastown_operator.workload.message import Outcome
from gastown_operator.workload.plain_files import read_beneath

_REPORT = re.compile(rb"code=(\d{1,3}) stopped=(yes|no)\n?")


@attrs.frozen
class AgentEnd:
    """The wrapper's report.

    Attributes:
        code: exit status; None when there is no report.
        stopped: whether the agent was told to end.
        cause: why the keeper asked it to stop; empty if it did not.
    """

    code: int | None
    stopped: bool
    cause: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether the agent ended by itself, with exit status 0."""
        return self.code == 0 and not self.stopped

    @property
    def outcome(self) -> Outcome:
        """The outcome, where nothing else decides it."""
        if self.succeeded:
            return Outcome.SUCCEEDED
        if self.cause == "deadline":
            return Outcome.DEADLINE_EXCEEDED
        if self.stopped or self.code is None:
            return Outcome.INTERRUPTED
        return Outcome.AGENT_ERROR

    @property
    def reason(self) -> str:
        """CamelCase reason for a condition."""
        match self.outcome:
            case Outcome.AGENT_ERROR:
                return "AgentExitCode"
            case Outcome.INTERRUPTED if self.code is None and not self.stopped:
                return "AgentEndUnknown"
            case outcome:
                return str(outcome)

    @property
    def text(self) -> str:
        """What happened, for a person."""
        if self.succeeded:
            return "the agent ended with exit status 0"
        if self.cause == "deadline":
            return "the agent was stopped at its deadline (spec.kubernetes.activeDeadlineSeconds)"
        if self.stopped:
            return "the pod was told to end while the agent was working"
        if self.code is None:
            return "the agent's wrapper left no report: its container was killed or never started"
        return f"the agent ended with exit status {self.code}; see its log: kubectl logs POD -c agent"


def read(hints: Path, control: Path) -> AgentEnd:
    """What is known of the agent's end."""
    try:
        content = read_beneath(hints, ["exit"], 256) or b""
    except (OSError, UnreadableRepositoryError):
        # The agent put something else there: then nothing is known.
        content = b""
    stop = control / "stop"
    cause = stop.read_text().strip() if stop.exists() else ""
    match = _REPORT.fullmatch(content)
    if match is None:
        return AgentEnd(None, stopped=False, cause=cause)
    return AgentEnd(int(match[1]), stopped=match[2] == b"yes", cause=cause)
