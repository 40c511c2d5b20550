"""What git knows of a commit."""

from typing import Final

from gastown_operator.workload.git import Git

#: Digits of a time that git makes a commit with.
_MAXIMUM_DIGITS: Final = 11


def is_ancestor(git: Git, older: str, newer: str) -> bool:
    """Whether `newer` contains `older`."""
    return git.attempt("merge-base", "--is-ancestor", older, newer)[0] == 0


def has_tree(git: Git, commit: str) -> bool:
    """Whether it is a commit that is there with its tree: alone it proves nothing when objects were deleted."""
    asked = f"{commit}^{{commit}}\n{commit}^{{tree}}\n".encode()
    status, found, _ = git.attempt("cat-file", "--batch-check=%(objectname)", stdin=asked)
    # What leads to a commit, as a tag does, has another name than that.
    return status == 0 and found.startswith(f"{commit}\n".encode()) and not found.endswith(b"missing\n")


def message(git: Git, commit: str) -> str:
    """The message of a commit. Raises GitError."""
    return git.run("show", "-s", "--format=%B", commit).decode("utf-8", "replace")


def parents(git: Git, commit: str) -> list[str]:
    """The parents of a commit, in their order. Raises GitError."""
    return git.line("show", "-s", "--format=%P", commit).split()


def time_of(git: Git, commit: str) -> int:
    """When a commit was made, in seconds since 1970; 0 where it says no time that another commit can have. Raises GitError."""
    text = git.line("show", "-s", "--format=%ct", commit)
    return int(text) if text.isdigit() and len(text) <= _MAXIMUM_DIGITS else 0
