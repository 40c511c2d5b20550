"""What git knows of a commit."""

from gastown_operator.workload.git import Git


def is_ancestor(git: Git, older: str, newer: str) -> bool:
    """Whether `newer` contains `older`."""
    return git.attempt("merge-base", "--is-ancestor", older, newer)[0] == 0


def has_tree(git: Git, commit: str) -> bool:
    """Whether a commit is there with its tree: alone it proves nothing when objects were deleted."""
    return git.attempt("cat-file", "-e", f"{commit}^{{tree}}")[0] == 0


def message(git: Git, commit: str) -> str:
    """The message of a commit. Raises GitError."""
    return git.run("show", "-s", "--format=%B", commit).decode("utf-8", "replace")


def parents(git: Git, commit: str) -> list[str]:
    """The parents of a commit, in their order. Raises GitError."""
    return git.line("show", "-s", "--format=%P", commit).split()
