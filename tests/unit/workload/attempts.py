"""A real git remote in a directory, and the workload's programs on a work tree beside it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path

import attrs

from gastown_operator.workload import clone_record, signatures
from gastown_operator.workload.clone import Clone, ClonePaths
from gastown_operator.workload.clone_record import CloneRecord
from gastown_operator.workload.credentials import Access
from gastown_operator.workload.git import Git
from gastown_operator.workload.history import PATIENCE
from gastown_operator.workload.journal import JsonJournal
from gastown_operator.workload.keeper import Keeper
from gastown_operator.workload.message import TerminationMessage
from gastown_operator.workload.refs import RecoveryRefs
from gastown_operator.workload.remote import Remote
from gastown_operator.workload.salvage import Salvage
from gastown_operator.workload.settings import Settings
from gastown_operator.workload.signals import Wakeups
from gastown_operator.workload.snapshot import Snapshots
from gastown_operator.workload.work import Work

#: The remote is a directory here; in a pod `file` is not among the allowed protocols.
LOCAL_ACCESS = Access({"GIT_ALLOW_PROTOCOL": "file"}, {})
IDENTITY = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.invalid")


def git(directory: Path, *arguments: str, stdin: bytes = b"") -> str:
    """What `git ARGUMENTS` prints in a directory, as its user would run it."""
    done = subprocess.run(
        ["git", *IDENTITY, *arguments], cwd=directory, check=True, capture_output=True, input=stdin
    )
    return done.stdout.decode("utf-8", "surrogateescape").strip()


@attrs.frozen
class RemoteRepository:
    """A bare repository that plays the git server."""

    path: Path

    def refs(self) -> dict[str, str]:
        """Object ids by full name."""
        lines = git(self.path, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(line.split(" ") for line in lines)

    def files(self, revision: str) -> dict[str, str]:
        """Contents of every file of a commit."""
        names = git(self.path, "ls-tree", "-r", "--name-only", revision).splitlines()
        return {name: git(self.path, "show", f"{revision}:{name}") for name in names}

    def commit(self, branch: str, files: Mapping[str, str], message: str) -> str:
        """Add a commit as another person would, and give its id."""
        checkout = self.path.parent / "somebody"
        if not checkout.exists():
            git(self.path.parent, "clone", "--quiet", str(self.path), str(checkout))
        git(checkout, "fetch", "--quiet", "origin")
        start = f"origin/{branch}" if f"refs/heads/{branch}" in self.refs() else "HEAD"
        git(checkout, "checkout", "--quiet", "-B", branch, *([start] if self.refs() else []))
        for name, content in files.items():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (checkout / name).write_text(content)
        git(checkout, "add", "--all")
        git(checkout, "commit", "--quiet", "--message", message)
        git(checkout, "push", "--quiet", "origin", branch)
        return git(checkout, "rev-parse", "HEAD")

    def grow(self, branch: str, commits: int) -> None:
        """Add commits to a branch, each of which changes one of ten files by a few random bytes."""
        stream = [f"reset refs/heads/{branch}\nfrom refs/heads/{branch}^0\n"]
        for number in range(commits):
            message, content = f"Change {number}", os.urandom(16).hex()
            stream.append(
                f"commit refs/heads/{branch}\ncommitter A <a@example.invalid> {1700000000 + number} +0000\n"
                f"data {len(message)}\n{message}\nM 644 inline grown/{number % 10}.txt\ndata {len(content)}\n{content}\n"
            )
        subprocess.run(
            ["git", "fast-import", "--quiet"], cwd=self.path, input="".join(stream).encode(), check=True
        )

    def hook(self, name: str, text: str) -> None:
        """Install a server-side hook."""
        hook = self.path / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\n{text}\n")
        hook.chmod(0o755)


@attrs.define
class Attempt:
    """One pod's worth of volumes, with the programs that run in it."""

    settings: Settings
    remote: Remote
    root: Path
    record: CloneRecord | None = None
    published: list[TerminationMessage] = attrs.field(factory=list)
    log: StringIO = attrs.field(factory=StringIO)

    @property
    def repository(self) -> Path:
        """The agent's clone."""
        return self.root / "repo"

    @property
    def hints(self) -> Path:
        """What the wrapper writes."""
        return self.root / "hints"

    @property
    def control(self) -> Path:
        """What clone and keeper write for the wrapper."""
        return self.root / "control"

    def clone(self, patience: float = PATIENCE) -> CloneRecord:
        """Run the init container; without patience, its clone is shallow wherever it may be."""
        for directory in (self.hints, self.control):
            directory.mkdir(parents=True, exist_ok=True)
        paths = ClonePaths(
            self.repository,
            self.control,
            self.hints,
            self.root / "keeper.git",
            self.root / "clone.json",
            self.root / "files.jsonl",
            self.root.parent / "mirror",
        )
        Clone(self.settings, self.remote, paths, JsonJournal("clone"), patience=patience).run()
        self.record = clone_record.read(self.root / "clone.json")
        return self.record

    def keeper(self, monotonic: Callable[[], float] = time.monotonic) -> Keeper:
        """The sidecar, as after its start."""
        assert self.record is not None, "clone comes first"
        keeper_git = Git(self.root / "keeper.git", work_tree=self.repository, index=self.root / "index")
        scratch = self.root / "scratch"
        scratch.mkdir(exist_ok=True)
        snapshots = Snapshots(
            keeper_git, self.repository, scratch, signatures.read(self.root / "files.jsonl")
        )
        journal = JsonJournal("keeper")
        work = Work(keeper_git, snapshots, self.repository, self.settings, self.record, self.remote, journal)
        return Keeper(
            self.settings,
            self.record,
            self.remote,
            keeper_git,
            work,
            Salvage(keeper_git, self.record.base, self.root, self.log),
            self.hints,
            self.control,
            self.root,
            journal,
            monotonic,
            self.published.append,
        )

    def agent(self, files: Mapping[str, str], message: str = "") -> str:
        """Do what an agent does: write files, and commit them where there is a message."""
        for name, content in files.items():
            (self.repository / name).parent.mkdir(parents=True, exist_ok=True)
            (self.repository / name).write_text(content)
        if message:
            git(self.repository, "add", "--all")
            git(self.repository, "commit", "--quiet", "--message", message)
        return git(self.repository, "rev-parse", "HEAD")

    def end(self, code: int | None = 0, *, stopped: bool = False) -> TerminationMessage:
        """The agent's container ends, then the keeper delivers; its last message."""
        if code is not None:
            (self.hints / "exit").write_text(f"code={code} stopped={'yes' if stopped else 'no'}\n")
        with EndedAtOnce(()) as wakeups:
            return self.keeper().run(wakeups)

    def local_git(self) -> Git:
        """Git on the agent's clone."""
        return Git(self.repository / ".git", work_tree=self.repository)


