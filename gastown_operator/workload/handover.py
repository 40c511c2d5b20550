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
            beside = _beside(record)
            return f"{_HEADING}An earlier attempt at this task was cut off. {commits} {changes}{beside}\n"
        case "branch":
            return f"{_HEADING}This branch was worked on before. {commits} Go on from there.\n"
        case _:
            return ""


def _beside(record: CloneRecord) -> str:
    """What the branch cannot hold: whether it is there again, and where what is not can be looked at."""
    text = ""
    if record.put_back:
        text += f" Back in place as well: {', '.join(record.put_back)} (`git lfs checkout` writes such contents to the work tree)."
    if record.left_aside:
        text += f" Not put back, but still to be had: {'; '.join(record.left_aside)}."
    return text


def _commits(record: CloneRecord) -> str:
    if record.start == record.base:
        return "It left no commits."
    return f"What was committed is in `{record.base[:12]}..{record.start[:12]}`; `git log` shows it."
