"""Brings a repository into the clone: all of its history while that is little, else the newest part; contents of files always."""

import time
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Final

import attrs

from gastown_operator.workload import mirror
from gastown_operator.workload.errors import AttemptError, GitError
from gastown_operator.workload.git import Git
from gastown_operator.workload.journal import Journal
from gastown_operator.workload.mirror import Mirror
from gastown_operator.workload.remote import Remote

CLONE_TIMEOUT: Final = 1800.0
#: Commits of each branch in a shallow clone, at first and where they do not show how the branches belong together.
DEPTH: Final = 50
DEEPER: Final = 500
#: Seconds after which a complete clone is broken off, where it may be.
PATIENCE: Final = 60.0
_MIB: Final = 1024 * 1024


@attrs.frozen
class Wanted:
    """What a clone needs.

    Attributes:
        refs: names on the server, or object ids, and the local refs for them.
        tips: their commits, as the server advertised them.
    """

    refs: Mapping[str, str]
    tips: tuple[str, ...]

    @property
    def refspecs(self) -> list[str]:
        """As git takes them."""
        return [f"+{name}:{local}" for name, local in self.refs.items()]


@attrs.frozen
class History:
    """Fetches from the server, and from a mirror before it where there is one.

    A server does not say how much it would send. So a complete clone is begun, and broken off when it turns out to be more than the
    limit, or takes too long; that costs a large repository at most the limit more than the shallow clone that follows.

    Args:
        wanted: what shall be there at the end.
        limit: MiB of objects above which the clone is shallow; 0 for never.
        mirror: a local repository that may have much of it.
        fresh: makes the repository, empty, in the place of a former try.
        patience: seconds after which a complete clone is broken off, where there is a limit.
        monotonic: seconds that only grow.
    """

    remote: Remote
    wanted: Wanted
    limit: int
    mirror: Mirror | None
    fresh: Callable[[], Git]
    journal: Journal
    patience: float = PATIENCE
    monotonic: Callable[[], float] = time.monotonic

    def bring(self) -> Git:
        """The repository with everything that is wanted.

        Raises:
            AttemptError: the server cannot be reached or refuses.
        """
        began = self.monotonic()
        try:
            git = self._complete() or self._shallow()
        except _ForeignMirrorError as error:
            self.journal("the mirror is of no use; cloning without it", cause=str(error))
            return attrs.evolve(self, mirror=None).bring()
        self.journal(
            "history brought",
            shallow=_boundary_file(git).exists(),
            bytes=_size(git),
            seconds=round(self.monotonic() - began, 2),
        )
        return git

    def _complete(self) -> Git | None:
        """The repository with its whole history; None where that is too much."""
        watch = _Watch(self.limit * _MIB, self.monotonic() + self.patience, self.monotonic)
        git, seeded = self._seeded(watch)
        if watch.broke_off():
            return None
        try:
            self._fetch(git, seeded, enough=watch.on(git))
        except AttemptError:
            if watch.broke_off():
                return None
            raise
        return git

    def _shallow(self) -> Git:
        """The newest part, and as much more as it takes to tell which commits one branch has beyond another."""
        depth = f"--depth={DEPTH}"
        git, seeded = self._seeded(None, depth)
        self._fetch(git, seeded, depth)
        for more in (f"--depth={DEEPER}", "--unshallow"):
            if not _is_cut(git, self.wanted.tips):
                break
            self._fetch(git, [], more)
        return git

    def _seeded(self, watch: "_Watch | None", *options: str) -> tuple[Git, list[str]]:
        """A new repository with what the mirror has, and the commits that it has."""
        git = self.fresh()
        if self.mirror is None:
            return git, []
        try:
            return git, self.mirror.copy(
                git, self.wanted.refs, *options, enough=watch.on(git) if watch else None
            )
        except (GitError, OSError) as error:
            if watch is None or not watch.broke_off():
                self.journal("the mirror cannot be used; everything comes from the server", cause=str(error))
            return self.fresh(), []

    def _fetch(
        self, git: Git, seeded: list[str], *options: str, enough: Callable[[], bool] | None = None
    ) -> None:
        try:
            self.remote.fetch(git, self.wanted.refspecs, *options, timeout=CLONE_TIMEOUT, enough=enough)
        except AttemptError as error:
            if seeded and error.reason == "GitFailed" and not (enough and enough()):
                raise _ForeignMirrorError(error.message) from error
            raise
        if seeded and not _related(git, seeded, self.wanted.tips):
            raise _ForeignMirrorError("it has nothing in common with what the server sent")
        mirror.forget(git)


class _ForeignMirrorError(Exception):
    """The clone has to be made again, without the mirror."""


@attrs.define
class _Watch:
    """Says when a fetch has become too much; never where the limit is 0."""

    limit: int
    until: float
    monotonic: Callable[[], float]
    _broke: bool = attrs.field(init=False, default=False)

    def on(self, git: Git) -> Callable[[], bool] | None:
        """The question to ask while a repository is filled."""
        return (lambda: self._too_much(git)) if self.limit else None

    def _too_much(self, git: Git) -> bool:
        self._broke = self._broke or self.monotonic() >= self.until or _size(git) > self.limit
        return self._broke

    def broke_off(self) -> bool:
        """Whether it was too much."""
        return self._broke


def _size(git: Git) -> int:
    """Bytes of the packs, and of what git is writing there now."""
    packs = _git_dir(git) / "objects" / "pack"
    sizes = []
    for pack in packs.iterdir() if packs.is_dir() else ():
        try:
            sizes.append(pack.stat().st_size)
        except FileNotFoundError:
            # Git has just given it its final name.
            continue
    return sum(sizes)


def _is_cut(git: Git, tips: tuple[str, ...]) -> bool:
    """Whether what one tip has and another has not may go on behind the end of a shallow history."""
    boundary = _boundary_file(git)
    if not boundary.exists():
        return False
    ends = set(boundary.read_text().split())
    for one, other in combinations(dict.fromkeys(tips), 2):
        status, output, _ = git.attempt("rev-list", f"{one}...{other}")
        if status != 0 or not ends.isdisjoint(output.decode("ascii").split()):
            return True
    return False


def _related(git: Git, seeded: list[str], tips: tuple[str, ...]) -> bool:
    """Whether every commit of the mirror's has a history in common with something of the server's."""
    return all(
        any(git.attempt("merge-base", commit, tip)[0] == 0 for tip in tips)
        for commit in dict.fromkeys(seeded)
    )


def _boundary_file(git: Git) -> Path:
    """Git's list of the commits that a shallow history ends with."""
    return _git_dir(git) / "shallow"


def _git_dir(git: Git) -> Path:
    if git.git_dir is None:
        raise ValueError("history needs a repository to be in")
    return git.git_dir
