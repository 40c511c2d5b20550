"""Work that a branch cannot hold: contents of git-lfs, and files in submodules. They are kept beside the checkpoint, as commits of their own.

Their servers are never asked: the keeper has no credential for them. The next attempt puts them back (`put_back`). To get something
back by hand: `git fetch origin CHECKPOINT`, look at the parents of the checkpoint, and check the commit out where it belongs
(`.git/lfs`, then `git lfs push --all`; or the submodule's directory).
"""

import json
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final

import attrs

from gastown_operator.workload import lfs, submodules
from gastown_operator.workload.errors import GitError
from gastown_operator.workload.git import Git
from gastown_operator.workload.local_refs import Tip
from gastown_operator.workload.signatures import GITLINK
from gastown_operator.workload.snapshot import Snapshots
from gastown_operator.workload.submodules import Commit, Submodule
from gastown_operator.workload.tree_files import TreeFiles

#: Seconds after which no other submodule is begun with: the end of an attempt has two minutes in all.
BUDGET: Final = 20.0
#: Of the time in which the names of the whole work tree must be listed, for those of one submodule.
_SHARE: Final = 0.2
#: On a checkpoint: one of its parents is what it has beside the branch.
BESIDE_TRAILER: Final = "Gastown-Beside:"
#: On such a commit: where in the clone its files belong, a JSON string.
PLACE_TRAILER: Final = "Gastown-Place:"


@attrs.define
class Aside:
    """Looks for it.

    Args:
        snapshots: of the work tree.
        start: the commit that the polecat's work goes on from, in whichever attempt.
        commit: makes a commit.
        monotonic: seconds that only grow.

    Attributes:
        unsaved: what could not, or not all, be stored when it was looked for last, and why.
    """

    snapshots: Snapshots
    start: str
    commit: Commit
    monotonic: Callable[[], float] = time.monotonic
    unsaved: dict[str, str] = attrs.field(init=False, factory=dict)
    _failed: set[bytes] = attrs.field(init=False, factory=set)
    _last: dict[str, list[Tip]] = attrs.field(init=False, factory=dict)
    _stores: dict[bytes, Snapshots] = attrs.field(init=False, factory=dict)

    def tips(self, head: str) -> list[Tip]:
        """A commit for each of them; for what cannot be stored, and then is in `unsaved`, the last one that there was."""
        until = self.monotonic() + BUDGET
        looks = {"contents of git-lfs": self._contents}
        looks |= {_name(path): partial(self._inside, path) for path in self._submodules(head)}
        self.unsaved = unsaved = dict.fromkeys(looks, "no time was left for it")
        for where, look in looks.items():
            if self.monotonic() >= until:
                break
            self._failed = set()
            try:
                self._last[where] = look()
            except (GitError, OSError) as error:
                unsaved[where] = str(error)
                continue
            if self._failed:
                unsaved[where] = f"{len(self._failed)} files could not be read or stored"
            else:
                del unsaved[where]
        return [tip for where in looks for tip in self._last.get(where, [])]

    def forget(self) -> None:
        """Count no file as stored."""
        self._stores.clear()

    def known(self) -> list[Tip]:
        """What `tips` has found so far in another thread; what it finds from now on counts as unsaved."""
        self.unsaved = dict(self.unsaved)
        return [tip for tips in tuple(self._last.values()) for tip in tips]

    def _contents(self) -> list[Tip]:
        tree = TreeFiles(self._repository, lfs.STORE)
        files = lfs.new_objects(self._git, tree, self.start)
        if not files:
            return []
        store = self._store(lfs.STORE)
        stored = store.store_files(tree, set(files))
        self._failed = store.failed
        return [self._tip(f"{len(files)} objects of git-lfs", "Contents of git-lfs", lfs.STORE, stored)]

    def _submodules(self, head: str) -> list[bytes]:
        return sorted(self.snapshots.submodules(head) | self.snapshots.submodules(self.start))

    def _inside(self, path: bytes) -> list[Tip]:
        """The files of a submodule and its new commits, where it differs from what the polecat was given."""
        where = _name(path)
        found = submodules.find(self._git, self._repository, path)
        if found is not None:
            try:
                return self._with_history(path, found, where)
            except GitError:
                # Its objects are damaged: its files can be kept all the same.
                self._stores.pop(path, None)
        stored = self._take(self._store(path), path)
        return [self._tip(where, f"Files of {where}", path, stored)] if stored else []

    def _with_history(self, path: bytes, found: Submodule, where: str) -> list[Tip]:
        recorded = self._recorded(path)
        stored = self._take(self._store(path, found.git), path, found.head)
        if found.head == recorded and stored == found.tree:
            return []
        head = found.keep(recorded, where, self.commit)
        return [self._tip(where, f"Files of {where}", path, stored, [head])]

    def _take(self, store: Snapshots, path: bytes, head: str = "") -> str:
        stored = store.take_inside(path, head)
        self._failed = store.failed
        return stored

    def _recorded(self, path: bytes) -> str:
        """The commit that the submodule had at first; nothing where it is new, also in the place of a file or a directory."""
        literal = self._git.with_environment({"GIT_LITERAL_PATHSPECS": "1"}, {})
        status, output, _ = literal.attempt("ls-tree", "-z", self.start, "--", os.fsdecode(path))
        mode, _, rest = output.decode("utf-8", "surrogateescape").partition(" ")
        return rest.split()[1] if status == 0 and mode == GITLINK else ""

    def _tip(self, where: str, subject: str, place: bytes, tree: str, parents: Iterable[str] = ()) -> Tip:
        message = f"{subject}\n\n{PLACE_TRAILER} {json.dumps(os.fsdecode(place))}\n"
        return Tip(where, self.commit(tree, message, tuple(parents)), aside=True)

    def _store(self, kind: bytes, git: Git | None = None) -> Snapshots:
        """What remembers the files of a kind that it has stored."""
        fresh = Snapshots(self.snapshots.git, self._repository, self.snapshots.scratch)
        store = self._stores.setdefault(kind, fresh)
        store.list_timeout = self.snapshots.list_timeout * _SHARE
        store.git = attrs.evolve(git or self._git, work_tree=self.snapshots.git.work_tree)
        return store

    @property
    def _repository(self) -> Path:
        return self.snapshots.repository

    @property
    def _git(self) -> Git:
        return attrs.evolve(self.snapshots.git, work_tree=None)


def _name(path: bytes) -> str:
    """For a person."""
    return f"the submodule {os.fsdecode(path)!a}"
