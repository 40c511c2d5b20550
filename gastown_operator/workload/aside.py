"""Work that a branch cannot hold: contents of git-lfs, and files in submodules. They are kept beside the checkpoint, as commits of their own.

Their servers are never asked: the keeper has no credential for them. To get something back: `git fetch origin CHECKPOINT`, look at the
parents of the checkpoint, and check the commit out where it belongs (`.git/lfs`, then `git lfs push --all`; or the submodule's directory).
"""

import os
from collections.abc import Callable
from pathlib import Path

import attrs

from gastown_operator.workload import lfs, object_store
from gastown_operator.workload.git import Git
from gastown_operator.workload.local_refs import Tip
from gastown_operator.workload.snapshot import Snapshots
from gastown_operator.workload.tree_files import TreeFiles


@attrs.define
class Aside:
    """Looks for it.

    Args:
        snapshots: of the work tree.
        start: the commit that the agent was given.
        commit: makes a commit of a tree, with a message.
    """

    snapshots: Snapshots
    start: str
    commit: Callable[[str, str], str]
    _stores: dict[bytes, Snapshots] = attrs.field(factory=dict)

    def tips(self, head: str) -> list[Tip]:
        """A commit for each kind that there is.

        Raises:
            GitError, OSError: it cannot be stored.
        """
        return [*self._contents(), *(tip for path in self._submodules(head) for tip in self._inside(path))]

    def _contents(self) -> list[Tip]:
        tree = TreeFiles(self._repository, lfs.STORE)
        files = lfs.new_objects(self._git, tree, self.start)
        if not files:
            return []
        where = f"{len(files)} objects of git-lfs"
        stored = self._store(lfs.STORE).store_files(tree, set(files))
        return [Tip(where, self.commit(stored, "Contents of git-lfs\n"))]

    def _submodules(self, head: str) -> list[bytes]:
        return sorted(self.snapshots.submodules(head) | self.snapshots.submodules(self.start))

    def _inside(self, path: bytes) -> list[Tip]:
        """The files of a submodule that differ from the commit which the agent was given for it."""
        tree = TreeFiles(self._repository, path)
        names = self._store(path).names_inside(path)
        files = {name for name in names if tree.signature(name) is not None}
        if not files:
            return []
        stored = self._store(path).store_files(tree, files)
        if stored == self._recorded(path):
            return []
        name = ascii(os.fsdecode(path))
        return [Tip(f"the submodule {name}", self.commit(stored, f"Files of the submodule {name}\n"))]

    def _recorded(self, path: bytes) -> str:
        """The tree that the submodule had at first, where the agent has it; else nothing."""
        given = self._git.attempt("rev-parse", f"{self.start}:{os.fsdecode(path)}")[1].decode("ascii").strip()
        git_directory = self._repository / ".git" / "modules" / os.fsdecode(path)
        if not object_store.are_plain(git_directory):
            return ""
        objects = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": f"{git_directory}/objects"}
        seen = self._git.with_environment(objects, {})
        return seen.attempt("rev-parse", f"{given}^{{tree}}")[1].decode("ascii", "replace").strip()

    def _store(self, kind: bytes) -> Snapshots:
        """What remembers the files of a kind that it has stored."""
        return self._stores.setdefault(
            kind, Snapshots(self.snapshots.git, self._repository, self.snapshots.scratch)
        )

    @property
    def _repository(self) -> Path:
        return self.snapshots.repository

    @property
    def _git(self) -> Git:
        return attrs.evolve(self.snapshots.git, work_tree=None)
