"""Gives a clone that goes on from a checkpoint what the checkpoint has beside the branch (`aside`): contents of git-lfs, and submodules.

The agent decides over names and contents of all that, so nothing is believed: a content of git-lfs has the digest that it is called by,
and a submodule goes into an empty directory, reached without links, at a path that the commit has for one.
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from gastown_operator.workload import commits, lfs, submodules
from gastown_operator.workload.aside import BESIDE_TRAILER, PLACE_TRAILER
from gastown_operator.workload.errors import GitError
from gastown_operator.workload.git import Git, nul_separated, printable
from gastown_operator.workload.plain_files import open_directory
from gastown_operator.workload.signatures import GITLINK, entries_of_index

_TIMEOUT: Final = 300.0
_MAXIMUM_NAME: Final = 200
#: What a name, a tree or a commit that nobody but the agent made can raise.
_FAILURES: Final = (GitError, OSError, ValueError, RecursionError)


@attrs.frozen
class Found:
    """What a checkpoint had beside the branch.

    Attributes:
        commit: that holds it.
        where: for the agent, such as `the submodule 'lib'`.
        missing: why it was not put back, or not all of it; empty where it was.
    """

    commit: str
    where: str
    missing: str = ""


@attrs.frozen
class Resumed:
    """What a clone goes on from.

    Attributes:
        start: the last commit.
        saved: commits that the next checkpoint must keep.
        put_back: what the checkpoint had beside the branch, and is where it was again; for the agent.
        left_aside: what is not, why, and where it is; for the agent.
    """

    start: str
    saved: tuple[str, ...] = ()
    put_back: tuple[str, ...] = ()
    left_aside: tuple[str, ...] = ()


def resume(git: Git, repository: Path, checkpoint: str, ref: str) -> Resumed:
    """Give back what a checkpoint holds, as uncommitted changes: its own commit was never the agent's.

    Args:
        git: the agent's repository, at the checkpoint.
        repository: the work tree.
        checkpoint: its commit.
        ref: where it is on the server.
    """
    parents = commits.parents(git, checkpoint)
    if not parents:
        # A commit of the agent's that calls itself a checkpoint.
        return Resumed(checkpoint, (checkpoint,))
    head, *beside = parents
    git.run("reset", "--quiet", "--mixed", head)
    found = PutBack(git, repository).run(commits.message(git, checkpoint), beside)
    # The keeper finds in the work tree what is there again, and keeps the rest.
    back = [it.commit for it in found if not it.missing]
    left = (f"{it.where} ({it.missing}): commit {it.commit}, a parent of {ref}" for it in found if it.missing)
    return Resumed(
        head,
        tuple(commit for commit in (head, *beside) if commit not in back),
        tuple(it.where for it in found if not it.missing),
        tuple(left),
    )


@attrs.frozen
class PutBack:
    """Puts it back, before anybody but clone has the repository.

    Args:
        git: the agent's repository, with its work tree at the checkpoint's files and its index at the last commit.
        repository: the work tree.
    """

    git: Git
    repository: Path

    def run(self, message: str, parents: Sequence[str]) -> list[Found]:
        """What became of each.

        Args:
            message: of the checkpoint.
            parents: of the checkpoint, but the first.
        """
        named = [
            line.removeprefix(BESIDE_TRAILER).strip()
            for line in message.splitlines()
            if line.startswith(BESIDE_TRAILER)
        ]
        return [self._put(commit) for commit in dict.fromkeys(named) if commit in parents]

    def _put(self, commit: str) -> Found:
        where = f"what is in {commit[:12]}"
        try:
            place = self._place(commit)
            if place == lfs.STORE:
                where = "contents of git-lfs"
                return Found(commit, where, self._contents(commit))
            where = f"the submodule {ascii(os.fsdecode(place))[:_MAXIMUM_NAME]}"
            self._submodule(commit, place)
        except _FAILURES as error:
            return Found(commit, where, str(error)[:_MAXIMUM_NAME])
        return Found(commit, where)

    def _place(self, commit: str) -> bytes:
        places = [it for it in commits.message(self.git, commit).splitlines() if it.startswith(PLACE_TRAILER)]
        return os.fsencode(str(json.loads("".join(places[-1:]).removeprefix(PLACE_TRAILER))))

    def _contents(self, commit: str) -> str:
        """Write contents to git-lfs's store; what of it is missing."""
        store = self.repository / os.fsdecode(lfs.STORE)
        listed = self.git.run("ls-tree", "-r", "-z", commit).split(b"\0")[:-1]
        wanted = {
            path: entry
            for entry, _, path in (it.partition(b"\t") for it in listed)
            if lfs.is_object(entry, path)
        }
        store.mkdir()
        with _Index(attrs.evolve(self.git, work_tree=store)) as git:
            entries = nul_separated([entry + b"\t" + path for path, entry in wanted.items()])
            git.run("update-index", "-z", "--index-info", stdin=entries, timeout=_TIMEOUT)
            # On a full volume some are written and some are not.
            _, _, errors = git.attempt("checkout-index", "--all", "--quiet", timeout=_TIMEOUT)
        whole = [path for path in wanted if lfs.keep_if_whole(store / os.fsdecode(path))]
        if len(whole) == len(listed):
            return ""
        cause = _first_line(errors) or "they are not what they are called"
        return f"{len(listed) - len(whole)} of {len(listed)} are missing: {cause}"

    def _submodule(self, commit: str, place: bytes) -> None:
        entry = entries_of_index(self.git).get(place)
        if entry is None or entry.mode != GITLINK:
            raise ValueError("the last commit has no submodule there")
        parts = os.fsdecode(place).split("/")
        descriptor = open_directory(self.repository, parts)
        try:
            with os.scandir(descriptor) as entries:
                if any(entries):
                    raise ValueError("something else is there")
        finally:
            os.close(descriptor)
        work = self.repository.joinpath(*parts)
        module = self.repository.joinpath(".git", "modules", *parts)
        try:
            self._fill(commit, work, module)
        except _FAILURES:
            shutil.rmtree(module, ignore_errors=True)
            shutil.rmtree(work)
            work.mkdir()
            raise

    def _fill(self, commit: str, work: Path, module: Path) -> None:
        """Files as they were, above the commits that were there."""
        before = commits.parents(self.git, commit)
        with _Index(attrs.evolve(self.git, work_tree=work)) as git:
            git.run("read-tree", "--reset", "-u", commit, timeout=_TIMEOUT)
        if before:
            _repository(self.git, before[0], work, module)


