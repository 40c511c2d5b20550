"""Errors of the programs in a polecat pod; every one carries what the operator's user will read."""

from pathlib import Path

from gastown_operator.workload.message import Outcome


class WorkloadError(Exception):
    """Base of all errors raised on purpose here."""


class AttemptError(WorkloadError):
    """Ends an attempt with an outcome, a reason and a message for a person.

    Args:
        outcome: `CONFIG_ERROR` where only a person can help, `INFRASTRUCTURE` where trying again may.
        reason: CamelCase.
        message: what happened and what to do; free of secrets.
    """

    def __init__(self, outcome: Outcome, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.outcome = outcome
        self.reason = reason
        self.message = message


class CheckpointRefusedError(AttemptError):
    """The server can be reached, but its rules forbid the checkpoint ref.

    Args:
        ref: the checkpoint ref.
        said: the server's words.
    """

    def __init__(self, ref: str, said: str) -> None:
        text = f"the server refused {ref} ({said}); allow pushes to it, or set the rig's spec.refPrefix"
        super().__init__(Outcome.CONFIG_ERROR, "CheckpointRejected", text)


class GitError(WorkloadError):
    """A git command failed.

    Args:
        command: git's subcommand.
        status: its exit status; None when its deadline passed.
        stderr: what it printed, with control characters removed.
    """

    def __init__(self, command: str, status: int | None, stderr: str) -> None:
        how = "took too long" if status is None else f"ended with status {status}"
        super().__init__(f"git {command} {how}: {stderr.strip()[-400:]}")
        self.command = command
        self.status = status
        self.stderr = stderr


class UnreadableRepositoryError(WorkloadError):
    """The agent's repository cannot be read as plain files.

    Args:
        path: what could not be read.
        cause: why.
    """

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"{path}: {cause}")
