"""The `clone` container: puts the repository where the agent finds it, at the commit where its work goes on."""

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from gastown_operator.workload import (
    bases,
    commits,
    control_files,
    keeper_repository,
    layout,
    mirror,
    put_back,
    signatures,
)
from gastown_operator.workload.clone_record import CloneRecord
from gastown_operator.workload.errors import AttemptError
from gastown_operator.workload.git import Git
from gastown_operator.workload.handover import handover
from gastown_operator.workload.history import CLONE_TIMEOUT, PATIENCE, History, Wanted
from gastown_operator.workload.journal import Journal
from gastown_operator.workload.message import Outcome
from gastown_operator.workload.put_back import Resumed
from gastown_operator.workload.refs import branch_ref, newest_checkpoint, object_format
from gastown_operator.workload.remote import Remote
from gastown_operator.workload.settings import Settings

CHECKPOINT_TRAILER = "Gastown-Checkpoint: unfinished work"
#: On a checkpoint's own commit: the commit that the polecat's work goes on from.
ORIGIN_TRAILER = "Gastown-Origin:"
_LOCAL_CHECKPOINT = "refs/gastown/checkpoint"
_LOCAL_DONE = "refs/gastown/done"
_LOCAL_BASES = "refs/gastown/bases"


@attrs.frozen
class ClonePaths:
    """Where clone writes; `layout` has the places in a pod.

    Attributes:
        repository: the clone for the agent.
        control: prompt, wrapper and the mark that the round is finished.
        hints: where the FIFO goes that tells the keeper of the agent's end.
        keeper_git_dir: the keeper's own repository.
        record: what was found, for the keeper.
        files: signatures of the files checked out, for the keeper.
        mirror: a volume that may have a mirror of the repository.
    """

    repository: Path
    control: Path
    hints: Path
    keeper_git_dir: Path
    record: Path
    files: Path
    mirror: Path = layout.MIRROR


