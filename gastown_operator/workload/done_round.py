"""The last word of a round whose agent had succeeded, where that word was lost."""

import attrs

from gastown_operator.workload.clone_record import CloneRecord
from gastown_operator.workload.git import Git
from gastown_operator.workload.message import Outcome, TerminationMessage
from gastown_operator.workload.settings import Settings


def report_done(record: CloneRecord, git: Git, settings: Settings) -> TerminationMessage:
    """The message of a round whose done ref was on the remote before the attempt started."""
    commits = int(git.line("rev-list", "--count", f"{record.base}..{record.done}"))
    message = TerminationMessage(
        Outcome.SUCCEEDED,
        "Succeeded",
        "an earlier attempt of this round had pushed the work",
        branch=record.done_branch,
        base=record.base,
        head=record.done,
        commits=commits,
        pushed=bool(record.done_branch),
    )
    if commits == 0:
        text = "an earlier attempt of this round ended without a change"
        return attrs.evolve(
            message, outcome=Outcome.NO_CHANGES, reason="NoChanges", message=text, pushed=False
        )
    if not record.done_branch:
        text = f"the done ref {settings.refs.done} is on the server, but no branch holds it any more"
        return attrs.evolve(message, outcome=Outcome.CONFIG_ERROR, reason="BranchMissing", message=text)
    return message
