"""The agent's work as the keeper sees it: its newest commit, and what is not committed, as objects that can be pushed."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import attrs

from gastown_operator.workload import commits, object_store
from gastown_operator.workload.aside import BESIDE_TRAILER, Aside
from gastown_operator.workload.clone import CHECKPOINT_TRAILER, ORIGIN_TRAILER
from gastown_operator.workload.clone_record import CloneRecord
from gastown_operator.workload.errors import UnreadableRepositoryError
from gastown_operator.workload.git import Git
from gastown_operator.workload.journal import Journal
from gastown_operator.workload.local_refs import Tip, local_tips, remote_tips
from gastown_operator.workload.plain_files import read_head, read_ref
from gastown_operator.workload.refs import branch_ref
from gastown_operator.workload.remote import Remote
from gastown_operator.workload.settings import Settings
from gastown_operator.workload.snapshot import Snapshots

#: A checkpoint has at most so many parents beside HEAD.
_MAXIMUM_TIPS: Final = 16
_EARLIER: Final = "an earlier checkpoint"
_MAXIMUM_CANDIDATES: Final = 256
_SIZE_TIMEOUT: Final = 10.0


@attrs.frozen
class Commits:
    """What the agent committed.

    Attributes:
        head: the commit that HEAD is at, and that uncommitted changes are measured against.
        delivered: newest commit of the work; another one than `head` only where the agent left its branch behind.
        unreadable: whether the agent's repository could not be read, and `head` is what was last known.
    """

    head: str
    delivered: str
    unreadable: bool = False


@attrs.frozen
class WorkState:
    """A moment of the agent's work.

    Attributes:
        head: the commit that HEAD was at, and that uncommitted changes are measured against.
        delivered: newest commit of the work; another one than `head` only where the agent left its branch behind.
        tree: the work tree.
        dirty: whether `tree` differs from the tree of `head`.
        left_out: files that could not be read, or not stored.
        no_room: whether some of them could not be stored because the keeper's volume is full.
    """

    head: str
    delivered: str
    tree: str
    dirty: bool
    left_out: tuple[str, ...]
    no_room: bool = False


@attrs.define
class Work:
    """Looks at the agent's repository without opening it.

    Args:
        git: the keeper's own repository and index over the agent's work tree.
        repository: the agent's clone.

    Attributes:
        beside: what the last look found that the branch cannot hold; None where each checkpoint is to look anew.
    """

    git: Git
    snapshots: Snapshots
    repository: Path
    settings: Settings
    record: CloneRecord
    remote: Remote
    journal: Journal
    beside: Sequence[Tip] | None = attrs.field(init=False, default=None)
    _last_head: str = attrs.field(init=False)
    _saved: tuple[str, ...] = attrs.field(init=False)
    _aside: Aside = attrs.field(init=False)
    _beyond: int = attrs.field(init=False, default=0)
    _damaged: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        """Nothing newer than the start is known yet."""
        self._last_head = self.record.start
        self._saved = tuple(self.record.saved)
        self._aside = Aside(self.snapshots, self.record.work_begins, self._commit_alone)

    def commits(self) -> Commits:
        """What the agent committed; needs nothing of the work tree.

        Raises:
            AttemptError: the agent destroyed its objects and the remote cannot be asked for the start.
        """
        named, unreadable = self._named_commits()
        head = named["HEAD"]
        branch = named.get(self.settings.work_branch, "")
        left_behind = branch not in ("", head, self.record.start) and commits.is_ancestor(
            self.git, head, branch
        )
        self._last_head = head
        return Commits(head, branch if left_behind else head, unreadable)

    def look(self, committed: Commits | None = None) -> WorkState:
        """The work tree now, against what is committed (by default: now).

        Raises:
            GitError, OSError: objects cannot be written, or the work tree cannot be read.
        """
        if committed is None:
            committed = self.commits()
        taken = self.snapshots.take(committed.head)
        dirty = taken.tree != self.git.line("rev-parse", f"{committed.head}^{{tree}}")
        return WorkState(
            committed.head, committed.delivered, taken.tree, dirty, taken.left_out, taken.no_room
        )

    def commit(self, state: WorkState, message: str, beside: Sequence[str] = ()) -> str:
        """A commit of the work tree on top of HEAD, the same one for the same state; the agent's repository does not get it."""
        return self._committed(state.tree, message, (state.head, *beside), state.head)

    def checkpoint_commit(self, state: WorkState) -> str:
        """The commit that the checkpoint ref should hold: the newest one when nothing is uncommitted, and nothing beside it."""
        first = state if state.dirty else self._clean(state)
        tips = self.elsewhere(first.head)
        beside = [tip.commit for tip in tips if tip.commit != first.head]
        if not beside and not state.dirty:
            return state.delivered
        aside = [tip.commit for tip in tips if tip.aside]
        others = [commit for commit in beside if commit not in aside]
        self._saved = tuple(dict.fromkeys([*others, *self._saved]))[:_MAXIMUM_TIPS]
        trailers = f"{CHECKPOINT_TRAILER}\n{ORIGIN_TRAILER} {self.record.work_begins}\n"
        trailers += "".join(f"{BESIDE_TRAILER} {commit}\n" for commit in aside)
        return self.commit(first, f"Checkpoint of {self.settings.polecat}\n\n{trailers}", beside)

    def elsewhere(self, head: str, *, saved: bool = True) -> list[Tip]:
        """What `head` and the server's branches do not have: other branches, the stash, worktrees, and what was saved once.

        Args:
            head: commit that is kept anyway.
            saved: whether commits count that only an earlier checkpoint has.
        """
        git_directory = self.repository / ".git"
        self._saved = tuple(dict.fromkeys([self._last_head, *self._saved]))[:_MAXIMUM_TIPS]
        tips = [
            *(self._look_beside(head) if self.beside is None else self.beside),
            *local_tips(git_directory),
            *(Tip(_EARLIER, it) for it in self._saved if saved),
        ]
        tips = self._existing(tips[:_MAXIMUM_CANDIDATES])
        known = [head, self.record.base, self.record.start, *remote_tips(git_directory)]
        wanted = "\n".join([*(tip.commit for tip in tips), *(f"^{it}" for it in known)])
        status, output, _ = self.git.attempt(
            "rev-list", "--ignore-missing", "--stdin", stdin=wanted.encode() + b"\n"
        )
        fresh = set(output.decode("ascii").split()) if status == 0 else set()
        found = [tip for tip in tips if tip.commit in fresh]
        self._beyond = sum(tip.where != _EARLIER for tip in found[_MAXIMUM_TIPS:])
        return self._independent(found[:_MAXIMUM_TIPS])

    @property
    def unsaved(self) -> tuple[str, ...]:
        """What is beside the branch and could not be stored when it was looked for last; for a person."""
        beyond = (f"{self._beyond} other branches or submodules",) if self._beyond else ()
        return (*self._aside.unsaved, *beyond)

    def look_beside(self, state: WorkState) -> list[Tip]:
        """What the work tree has beside the branch now."""
        return self._look_beside(state.head if state.dirty else state.delivered)

    def forget(self) -> None:
        """Count no file as stored."""
        self.snapshots.known.clear()
        self._aside.forget()

    def known_beside(self) -> list[Tip]:
        """What is known of it while `look_beside` goes on in another thread, and is waited for no longer."""
        return self._aside.known()

    def _look_beside(self, head: str) -> list[Tip]:
        tips = self._aside.tips(head)
        for where, cause in islice(self._aside.unsaved.items(), _MAXIMUM_TIPS):
            self.journal("it cannot be saved beside the branch", what=where, cause=cause)
        return tips

    def _commit_alone(self, tree: str, message: str, parents: Sequence[str]) -> str:
        return self._committed(tree, message, parents, self.record.start)

    def _committed(self, tree: str, message: str, parents: Sequence[str], after: str) -> str:
        """A commit that is not dated before another one."""
        git = self.git.with_environment(self._identity(after), {})
        options = [part for parent in parents for part in ("-p", parent)]
        return git.run("commit-tree", tree, *options, stdin=message.encode()).decode().strip()

    def _independent(self, tips: list[Tip]) -> list[Tip]:
        """Without those that others contain."""
        if len(tips) < 2:
            return tips
        status, output, _ = self.git.attempt("merge-base", "--independent", *(tip.commit for tip in tips))
        kept = set(output.decode("ascii").split()) if status == 0 else {tip.commit for tip in tips}
        first = {tip.commit: tip for tip in reversed(tips)}
        return [first[commit] for commit in dict.fromkeys(tip.commit for tip in tips) if commit in kept]

    def _existing(self, tips: list[Tip]) -> list[Tip]:
        wanted = "".join(f"{tip.commit}^{{tree}}\n" for tip in tips)
        status, output, _ = self.git.attempt("cat-file", "--batch-check=%(objecttype)", stdin=wanted.encode())
        found = output.decode("utf-8", "replace").splitlines() if status == 0 else []
        return [tip for tip, kind in zip(tips, found, strict=False) if kind == "tree"]

    def _clean(self, state: WorkState) -> WorkState:
        tree = self.git.line("rev-parse", f"{state.delivered}^{{tree}}")
        return WorkState(state.delivered, state.delivered, tree, dirty=False, left_out=state.left_out)

    def _identity(self, parent: str) -> dict[str, str]:
        """Who and when: never before the parent, and the same at every try, so that a push can be repeated."""
        date = max(int(self.record.cloned_at), commits.time_of(self.git, parent))
        values = {
            "NAME": self.settings.committer_name,
            "EMAIL": self.settings.committer_email,
            "DATE": f"@{date} +0000",
        }
        return {
            f"GIT_{role}_{field}": value
            for role in ("AUTHOR", "COMMITTER")
            for field, value in values.items()
        }

    def count(self, head: str) -> int:
        """How many commits `head` has beyond the base."""
        return int(self.git.line("rev-list", "--count", f"{self.record.base}..{head}"))

    def size(self, commit: str, without: Iterable[str]) -> int:
        """Bytes of what `commit` has and other commits have not, as git keeps it; 0 where that cannot be told."""
        call = ("rev-list", "--objects", "--disk-usage", "--ignore-missing", commit)
        status, output, _ = self.git.attempt(*call, *(f"^{it}" for it in without), timeout=_SIZE_TIMEOUT)
        return int(output) if status == 0 else 0

    def _named_commits(self) -> tuple[Mapping[str, str], bool]:
        """HEAD and the work branch, and whether the agent's repository was unreadable."""
        names: dict[str, str] = {}
        git_directory = self.repository / ".git"
        unreadable = not self._see_objects(git_directory)
        try:
            names["HEAD"] = read_head(git_directory).commit
            names[self.settings.work_branch] = (
                read_ref(git_directory, branch_ref(self.settings.work_branch)) or ""
            )
        except (UnreadableRepositoryError, OSError) as error:
            unreadable = True
            self.journal(
                "the agent's repository cannot be read; its last known commit is used", cause=str(error)
            )
        found = {name: commit for name, commit in names.items() if commit and self._exists(commit)}
        if "HEAD" not in found:
            unreadable = True
            found["HEAD"] = self._last_known()
        return found, unreadable

    def _see_objects(self, git_directory: Path) -> bool:
        if self.git.git_dir is None or self._damaged:
            return not self._damaged
        if object_store.link(self.git.git_dir, git_directory):
            return True
        self.journal("something else than files is among the agent's git objects; they are not looked at")
        return False

    def _last_known(self) -> str:
        if not all(map(self._exists, (self._last_head, *(commit for _, commit in self.settings.bases)))):
            self.journal("the agent removed git objects; fetching what the server has", head=self._last_head)
            # What is left of them may be damaged, and git would stumble over it.
            self._damaged = True
            if self.git.git_dir is not None:
                object_store.unlink(self.git.git_dir)
            names = [self.settings.base_branch, self.settings.work_branch]
            branches = [branch_ref(name) for name in (*names, *(name for name, _ in self.settings.bases))]
            # With a wildcard, a branch that is not there is no error.
            refspecs = [f"+{name}*:refs/keeper/{name}*" for name in dict.fromkeys(branches)]
            checkpoints = self.settings.refs.patterns[0]
            self.remote.fetch(self.git, [*refspecs, f"+{checkpoints}:refs/keeper-checkpoints/*"], "--no-tags")
        known = (self._last_head, self.record.start)
        return next((commit for commit in known if self._exists(commit)), self.record.base)

    def _exists(self, commit: str) -> bool:
        return commits.has_tree(self.git, commit)
