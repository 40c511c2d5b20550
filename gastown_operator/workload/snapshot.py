"""Turns the agent's work tree into a git tree, with the keeper's own repository and index.

Git lists the agent's tree, which tells it names only. Contents are copied by `TreeFiles`, a batch of changed files at a time, to a
place of the keeper's own, and git reads them there: with the attributes of the tree (line ends), and nothing of the agent's
configuration (filters). `git add` in the agent's tree would follow what is swapped meanwhile, and ask nested repositories for their status.
"""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from gastown_operator.workload.copies import ATTRIBUTES, SNAPSHOT_TIMEOUT, Copies
from gastown_operator.workload.errors import GitError, UnreadableRepositoryError
from gastown_operator.workload.git import BIG_FILE, Git, nul_separated, printable
from gastown_operator.workload.plain_files import read_beneath
from gastown_operator.workload.release import Release
from gastown_operator.workload.signatures import GITLINK, Entry, Known, entries_of_index
from gastown_operator.workload.tree_files import Signature, TreeFiles

#: Listing reads what the agent put in the place of `.gitignore` or of a nested repository, and may hold open; that must not cost the whole grace.
LIST_TIMEOUT: Final = 45.0
BATCH_BYTES: Final = 64 * 1024 * 1024
BATCH_FILES: Final = 2000
_MAXIMUM_INDEX_BYTES: Final = 256 * 1024 * 1024
_MAXIMUM_EXCLUDES_BYTES: Final = 1024 * 1024
_SKIP_WORKTREE: Final = b"S"
#: Git goes on where it cannot look into a directory, and says so.
_UNLISTED: Final = re.compile(rb"could not open directory '([^']{1,200})")


@attrs.frozen
class Snapshot:
    """A work tree as git objects.

    Attributes:
        tree: object id of the tree.
        left_out: paths that could not be read, at most 20 of them; of a tracked file the committed version is kept.
        no_room: whether some of them could not be stored for lack of room.
    """

    tree: str
    left_out: tuple[str, ...] = ()
    no_room: bool = False


