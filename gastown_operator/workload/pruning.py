"""Removes objects of earlier checkpoints from the keeper's repository, which else grows by every version of every large file."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from gastown_operator.workload.git import Git

#: Less than that is not worth the look at what is needed.
WORTH: Final = 4 * 1024 * 1024
_TIMEOUT: Final = 60.0


@attrs.define
class Pruning:
    """Keeps the repository's own loose objects few.

    `git prune` would walk the agent's whole history for it, which can take minutes. Only objects that came since the start are
    removed: clone may have left commits that no server has. Call it while no git command runs and no snapshot is being taken.

    Args:
        git: the keeper's repository.
        behind: commits beyond which nothing is the keeper's own.
        worth: bytes of objects that came since, below which nothing is done.
    """

    git: Git
    behind: tuple[str, ...] = ()
    worth: int = WORTH
    _before: frozenset[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """What is there already stays."""
        self._before = frozenset(path.name for path in self._loose())

    def prune(self, *kept: str) -> int:
        """Remove what came since the start and none of the commits needs, nor any of their parents; bytes that were freed.

        Args:
            kept: commits.

        Raises:
            GitError: what they need cannot be listed; then nothing is removed.
        """
        since = {path: path.stat().st_size for path in self._loose() if path.name not in self._before}
        if sum(since.values()) < self.worth:
            return 0
        needed = self._needed(kept)
        unneeded = [path for path in since if path.parent.name + path.name not in needed]
        for path in unneeded:
            path.unlink()
        return sum(since[path] for path in unneeded)

    def _needed(self, commits: tuple[str, ...]) -> set[str]:
        if not commits:
            return set()
        without = (f"^{commit}" for commit in self.behind)
        wanted = "".join(f"{revision}\n" for revision in (*commits, *without))
        listed = self.git.run(
            "rev-list", "--objects", "--no-object-names", "--stdin", stdin=wanted.encode(), timeout=_TIMEOUT
        )
        return set(listed.decode("ascii").split())

    def _loose(self) -> Iterator[Path]:
        """Loose objects, and what was left of a write that was broken off."""
        objects = (self.git.git_dir or Path()) / "objects"
        for entry in os.scandir(objects):
            if len(entry.name) == 2 and entry.is_dir():
                yield from map(Path, os.scandir(entry.path))
