"""Where an agent may have put commits beside HEAD, read from the plain files of its repository within bounds."""

import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import attrs

from gastown_operator.workload.errors import UnreadableRepositoryError
from gastown_operator.workload.plain_files import is_branch_name, open_directory, read_beneath

#: Files looked at in one directory of refs, with everything below it.
MAXIMUM_FILES: Final = 2000
_MAXIMUM_DEPTH: Final = 8
_MAXIMUM_REF_BYTES: Final = 4096
_MAXIMUM_PACKED_REFS_BYTES: Final = 64 * 1024 * 1024
_OBJECT_ID: Final = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_HEADS: Final = "refs/heads/"
_REMOTES: Final = "refs/remotes/"


@attrs.frozen
class Tip:
    """A commit that something in the agent's repository points to.

    Attributes:
        where: for a person, such as `branch fix`.
        commit: as written in the file; not yet known to exist.
        aside: whether it is what the work tree has beside the branch: a later checkpoint needs no earlier one of these.
    """

    where: str
    commit: str
    aside: bool = False


def local_tips(git_directory: Path) -> list[Tip]:
    """Branches, the newest stash, and HEADs of linked worktrees; what cannot be read is left out. Files written last come first."""
    reader = _Reader(git_directory)
    loose = [
        (written, Tip(f"branch {name.removeprefix(_HEADS)}", commit))
        for written, name, commit in reader.loose(_HEADS.rstrip("/"))
        if is_branch_name(name)
    ]
    beside = [*reader.stash(), *reader.worktrees()]
    newest = [tip for _, tip in sorted(loose, key=lambda found: found[0], reverse=True)]
    known = {tip.where for tip in newest}
    packed = [Tip(f"branch {name.removeprefix(_HEADS)}", commit) for name, commit in reader.packed(_HEADS)]
    return [*beside, *newest, *(tip for tip in packed if tip.where not in known)]


def remote_tips(git_directory: Path) -> list[str]:
    """Commits that the agent's repository knows from the server: they are nobody's unsaved work."""
    reader = _Reader(git_directory)
    loose = [commit for _, _, commit in reader.loose(_REMOTES.rstrip("/"))]
    return [*loose, *(commit for _, commit in reader.packed(_REMOTES))]


@attrs.frozen
class _Reader:
    git_directory: Path

    def loose(self, directory: str) -> Iterator[tuple[float, str, str]]:
        """Time of the last change, name and commit of every ref that has a file."""
        files = _files_beneath(self.git_directory, directory.split("/"))
        for parts, written in islice(files, MAXIMUM_FILES):
            commit = self._commit(parts)
            if commit:
                yield written, "/".join(parts), commit

    def packed(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Name and commit of the refs in `packed-refs` that start with `prefix`."""
        content = self._read(["packed-refs"], _MAXIMUM_PACKED_REFS_BYTES)
        for line in content.splitlines():
            object_id, _, name = line.partition(b" ")
            if name.startswith(prefix.encode("ascii")) and _OBJECT_ID.fullmatch(object_id):
                yield name.decode("utf-8", "replace"), object_id.decode("ascii")

    def stash(self) -> list[Tip]:
        """The newest entry of `git stash`; the older ones are in a log that is not read."""
        commit = self._commit(["refs", "stash"])
        packed = [object_id for name, object_id in self.packed("refs/stash") if name == "refs/stash"]
        return [Tip("the stash", it) for it in ([commit] if commit else packed)]

    def worktrees(self) -> list[Tip]:
        """Detached HEADs of linked worktrees; those on a branch are found by the branch."""
        heads = (
            (parts, self._commit(parts))
            for parts, _ in _files_beneath(self.git_directory, ["worktrees"], depth=2)
            if parts[-1] == "HEAD"
        )
        return [Tip(f"worktree {parts[-2]}", commit) for parts, commit in heads if commit]

    def _commit(self, parts: Sequence[str]) -> str:
        content = self._read(parts, _MAXIMUM_REF_BYTES).strip()
        return content.decode("ascii") if _OBJECT_ID.fullmatch(content) else ""

    def _read(self, parts: Sequence[str], maximum_bytes: int) -> bytes:
        try:
            return read_beneath(self.git_directory, parts, maximum_bytes) or b""
        except (OSError, UnreadableRepositoryError):
            # Something else than a ref is in its place: then it names no commit.
            return b""


def _files_beneath(
    root: Path, parts: list[str], depth: int = _MAXIMUM_DEPTH
) -> Iterator[tuple[list[str], float]]:
    """Paths of the regular files below a directory, with the time of their last change; no link is followed."""
    try:
        directory = open_directory(root, parts)
    except OSError:
        return
    try:
        with os.scandir(directory) as entries:
            for number, entry in enumerate(entries):
                if number > MAXIMUM_FILES:
                    return
                inner = [*parts, entry.name]
                if entry.is_dir(follow_symlinks=False) and depth > 1:
                    yield from _files_beneath(root, inner, depth - 1)
                elif entry.is_file(follow_symlinks=False):
                    yield inner, entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:
        # A file went away while it was looked at: the next look sees what is there then.
        return
    finally:
        os.close(directory)
