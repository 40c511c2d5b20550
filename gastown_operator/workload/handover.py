"""What the agent is told of earlier attempts, below its prompt."""

from gastown_operator.workload.clone_record import CloneRecord

_HEADING = "\n\n## Earlier attempts\n\n"


def handover(record: CloneRecord) -> str:
    """A section for the end of the prompt; empty where the work starts from the base."""
    commits = _commits(record)
    match record.resumed:
        case "checkpoint":
            changes = (
                "The work tree holds the uncommitted changes that it had: `git status` and `git diff` show them. "
                "They may be half done; check them before you build on them."
            )
            return f"{_HEADING}An earlier attempt at this task was cut off. {commits} {changes}\n"
        case "branch":
            return f"{_HEADING}This branch was worked on before. {commits} Go on from there.\n"
        case _:
            return ""


def _commits(record: CloneRecord) -> str:
    if record.start == record.base:
        return "It left no commits."
    return f"What was committed is in `{record.base[:12]}..{record.start[:12]}`; `git log` shows it."
