"""The `clone` container: puts the repository where the agent finds it, at the commit where its work goes on."""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path

import attrs

from gastown_operator.workload import signatures
from gastown_operator.workload.clone_record import CloneRecord
from gastown_operator.workload.errors import AttemptError
from gastown_operator.workload.git import Git
from gastown_operator.workload.journal import Journal
from gastown_operator.workload.message import Outcome
from gastown_operator.workload.refs import branch_ref, newest_checkpoint
from gastown_operator.workload.remote import Remote
from gastown_operator.workload.settings import Settings

CHECKPOINT_TRAILER = "Gastown-Checkpoint: unfinished work"
#: On a checkpoint's own commit: the commit that the polecat's work goes on from.
ORIGIN_TRAILER = "Gastown-Origin:"
_LOCAL_CHECKPOINT = "refs/gastown/checkpoint"
CLONE_TIMEOUT = 1800.0


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
    """

    repository: Path
    control: Path
    hints: Path
    keeper_git_dir: Path
    record: Path
    files: Path


@attrs.frozen
class Clone:
    """Prepares one attempt."""

    settings: Settings
    remote: Remote
    paths: ClonePaths
    journal: Journal
    wall: Callable[[], float] = time.time

    def run(self) -> CloneRecord:
        """Clone, check out, and write what agent and keeper need.

        Raises:
            AttemptError: the remote cannot be used; the message is for the polecat's condition.
            GitError: a local git command failed.
        """
        self._write_control_files()
        self._empty_repository()
        advertised = self._advertised()
        base = self._base(advertised)
        done = advertised.get(self.settings.refs.done, "")
        if done:
            return self._finished(advertised, base, done)
        git = self._fetch(advertised)
        record = self._check_out(git, advertised, base)
        self._prepare_keeper(advertised)
        record = attrs.evolve(record, cloned_at=self.wall())
        record.write(self.paths.record)
        self.journal("cloned", branch=self.settings.work_branch, start=record.start, resumed=record.resumed)
        return record

    def _advertised(self) -> dict[str, str]:
        branches = [
            branch_ref(self.settings.base_branch),
            f"{branch_ref(self.settings.work_branch)}*",
            "HEAD",
        ]
        return self.remote.advertised([*branches, *self.settings.refs.patterns])

    def _base(self, advertised: dict[str, str]) -> str:
        base = advertised.get(branch_ref(self.settings.base_branch))
        if base is not None:
            return base
        hint = "the repository has other branches" if advertised else "the repository may be empty"
        raise AttemptError(
            Outcome.CONFIG_ERROR,
            "BaseBranchMissing",
            f'{self.remote.url} has no branch "{self.settings.base_branch}" ({hint}); '
            "set spec.kubernetes.gitBranch to a branch that exists",
        )

    def _finished(self, advertised: dict[str, str], base: str, done: str) -> CloneRecord:
        """The agent of this round succeeded in an attempt whose last word was lost: only the word is missing."""
        self._prepare_keeper(advertised)
        keeper = Git(self.paths.keeper_git_dir)
        self.remote.fetch(keeper, [branch_ref(self.settings.base_branch), self.settings.refs.done])
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
        git = Git(self.paths.repository / ".git", work_tree=self.paths.repository)
        git.run(
            "init",
            "--quiet",
            "--template=",
            f"--initial-branch={self.settings.base_branch}",
            f"--object-format={_object_format(advertised)}",
        )
        refspecs = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
        checkpoint = newest_checkpoint(self.settings.refs, advertised)
        if checkpoint is not None:
            refspecs.append(f"+{checkpoint}:{_LOCAL_CHECKPOINT}")
        self.remote.fetch(git, refspecs, timeout=CLONE_TIMEOUT)
        self._configure(git)
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
        checkpoint = advertised.get(newest_checkpoint(self.settings.refs, advertised) or "", "")
        resumed, start = "base", base
        if branch_tip:
            resumed, start = "branch", branch_tip
        if checkpoint and not (branch_tip and _is_ancestor(git, checkpoint, branch_tip)):
            resumed, start = "checkpoint", checkpoint
        git.run(
            "checkout", "--quiet", "--force", "-B", self.settings.work_branch, start, timeout=CLONE_TIMEOUT
        )
        signatures.record(git, self.paths.repository, self.paths.files)
        message = git.run("show", "-s", "--format=%B", start).decode("utf-8", "replace")
        saved: tuple[str, ...] = (start,) if resumed == "checkpoint" else ()
        if resumed == "checkpoint" and CHECKPOINT_TRAILER in message:
            saved = tuple(git.line("show", "-s", "--format=%P", start).split())
            # The checkpoint's own commit was never the agent's: give its changes back as uncommitted ones.
            git.run("reset", "--quiet", "--mixed", f"{start}^")
            start = git.line("rev-parse", "HEAD")
        return CloneRecord(
            base=base,
            start=start,
            branch_tip=branch_tip,
            resumed=resumed,
            origin=self._origin(git, advertised, base, start, message if resumed == "checkpoint" else ""),
            checkpoint=advertised.get(self.settings.refs.checkpoint, ""),
            saved=saved,
        )

    def _origin(self, git: Git, advertised: Mapping[str, str], base: str, start: str, message: str) -> str:
        """The base where the start has work of this polecat's in it, else the start: somebody else's branch proves nothing."""
        for line in message.splitlines():
            if line.startswith(ORIGIN_TRAILER):
                named = line.removeprefix(ORIGIN_TRAILER).strip()
                return named if _is_ancestor(git, named, start) else base
        own = [advertised[name] for name in advertised if name.startswith(self.settings.refs.own)]
        ours = (it for it in own if _is_ancestor(git, it, start) and not _is_ancestor(git, it, base))
        return base if start == base or any(ours) else start

    def _empty_repository(self) -> None:
        """An earlier run of this container may have got half way; what is there may be the agent's, so it is not opened."""
        if self.paths.repository.exists():
            shutil.rmtree(self.paths.repository)
        if self.paths.keeper_git_dir.exists():
            shutil.rmtree(self.paths.keeper_git_dir)
        self.paths.repository.mkdir()

    def _prepare_keeper(self, advertised: Mapping[str, str]) -> None:
        """A repository that hooks and configuration of the agent's cannot reach, but which sees its objects."""
        keeper = self.paths.keeper_git_dir
        keeper.mkdir()
        hashes = f"--object-format={_object_format(advertised)}"
        Git(keeper).run("init", "--quiet", "--bare", "--template=", hashes, ".")
        alternates = keeper / "objects" / "info" / "alternates"
        alternates.parent.mkdir(parents=True, exist_ok=True)
        alternates.write_text(f"{self.paths.repository}/.git/objects\n")

    def _write_control_files(self) -> None:
        control = self.paths.control
        wrapper = control / "agent-wrapper"
        wrapper.write_bytes(files("gastown_operator.workload").joinpath("agent-wrapper.sh").read_bytes())
        wrapper.chmod(0o555)
        (control / "prompt.md").write_text(self.settings.prompt, encoding="utf-8")
        alive = self.paths.hints / "alive"
        if self.settings.ended_by_pipe and not alive.exists():
            os.mkfifo(alive, 0o600)


def _object_format(advertised: Mapping[str, str]) -> str:
    """The hash that the server's repository uses, by the length of its ids."""
    return "sha256" if any(len(object_id) == 64 for object_id in advertised.values()) else "sha1"


def _is_ancestor(git: Git, older: str, newer: str) -> bool:
    return git.attempt("merge-base", "--is-ancestor", older, newer)[0] == 0