class EndedAtOnce(Wakeups):
    """Wakeups of a container that the kubelet tells to end: SIGTERM is always there."""

    def wait(self, seconds: float) -> set[signal.Signals]:
        """SIGTERM, at once."""
        del seconds
        return {signal.SIGTERM}


@attrs.define
class Attempts:
    """Makes attempts of one polecat, each with volumes of its own."""

    remote_repository: RemoteRepository
    root: Path
    access: Access = LOCAL_ACCESS
    made: int = 0

    def __call__(self, **changes: object) -> Attempt:
        """The next attempt; `round` and every setting can be given."""
        self.made += 1
        round_number = changes.pop("round", 1)
        assert isinstance(round_number, int)
        settings = Settings(
            repository=str(self.remote_repository.path),
            base_branch="main",
            work_branch="polecat/toast",
            refs=RecoveryRefs("refs/gastown", "0b7c2f2e-aaaa", round_number),
            attempt=self.made,
            polecat="gastown-workers/toast",
            bead="gt-1",
            title="Fix the greeting",
            prompt="Please fix it.\n",
        )
        settings = attrs.evolve(settings, **changes)  # type: ignore[arg-type]  # settings of any type
        return Attempt(settings, Remote(settings.repository, self.access), self.root / f"pod-{self.made}")
