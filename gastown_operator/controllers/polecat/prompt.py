"""The words that the agent gets, and the title of a commit made for it."""

from collections.abc import Sequence

from gastown_operator.api.polecat import Polecat
from gastown_operator.controllers.polecat.dependencies import Base
from gastown_operator.controllers.polecat.resolve import Resolved

MAXIMUM_TITLE = 72
MAXIMUM_ATTEMPTS = 5


def title(polecat: Polecat) -> str:
    """First line of a commit message: the first line of the task, else the bead."""
    first = next((line.strip() for line in polecat.spec.task_description.splitlines() if line.strip()), "")
    fallback = (
        f"Work on {polecat.spec.bead_id}" if polecat.spec.bead_id else f"Work of {polecat.metadata.name}"
    )
    text = first or fallback
    return text if len(text) <= MAXIMUM_TITLE else text[: MAXIMUM_TITLE - 1].rstrip() + "…"


def prompt(polecat: Polecat, resolved: Resolved, bases: Sequence[Base] = ()) -> str:
    """The task with what the agent must know of its surroundings, of others' work and of earlier attempts."""
    bead = f" (issue {polecat.spec.bead_id})" if polecat.spec.bead_id else ""
    task = polecat.spec.task_description.strip() or f"Work on issue {polecat.spec.bead_id}."
    return (
        f"# Task{bead}\n\n{task}\n\n"
        "# How to work\n\n"
        f"- You are in a clone of the repository, on branch `{resolved.work_branch}`, which started from "
        f"`{resolved.base_branch}`.\n"
        "- Commit your work on this branch, with messages that say why. What you leave uncommitted is committed for you.\n"
        "- Do not push: your commits are pushed when you end, and you hold no credential.\n"
        "- Nobody can answer questions: decide, and say in the commit message what you decided.\n"
        "- End when the task is done. If it cannot be done, end with a non-zero exit status and say why.\n"
        f"{_others_work(polecat, bases)}{_attempts(polecat)}"
    )


def _others_work(polecat: Polecat, bases: Sequence[Base]) -> str:
    """What it builds upon: clone has put it below the branch."""
    if not bases:
        return ""
    lines = "".join(f"- branch `{base.branch}`, at {base.commit[:12]}\n" for base in bases)
    return (
        f"\n# What this builds on\n\nYour branch starts from the work of {', '.join(polecat.spec.depends_on)}, which is not merged "
        f"yet; `git log` shows it:\n\n{lines}"
    )


def _attempts(polecat: Polecat) -> str:
    """How earlier attempts ended; what they left is told by clone, which finds it."""
    ended = polecat.status.attempts[-MAXIMUM_ATTEMPTS:]
    if not ended:
        return ""
    lines = "".join(f"- attempt {attempt.number}: {attempt.outcome}, {attempt.reason}\n" for attempt in ended)
    return f"\n# How earlier attempts ended\n\n{lines}"
