"""The commit that work goes on from where other work comes before it: a dependency's head, or a merge of several."""

from collections.abc import Mapping, Sequence
from typing import Final

from gastown_operator.workload.errors import AttemptError, GitError
from gastown_operator.workload.git import Git, printable
from gastown_operator.workload.message import Outcome

_MAXIMUM_FILES: Final = 8

Head = tuple[str, str]
"""Branch and commit of a dependency."""


def merged(git: Git, heads: Sequence[Head], committer: Mapping[str, str]) -> str:
    """One commit that contains every head; the same one for the same heads, whenever and wherever it is made.

    Merges are made as objects, without a work tree, hooks or merge drivers.

    Args:
        git: a repository with the heads and their histories.
        heads: at least one; those that another one contains are left out.
        committer: GIT_* variables with a name and an address.

    Raises:
        AttemptError: two of them change the same lines.
    """
    chosen = _independent(git, heads)
    branches, commit = [chosen[0][0]], chosen[0][1]
    for branch, head in chosen[1:]:
        tree = _tree(git, (branches, commit), (branch, head))
        branches.append(branch)
        commit = _commit(git, tree, (commit, head), branches, committer)
    return commit


def _independent(git: Git, heads: Sequence[Head]) -> list[Head]:
    by_commit = {commit: branch for branch, commit in reversed(heads)}
    if len(by_commit) > 1:
        kept = set(git.line("merge-base", "--independent", *by_commit).split())
        by_commit = {commit: branch for commit, branch in by_commit.items() if commit in kept}
    return [(branch, commit) for commit, branch in reversed(by_commit.items())]


def _tree(git: Git, ours: tuple[Sequence[str], str], theirs: Head) -> str:
    """The tree of a merge; https://git-scm.com/docs/git-merge-tree/2.39.0#OUTPUT."""
    call = ("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours[1], theirs[1])
    status, output, errors = git.attempt(*call)
    tree, *files = [part for part in printable(output.replace(b"\0", b"\n")).split("\n") if part] or [""]
    if status == 0:
        return tree
    unrelated = b"unrelated histories" in errors
    if status != 1 and not unrelated:
        raise GitError("merge-tree", status, printable(errors))
    where = "they have no commit in common" if unrelated else f"both change {_listed(files)}"
    names = ", ".join(f'"{branch}"' for branch in ours[0])
    raise AttemptError(
        Outcome.CONFIG_ERROR,
        "DependencyConflict",
        f'the branches {names} and "{theirs[0]}", which this work depends on, cannot be merged: {where}; '
        "merge one into the other, or let one depend on the other",
    )


def _commit(
    git: Git, tree: str, parents: Sequence[str], branches: Sequence[str], committer: Mapping[str, str]
) -> str:
    dates = git.line("show", "-s", "--format=%ct", *parents).split()
    date = f"@{max(map(int, dates))} +0000"
    identity = {**committer, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    message = f"Merge what this work depends on\n\n{', '.join(branches)}\n"
    of = [part for parent in parents for part in ("-p", parent)]
    return (
        git.with_environment(identity, {})
        .run("commit-tree", tree, *of, stdin=message.encode())
        .decode()
        .strip()
    )


def _listed(files: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(files))
    more = len(distinct) - _MAXIMUM_FILES
    names = ", ".join(name[:80] for name in distinct[:_MAXIMUM_FILES])
    return f"{names} and {more} more" if more > 0 else names