@attrs.frozen
class _Index:
    """An index of its own, for as long as it takes."""

    git: Git

    def __enter__(self) -> Git:
        return attrs.evolve(self.git, index=self._file)

    def __exit__(self, *_: object) -> None:
        self._file.unlink(missing_ok=True)

    @property
    def _file(self) -> Path:
        return (self.git.git_dir or Path()) / "gastown-index"


def _repository(git: Git, kept: str, work: Path, module: Path) -> None:
    """Make a submodule's repository from what `submodules.Submodule.keep` made, as git has them: beside the clone's own."""
    module.mkdir(parents=True)
    own = Git(module)
    object_format = git.line("rev-parse", "--show-object-format")
    own.run("init", "--quiet", "--template=", f"--object-format={object_format}")
    own.run("config", "core.bare", "false")
    own.run("config", "core.worktree", os.path.relpath(work, module))
    submodules.pack(git, module, f"{kept}\n".encode(), "--revs")
    most = submodules.MAXIMUM_COMMITS + 1
    copies = git.line("rev-list", "--topo-order", "--reverse", f"--max-count={most + 1}", kept).split()
    if len(copies) > most:
        raise ValueError("it has more commits than were ever kept")
    head, parents = "", {}
    for copy in copies:
        content = submodules.original(commits.message(git, copy))
        head = own.run("hash-object", "-t", "commit", "-w", "--stdin", stdin=content).decode("ascii").strip()
        parents[head] = _parents(content)
    cut = [commit for commit, before in parents.items() if not before <= parents.keys()]
    if cut:
        # What came before them is at the submodule's own server.
        (module / "shallow").write_text("".join(f"{it}\n" for it in cut))
    own.run("update-ref", "--no-deref", "HEAD", head)
    attrs.evolve(own, work_tree=work).run("read-tree", head)
    (work / ".git").write_text(f"gitdir: {os.path.relpath(module, work)}\n")


def _first_line(errors: bytes) -> str:
    return printable(errors).strip().partition("\n")[0][:_MAXIMUM_NAME]


def _parents(content: bytes) -> set[str]:
    """Parents that a commit names in its header."""
    lines = content.partition(b"\n\n")[0].splitlines()
    return {it.removeprefix(b"parent ").decode("ascii") for it in lines if it.startswith(b"parent ")}
