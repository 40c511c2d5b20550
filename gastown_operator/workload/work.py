"""The agent's work as the keeper sees it: its newest commit, and what is not committed, as objects that can be pushed."""

from collections.abc import Mapping
from pathlib import Path

import attrs

from gastown_operator.workload.clone import CHECKPOINT_TRAILER
from gastown_operator.workload.clone_record import CloneRecord
from gastown_operator.workload.errors import UnreadableRepositoryError
from gastown_operator.workload.git import Git
from gastown_operator.workload.journal import Journal
from gastown_operator.workload.plain_files import read_head, read_ref
from gastown_operator.workload.refs import branch_ref
from gastown_operator.workload.remote import Remote
from gastown_operator.workload.settings import Settings
from gastown_operator.workload.snapshot import Snapshots


@attrs.frozen
class WorkState:
    """A moment of the agent's work.

    Attributes:
        head: the commit that HEAD was at, and that uncommitted changes are measured against.
        delivered: newest commit of the work; another one than `head` only where the agent left its branch behind.
        tree: the work tree.
        dirty: whether `tree` differs from the tree of `head`.
        left_out: files that could not be read.
    """

    head: str
    delivered: str
    tree: str
    dirty: bool
    left_out: tuple[str, ...]


@attrs.define
class Work:
    """Looks at the agent's repository without opening it.

    Args:
        git: the keeper's own repository and index over the agent's work tree.
        repository: the agent's clone.
    """

    git: Git
    snapshots: Snapshots
    repository: Path
    settings: Settings
    record: CloneRecord
    remote: Remote
    journal: Journal
    _last_head: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Nothing newer than the start is known yet."""
        self._last_head = self.record.start

    def look(self) -> WorkState:
        """The state now.

        Raises:
            GitError: objects cannot be written.
            AttemptError: the agent destroyed its objects and the remote cannot be asked for the start.
        """
        head, delivered = self._commits()
        taken = self.snapshots.take(head)
        dirty = taken.tree != self.git.line("rev-parse", f"{head}^{{tree}}")
        return WorkState(head, delivered, taken.tree, dirty, taken.left_out)

    def commit(self, state: WorkState, message: str) -> str:
        """A commit of the work tree on top of HEAD; the agent's repository does not get it."""
        identity = {
            f"GIT_{role}_{field}": value
            for role in ("AUTHOR", "COMMITTER")
            for field, value in (
                ("NAME", self.settings.committer_name),
                ("EMAIL", self.settings.committer_email),
            )
        }
        git = self.git.with_environment(identity, {})
        return git.run("commit-tree", state.tree, "-p", state.head, stdin=message.encode()).decode().strip()

    def checkpoint_commit(self, state: WorkState) -> str:
        """The commit that the checkpoint ref should hold: HEAD itself when nothing is uncommitted."""
        if not state.dirty:
            return state.delivered
        return self.commit(state, f"Checkpoint of {self.settings.polecat}\n\n{CHECKPOINT_TRAILER}\n")

    def count(self, head: str) -> int:
        """How many commits `head` has beyond the base."""
        return int(self.git.line("rev-list", "--count", f"{self.record.base}..{head}"))

    def descends(self, head: str, from_commit: str) -> bool:
        """Whether `head` contains `from_commit`."""
        return self.git.attempt("merge-base", "--is-ancestor", from_commit, head)[0] == 0

    def _commits(self) -> tuple[str, str]:
        """HEAD, and the newest commit of the work: the work branch, where HEAD was moved to something older."""
        commits = self._named_commits()
        head = commits["HEAD"]
        branch = commits.get(self.settings.work_branch, "")
        left_behind = branch not in ("", head, self.record.start) and self.descends(branch, head)
        self._last_head = head
        return head, branch if left_behind else head

    def _named_commits(self) -> Mapping[str, str]:
        names: dict[str, str] = {}
        git_directory = self.repository / ".git"
        try:
            names["HEAD"] = read_head(git_directory).commit
            names[self.settings.work_branch] = (
                read_ref(git_directory, branch_ref(self.settings.work_branch)) or ""
            )
        except UnreadableRepositoryError as error:
            self.journal(
                "the agent's repository cannot be read; its last known commit is used", cause=str(error)
            )
        found = {name: commit for name, commit in names.items() if commit and self._exists(commit)}
        if "HEAD" not in found:
            found["HEAD"] = self._last_known()
        return found

    def _last_known(self) -> str:
        if self._exists(self._last_head):
            return self._last_head
        if not self._exists(self.record.start):
            self.journal("the agent removed git objects; fetching the start again", start=self.record.start)
            self.remote.fetch(self.git, ["+refs/heads/*:refs/keeper/*"])
            checkpoints = self.settings.refs.patterns[0]
            self.remote.fetch(self.git, [f"+{checkpoints}:refs/keeper-checkpoints/*"])
        return self.record.start if self._exists(self.record.start) else self.record.base

    def _exists(self, commit: str) -> bool:
        # The tree is asked for too: a commit alone proves nothing when objects were deleted.
        return self.git.attempt("cat-file", "-e", f"{commit}^{{tree}}")[0] == 0
