"""Copies of the agent's files, where git reads them to make objects: with the attributes of their tree, and nothing that the agent can swap."""

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import attrs

from gastown_operator.workload import lfs
from gastown_operator.workload.errors import GitError
from gastown_operator.workload.git import Git, nul_separated
from gastown_operator.workload.signatures import Entry, Known, entries_of_index
from gastown_operator.workload.tree_files import Signature, TreeFiles
from gastown_operator.workload.volumes import out_of_room

#: Seconds that git may take for a batch, or for the index of a whole tree.
SNAPSHOT_TIMEOUT: Final = 300.0
ATTRIBUTES: Final = b".gitattributes"


@attrs.frozen
class Stored:
    """What became of a batch of files."""

    stored: dict[bytes, Known]
    failed: set[bytes]


@attrs.define
class Copies:
    """A work tree of the keeper's own, which holds copies of a batch of the agent's files at a time, and of its attributes all the time.

    Args:
        git: the keeper's repository.
        tree: the agent's files.
        scratch: a directory of the keeper's own, in which the work tree is made.

    Attributes:
        root: the work tree.
        no_room: whether a file could not be stored because the keeper's volume is full.
    """

    git: Git
    tree: TreeFiles
    scratch: Path
    no_room: bool = False
    root: Path = attrs.field(init=False)
    _root: bytes = attrs.field(init=False)
    _made: bytes = attrs.field(init=False, default=b"")
    _attributes: list[Path] = attrs.field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        """Where the copies are is said once, since there may be a hundred thousand of them."""
        self.root = self.scratch / "mirror"
        self._root = os.fsencode(self.root)

    def store(self, batch: Iterable[bytes]) -> Stored:
        """Copy files, write their objects, and remove the copies."""
        copied: dict[bytes, Signature] = {}
        failed: set[bytes] = set()
        for path in batch:
            try:
                signature = self._copy(path)
            except OSError as error:
                failed.add(path)
                self._failed(error, path)
                continue
            if signature is not None:
                copied[path] = signature
        self._replace_by_pointers([path for path in copied if os.path.basename(path) != ATTRIBUTES])
        entries = self._objects(list(copied))
        failed |= copied.keys() - entries.keys()
        for path in copied:
            if os.path.basename(path) != ATTRIBUTES:
                os.unlink(self._place(path))
        return Stored({path: Known(copied[path], entry) for path, entry in entries.items()}, failed)

    def clear(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _failed(self, error: Exception, path: bytes) -> None:
        """Note a lack of room, and give back what half a copy takes."""
        self.no_room = self.no_room or out_of_room(error, self.scratch)
        with contextlib.suppress(OSError):
            os.unlink(self._place(path))

    def _place(self, path: bytes) -> bytes:
        return self._root + b"/" + path

    def _copy(self, path: bytes) -> Signature | None:
        target = self._place(path)
        directory = os.path.dirname(target)
        if directory != self._made:
            _make_directories(directory)
            self._made = directory
        signature = self.tree.copy(path, target)
        if os.path.basename(path) == ATTRIBUTES and signature is not None and not os.path.islink(target):
            self._attributes.append(Path(os.fsdecode(target)))
        return signature

    def _replace_by_pointers(self, paths: list[bytes]) -> None:
        attributes = (path for path in self._attributes if b"lfs" in path.read_bytes())
        if paths and any(attributes):
            git = attrs.evolve(self.git, work_tree=self.root, index=self.scratch / "no-index")
            lfs.replace_by_pointers(git, self.tree, self.root, paths)

    def _objects(self, paths: list[bytes]) -> dict[bytes, Entry]:
        """Entries of the copies. One that git refuses (an encoding that does not fit) must not cost the others."""
        if not paths:
            return {}
        git = attrs.evolve(self.git, work_tree=self.root, index=self.scratch / "mirror-index")
        try:
            return self._added(git, paths)
        except GitError as error:
            if len(paths) == 1:
                self.no_room = self.no_room or out_of_room(error, self.scratch)
                return {}
        half = len(paths) // 2
        return {**self._objects(paths[:half]), **self._objects(paths[half:])}

    def _added(self, git: Git, paths: list[bytes]) -> dict[bytes, Entry]:
        git.run("read-tree", "--empty")
        git.run(
            "update-index", "--add", "-z", "--stdin", stdin=nul_separated(paths), timeout=SNAPSHOT_TIMEOUT
        )
        return entries_of_index(git)


def _make_directories(path: bytes) -> None:
    """As `os.makedirs`, whose recursion ends at a thousand directories."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for directory in reversed(missing):
        os.mkdir(directory)