@attrs.define
class Snapshots:
    """Takes snapshots of one work tree, reading only what changed since the last one.

    Args:
        git: the keeper's repository, with its own index and the agent's work tree.
        repository: the agent's clone.
        scratch: a directory of the keeper's own; contents are copied here, and gone again after each snapshot but for attributes.
        known: files whose objects are known already.
        list_timeout: seconds for the list of names.

    Attributes:
        failed: what `store_files` or `take_inside` could not read or store when it was called last.
    """

    git: Git
    repository: Path
    scratch: Path
    known: dict[bytes, Known] = attrs.field(factory=dict)
    list_timeout: float = LIST_TIMEOUT
    failed: set[bytes] = attrs.field(init=False, factory=set)
    _unlisted: set[bytes] = attrs.field(init=False, factory=set)
    _no_room: bool = attrs.field(init=False, default=False)

    def take(self, head: str) -> Snapshot:
        """Write the tree of everything in the work tree that the agent's git does not ignore.

        Tracked files are kept even where they are ignored. Nested repositories are added file by file; a submodule that
        `.gitmodules` names keeps the commit recorded for it in `head`. Files that a sparse checkout leaves out are not deleted.

        Args:
            head: commit whose files are the tracked ones.

        Raises:
            GitError: git cannot write the tree (a full disk).
            OSError: the work tree is gone, or the scratch directory cannot be written.
        """
        tree = TreeFiles(self.repository)
        self._no_room = False
        attrs.evolve(self.git, work_tree=None).run("read-tree", head)
        tracked = entries_of_index(self.git)
        entries, unreadable = self._entries(tree, tracked, self._candidates(tree, tracked, head))
        # Of what is in no tree any more, the objects may be removed.
        self.known = {path: it for path, it in self.known.items() if entries.get(path) == it.entry}
        named = tuple(unreadable)
        unreadable |= {it for it in self._unlisted if not any(path.startswith(it) for path in named)}
        left_out = tuple(os.fsdecode(path) for path in sorted(unreadable)[:20])
        return Snapshot(self._write(entries), left_out, self._no_room)

    def store_files(self, tree: TreeFiles, files: set[bytes]) -> str:
        """The tree of some files alone. Raises GitError, OSError."""
        entries, self.failed = self._entries(tree, {}, _Candidates(files, {}))
        return self._write(entries)

    def take_inside(self, directory: bytes, head: str = "") -> str:
        """Write the tree of a directory of the work tree that is a repository of its own; nothing where it holds no files.

        Args:
            directory: its path.
            head: commit whose files are the tracked ones; without it, there are none.

        Raises:
            GitError, OSError: as `take`.
        """
        tracked: dict[bytes, Entry] = {}
        if head:
            attrs.evolve(self.git, work_tree=None).run("read-tree", head)
            tracked = entries_of_index(self.git)
        kept = {path: entry for path, entry in tracked.items() if entry.mode == GITLINK}
        tree = TreeFiles(self.repository, directory)
        untracked, nested = self._names_inside(tree)
        files = untracked | (tracked.keys() - kept.keys())
        for inner in nested - kept.keys():
            files.update(tree.below(inner))
        entries, self.failed = self._entries(tree, tracked, _Candidates(files, kept))
        self.known = {path: it for path, it in self.known.items() if entries.get(path) == it.entry}
        return self._write(entries) if entries or head else ""

    def _names_inside(self, tree: TreeFiles) -> tuple[set[bytes], set[bytes]]:
        """Files in a directory of the work tree that git would not ignore there, and repositories in it; relative to it."""
        directory = self.repository / os.fsdecode(tree.inside)
        git = attrs.evolve(self.git, work_tree=directory, index=self.scratch / "no-index")
        return self._list(git, tree)[:2] if directory.is_dir() else (set(), set())

    def _candidates(self, tree: TreeFiles, tracked: dict[bytes, Entry], head: str) -> "_Candidates":
        """The paths to look at, and the entries that stay as they are."""
        submodules = self.submodules(head)
        gitlinks = {path for path, entry in tracked.items() if entry.mode == GITLINK}
        untracked, nested = self._untracked()
        opened = {path for path in gitlinks - submodules if any(tree.below(path))}
        kept = {path: tracked[path] for path in (gitlinks - opened) | (self._sparse() & tracked.keys())}
        files = {path for path in tracked if path not in gitlinks and path not in kept} | untracked
        for directory in nested | opened:
            files.update(tree.below(directory))
        return _Candidates(files, kept)

    def _entries(
        self, tree: TreeFiles, tracked: dict[bytes, Entry], candidates: "_Candidates"
    ) -> tuple[dict[bytes, Entry], set[bytes]]:
        entries = dict(candidates.kept)
        changed: list[tuple[bytes, Signature]] = []
        unreadable: set[bytes] = set()
        # Attributes first: they decide how the other files are stored.
        for path in sorted(candidates.files, key=lambda path: (os.path.basename(path) != ATTRIBUTES, path)):
            try:
                signature = tree.signature(path)
            except OSError:
                unreadable.add(path)
                continue
            known = self.known.get(path)
            if signature is None:
                continue
            if known is not None and known.signature == signature and os.path.basename(path) != ATTRIBUTES:
                entries[path] = known.entry
            else:
                changed.append((path, signature))
        stored, failed = self._store(tree, changed)
        entries.update(stored)
        unreadable |= failed
        entries.update({path: tracked[path] for path in unreadable & tracked.keys()})
        return entries, unreadable

    def _store(
        self, tree: TreeFiles, changed: list[tuple[bytes, Signature]]
    ) -> tuple[dict[bytes, Entry], set[bytes]]:
        """Write the objects of changed files; what cannot be read or stored is named."""
        stored: dict[bytes, Entry] = {}
        failed: set[bytes] = set()
        copies = Copies(self.git, tree, self.scratch)
        try:
            for batch in _batches(changed):
                result = copies.store(batch)
                stored.update({path: known.entry for path, known in result.stored.items()})
                failed |= result.failed
                self._no_room |= copies.no_room
                now = time.time_ns()
                self.known.update(
                    {path: it for path, it in result.stored.items() if it.signature.is_settled(now)}
                )
        finally:
            copies.clear()
        return stored, failed

    def _untracked(self) -> tuple[set[bytes], set[bytes]]:
        """Untracked files, and directories that are repositories of their own."""
        self._copy_excludes()
        files, nested, errors = self._list(self.git, TreeFiles(self.repository))
        self._unlisted = set(_UNLISTED.findall(errors))
        return files, nested

    def _list(self, git: Git, tree: TreeFiles) -> tuple[set[bytes], set[bytes], bytes]:
        """Files of a work tree that git does not know or ignore, repositories in it, and what git says.

        It ends in time, whatever the agent put where git looks for what it ignores. Raises GitError.
        """
        call = ("ls-files", "--others", "--exclude-standard", "-z")
        status, listed, errors = git.attempt(*call, timeout=self.list_timeout, enough=Release(tree))
        if status != 0:
            raise GitError(call[0], status, printable(errors))
        paths = {path for path in listed.split(b"\0") if path}
        # Git lists a repository as a directory, with a slash.
        files = {path for path in paths if not path.endswith(b"/")}
        return files, {path.rstrip(b"/") for path in paths - files}, errors

    def _copy_excludes(self) -> None:
        """What the agent's git ignores by its own list is ignored here too."""
        content = self._of_agent(["info", "exclude"], _MAXIMUM_EXCLUDES_BYTES) or b""
        excludes = self._git_dir() / "info" / "exclude"
        excludes.parent.mkdir(exist_ok=True)
        excludes.write_bytes(content)

    def _sparse(self) -> set[bytes]:
        """Paths that the agent's index marks as left out of its work tree; git reads a copy of the index."""
        index = self._of_agent(["index"], _MAXIMUM_INDEX_BYTES)
        if index is None:
            return set()
        copy = self.scratch / "agent-index"
        copy.write_bytes(index)
        listing = attrs.evolve(self.git, index=copy, work_tree=None)
        status, output, _ = listing.attempt("ls-files", "-t", "--cached", "-z")
        copy.unlink()
        lines = output.split(b"\0") if status == 0 else []
        return {line[2:] for line in lines if line.startswith(_SKIP_WORKTREE + b" ")}

    def _of_agent(self, parts: list[str], maximum_bytes: int) -> bytes | None:
        """A file of the agent's git directory, where there is one that can be read."""
        try:
            return read_beneath(self.repository, [".git", *parts], maximum_bytes)
        except (OSError, UnreadableRepositoryError):
            return None

    def submodules(self, head: str) -> set[bytes]:
        """Paths that `.gitmodules` of `head` declares."""
        query = ("--blob", f"{head}:.gitmodules", "--null", "--get-regexp", r"^submodule\..*\.path$")
        status, output, _ = attrs.evolve(self.git, work_tree=None).attempt("config", *query)
        return {entry.partition(b"\n")[2] for entry in output.split(b"\0") if entry} if status == 0 else set()

    def _write(self, entries: dict[bytes, Entry]) -> str:
        lines = [
            f"{entry.mode} {entry.object_id}\t".encode("ascii") + path
            for path, entry in sorted(entries.items())
        ]
        bare = attrs.evolve(self.git, work_tree=None)
        bare.run("read-tree", "--empty")
        bare.run("update-index", "-z", "--index-info", stdin=nul_separated(lines), timeout=SNAPSHOT_TIMEOUT)
        try:
            return bare.line("write-tree")
        except GitError:
            # An object that counted as known is gone: the next look reads everything.
            self.known.clear()
            raise

    def _git_dir(self) -> Path:
        if self.git.git_dir is None:
            raise ValueError("a snapshot needs a repository of the keeper's own")
        return self.git.git_dir


@attrs.frozen
class _Candidates:
    """What a snapshot looks at: files by path, and entries that are taken over without a look."""

    files: set[bytes]
    kept: dict[bytes, Entry]


def _batches(changed: list[tuple[bytes, Signature]]) -> Iterator[list[bytes]]:
    """Paths in groups that bound the room that copies need; a big file is alone, since git would put several into one pack."""
    batch: list[bytes] = []
    size = 0
    for path, signature in changed:
        if signature.size >= BIG_FILE:
            yield [path]
            continue
        if batch and (size + signature.size > BATCH_BYTES or len(batch) >= BATCH_FILES):
            yield batch
            batch, size = [], 0
        batch.append(path)
        size += signature.size
    if batch:
        yield batch