@attrs.frozen
class Clone:
    """Prepares one attempt."""

    settings: Settings
    remote: Remote
    paths: ClonePaths
    journal: Journal
    wall: Callable[[], float] = time.time
    patience: float = PATIENCE

    def run(self) -> CloneRecord:
        """Clone, check out, and write what agent and keeper need.

        Raises:
            AttemptError: the remote cannot be used; the message is for the polecat's condition.
            GitError: a local git command failed.
        """
        control_files.write(self.settings, self.paths.control, self.paths.hints)
        self._empty_repository()
        advertised = self._advertised()
        base = self._base(advertised)
        done = advertised.get(self.settings.refs.done, "")
        if done:
            return self._finished(advertised, base, done)
        git = self._fetch(advertised)
        base = self._base_of_dependencies(git) or base
        record = self._check_out(git, advertised, base)
        self._prepare_keeper(advertised)
        self._give_merges_to_keeper(git, base)
        record = attrs.evolve(record, cloned_at=self.wall())
        record.write(self.paths.record)
        control_files.add_to_prompt(self.paths.control, handover(record))
        self.journal("cloned", branch=self.settings.work_branch, start=record.start, resumed=record.resumed)
        return record

    def _advertised(self) -> dict[str, str]:
        branches = [
            branch_ref(self.settings.base_branch),
            f"{branch_ref(self.settings.work_branch)}*",
            *(branch_ref(branch) for branch, _ in self.settings.bases),
            "HEAD",
        ]
        owner = [self.settings.owner_ref] if self.settings.owner_ref else []
        return self.remote.advertised([*branches, *self.settings.refs.patterns, *owner])

    def _base(self, advertised: dict[str, str]) -> str:
        base = advertised.get(branch_ref(self.settings.base_branch))
        if base is not None:
            return base
        hint = "the repository has other branches" if advertised else "the repository may be empty"
        raise AttemptError(
            Outcome.CONFIG_ERROR,
            "BaseBranchMissing",
            f'{self.remote.url} has no branch "{self.settings.base_branch}" ({hint}); '
            "set spec.kubernetes.gitBranch, or spec.defaults.kubernetes.gitBranch of the Rig, to a branch that exists",
        )

    def _base_of_dependencies(self, git: Git) -> str:
        """What dependencies give as base; empty where there are none."""
        if not self.settings.bases:
            return ""
        names = {"NAME": self.settings.committer_name, "EMAIL": self.settings.committer_email}
        committer = {
            f"GIT_{role}_{field}": value for role in ("AUTHOR", "COMMITTER") for field, value in names.items()
        }
        return bases.merged(git, self.settings.bases, committer)

    def _finished(self, advertised: dict[str, str], base: str, done: str) -> CloneRecord:
        """The agent of this round succeeded in an attempt whose last word was lost: only the word is missing."""
        wanted = {**self._branches(advertised, work=False), self.settings.refs.done: _LOCAL_DONE}
        keeper = self._bring(advertised, wanted, lambda: self._prepare_keeper(advertised))
        base = self._base_of_dependencies(keeper) or base
        work = branch_ref(self.settings.work_branch)
        holding = [
            name for name, commit in sorted(advertised.items()) if name.startswith(work) and commit == done
        ]
        record = CloneRecord(
            base=base,
            start=done,
            branch_tip=advertised.get(work, ""),
            resumed="done",
            done=done,
            done_branch=holding[0].removeprefix("refs/heads/") if holding else "",
        )
        record.write(self.paths.record)
        (self.paths.control / "finished").write_text(done)
        self.journal("this round is done already; the agent does not run again", done=done)
        return record

    def _fetch(self, advertised: dict[str, str]) -> Git:
        wanted = self._branches(advertised, work=True)
        checkpoint = newest_checkpoint(self.settings.refs, advertised)
        if checkpoint is not None:
            wanted[checkpoint] = _LOCAL_CHECKPOINT
        git = self._bring(advertised, wanted, lambda: self._prepare_repository(advertised))
        self._configure(git)
        return git

    def _branches(self, advertised: Mapping[str, str], *, work: bool) -> dict[str, str]:
        """What work can begin with or go on from: names on the server, and the agent's names for them."""
        names = [self.settings.base_branch, *([self.settings.work_branch] if work else [])]
        wanted = {
            branch_ref(name): f"refs/remotes/origin/{name}"
            for name in names
            if branch_ref(name) in advertised
        }
        for number, (branch, commit) in enumerate(self.settings.bases):
            if advertised.get(branch_ref(branch)) == commit:
                wanted[branch_ref(branch)] = f"refs/remotes/origin/{branch}"
            else:
                # The branch went on, or away, since the operator looked: what it was then is asked for by its id.
                wanted[commit] = f"{_LOCAL_BASES}/{number}"
        return wanted

    def _bring(
        self, advertised: Mapping[str, str], wanted: Mapping[str, str], fresh: Callable[[], Git]
    ) -> Git:
        volume = mirror.find(self.paths.mirror, self.remote.url) if self.settings.mirror else None
        if self.settings.mirror and volume is None:
            self.journal("there is no mirror of the repository; everything comes from the server")
        history = History(
            self.remote,
            Wanted(wanted, tuple(advertised.get(name, name) for name in wanted)),
            self.settings.full_clone_limit,
            mirror.Mirror(volume) if volume else None,
            fresh,
            self.journal,
            self.patience,
        )
        try:
            return history.bring()
        except AttemptError as error:
            raise self._dependency_missing(wanted, error) from error

    def _dependency_missing(self, wanted: Mapping[str, str], error: AttemptError) -> AttemptError:
        """What a failed fetch means where a commit was asked for that no branch has any more."""
        gone = [branch for branch, commit in self.settings.bases if commit in wanted]
        if not gone or "not our ref" not in error.message:
            return error
        return AttemptError(
            Outcome.CONFIG_ERROR,
            "DependencyMissing",
            f'{self.remote.url} does not have the commits of "{", ".join(gone)}" any more, which this work depends on; '
            "push them again, or remove the dependency from spec.dependsOn",
        )

    def _prepare_repository(self, advertised: Mapping[str, str]) -> Git:
        self._empty_repository()
        git = Git(self.paths.repository / ".git", work_tree=self.paths.repository)
        hashes = f"--object-format={object_format(advertised)}"
        branch = f"--initial-branch={self.settings.base_branch}"
        git.run("init", "--quiet", "--template=", branch, hashes)
        return git

    def _configure(self, git: Git) -> None:
        """What the agent's own git reads; nothing of it carries a credential."""
        values = {
            "user.name": self.settings.committer_name,
            "user.email": self.settings.committer_email,
            "remote.origin.url": self.remote.url,
            "remote.origin.fetch": "+refs/heads/*:refs/remotes/origin/*",
            "advice.detachedHead": "false",
        }
        for key, value in values.items():
            git.run("config", "--local", key, value)

    def _check_out(self, git: Git, advertised: dict[str, str], base: str) -> CloneRecord:
        branch_tip = advertised.get(branch_ref(self.settings.work_branch), "")
        name = newest_checkpoint(self.settings.refs, advertised) or ""
        checkpoint = advertised.get(name, "")
        resumed, start = "base", base
        if branch_tip:
            resumed, start = "branch", branch_tip
        if checkpoint and not (branch_tip and commits.is_ancestor(git, checkpoint, branch_tip)):
            resumed, start = "checkpoint", checkpoint
        git.run(
            "checkout", "--quiet", "--force", "-B", self.settings.work_branch, start, timeout=CLONE_TIMEOUT
        )
        signatures.record(git, self.paths.repository, self.paths.files)
        message = commits.message(git, start)
        found = Resumed(start, (start,) if resumed == "checkpoint" else ())
        if resumed == "checkpoint" and CHECKPOINT_TRAILER in message:
            found = put_back.resume(git, self.paths.repository, start, name)
            start = found.start
        return CloneRecord(
            base=base,
            start=start,
            branch_tip=branch_tip,
            resumed=resumed,
            origin=self._origin(git, advertised, base, start, message if resumed == "checkpoint" else ""),
            checkpoint=advertised.get(self.settings.refs.checkpoint, ""),
            saved=found.saved,
            put_back=found.put_back,
            left_aside=found.left_aside,
            owned=self.settings.owner_ref in advertised,
        )

    def _origin(self, git: Git, advertised: Mapping[str, str], base: str, start: str, message: str) -> str:
        """The base where the start has work of this polecat's in it, else the start: somebody else's branch proves nothing."""
        for line in message.splitlines():
            if line.startswith(ORIGIN_TRAILER):
                named = line.removeprefix(ORIGIN_TRAILER).strip()
                return named if commits.is_ancestor(git, named, start) else base
        own = [advertised[name] for name in advertised if name.startswith(self.settings.refs.own)]
        ours = (
            it for it in own if commits.is_ancestor(git, it, start) and not commits.is_ancestor(git, it, base)
        )
        return base if start == base or any(ours) else start

    def _empty_repository(self) -> None:
        """An earlier run of this container may have got half way; what is there may be the agent's, so it is not opened."""
        if self.paths.repository.exists():
            shutil.rmtree(self.paths.repository)
        if self.paths.keeper_git_dir.exists():
            shutil.rmtree(self.paths.keeper_git_dir)
        self.paths.repository.mkdir()

    def _prepare_keeper(self, advertised: Mapping[str, str]) -> Git:
        return keeper_repository.prepare(
            self.paths.keeper_git_dir, self.paths.repository / ".git", object_format(advertised)
        )

    def _give_merges_to_keeper(self, git: Git, base: str) -> None:
        heads = [commit for _, commit in self.settings.bases]
        if heads and base not in heads:
            keeper_repository.give(git, Git(self.paths.keeper_git_dir), base, heads)
