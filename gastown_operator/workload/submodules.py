"""Repositories in a submodule's place, read without opening them: where they are, and what was committed there.

Their servers are never asked, and the rig's need not take commits whose history it does not have. So a commit of a submodule is
kept as another one, with the same tree, whose message holds the original word for word: from both, it can be made again.
"""

import base64
import os
import posixpath
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import attrs

from gastown_operator.workload import commits, object_store
from gastown_operator.workload.errors import GitError, UnreadableRepositoryError
from gastown_operator.workload.git import Git
from gastown_operator.workload.plain_files import open_directory, read_beneath, read_head

#: Commits of a submodule beyond the recorded one; of more, only the newest is kept.
MAXIMUM_COMMITS: Final = 50
_MAXIMUM_COMMIT_BYTES: Final = 64 * 1024
_MAXIMUM_LINK_BYTES: Final = 4096
_LINK: Final = b"gitdir: "
_LOOK_TIMEOUT: Final = 10.0
_PACK_TIMEOUT: Final = 60.0

Commit = Callable[[str, str, Sequence[str]], str]
"""Makes a commit of a tree, a message and parents."""


@attrs.frozen
class Submodule:
    """The repository in a submodule's place.

    Args:
        git: the keeper's repository, which sees the submodule's objects as well.
        own: the keeper's repository alone.
        head: the commit that HEAD is at.
    """

    git: Git
    own: Git
    head: str

    @property
    def tree(self) -> str:
        """The tree of `head`."""
        return self.git.line("rev-parse", f"{self.head}^{{tree}}")

    def keep(self, recorded: str, name: str, commit: Commit) -> str:
        """Make the commits after `recorded`, itself included, anew in the keeper's repository; the one for `head`.

        Raises:
            GitError: they cannot be read, or not written.
        """
        made: dict[str, str] = {}
        for original in self._commits(recorded):
            content = self.git.run("cat-file", "commit", original)
            tree = self.git.line("rev-parse", f"{original}^{{tree}}")
            self._take_over(tree)
            parents = commits.parents(self.git, original)
            text = f"Commit {original} of {name}\n\n{base64.encodebytes(content).decode('ascii')}"
            made[original] = commit(tree, text, [made[it] for it in parents if it in made])
        return made[self.head]

    def _commits(self, recorded: str) -> list[str]:
        """From the recorded commit (the first one where there is none) to `head`, parents first; `head` alone where they cannot be told, or are too many."""
        listed: list[str] = []
        if self.head != recorded:
            most = f"--max-count={MAXIMUM_COMMITS + 1}"
            without = [f"^{recorded}"] if recorded else []
            call = ("rev-list", "--topo-order", "--reverse", most, self.head, *without)
            status, output, _ = self.git.attempt(*call, timeout=_LOOK_TIMEOUT)
            listed = output.decode("ascii").split() if status == 0 else []
        begins = [recorded] if recorded else []
        chosen = [*begins, *listed] if 0 < len(listed) <= MAXIMUM_COMMITS else [self.head]
        asked = "".join(f"{it}\n" for it in chosen).encode()
        kinds = "--batch-check=%(objecttype) %(objectsize)"
        found = self.git.run("cat-file", kinds, stdin=asked).splitlines()
        if all(it[0] == b"commit" and int(it[1]) <= _MAXIMUM_COMMIT_BYTES for it in map(bytes.split, found)):
            return chosen
        raise GitError("cat-file", 1, "a commit of the submodule is missing, or too large")

    def _take_over(self, tree: str) -> None:
        """Copy what the keeper's repository lacks of a tree."""
        call = ("rev-list", "--objects", "--no-object-names", "--stdin")
        needed = self.git.run(*call, stdin=f"{tree}\n".encode(), timeout=_LOOK_TIMEOUT)
        there = self.own.run("cat-file", "--batch-check=%(objectname)", stdin=needed).splitlines()
        missing = b"".join(it.split()[0] + b"\n" for it in there if it.endswith(b" missing"))
        if missing:
            pack(self.git, self.own.git_dir, missing)


def find(git: Git, repository: Path, path: bytes) -> Submodule | None:
    """The repository at a path of the agent's work tree; None where there is none whose objects can be read.

    Args:
        git: the keeper's.
        repository: the agent's clone.
        path: of the submodule, as `.gitmodules` has it.
    """
    directory = _git_directory(repository, os.fsdecode(path))
    if directory is None or not object_store.are_plain(directory):
        return None
    try:
        head = read_head(directory).commit
    except UnreadableRepositoryError:
        return None
    seen = git.with_environment({"GIT_ALTERNATE_OBJECT_DIRECTORIES": f"{directory}/objects"}, {})
    return Submodule(seen, git, head) if head and commits.has_tree(seen, head) else None


def pack(git: Git, target: Path | None, objects: bytes, *options: str) -> None:
    """Write objects of one repository to a pack of another one, without holding them in memory.

    Raises:
        GitError: one is missing, or there is no room.
    """
    place = str((target or Path()) / "objects" / "pack" / "pack")
    git.run("pack-objects", "--quiet", *options, place, stdin=objects, timeout=_PACK_TIMEOUT)


def original(message: str) -> bytes:
    """The commit that a message of `Submodule.keep` holds.

    Raises:
        ValueError: it holds none.
    """
    return base64.b64decode(message.partition("\n\n")[2].encode("ascii"))


def _git_directory(repository: Path, path: str) -> Path | None:
    """Where a submodule's git directory is: in its place, or where a file there says, inside of the agent's clone."""
    parts = path.split("/")
    # Git takes several paths in one variable, with colons between them.
    if ":" in path or any(part in ("", ".", "..") for part in parts):
        return None
    try:
        if _is_directory(repository, [*parts, ".git"]):
            return repository.joinpath(*parts, ".git")
        link = read_beneath(repository, [*parts, ".git"], _MAXIMUM_LINK_BYTES) or b""
        named = os.fsdecode(link.removeprefix(_LINK).strip())
        target = posixpath.normpath(posixpath.join(path, named)).split("/")
        inside = link.startswith(_LINK) and not named.startswith("/") and target[0] == ".git"
        found = inside and not {":", "\0"} & set(named) and _is_directory(repository, target)
    except (OSError, UnreadableRepositoryError):
        return None
    return repository.joinpath(*target) if found else None


def _is_directory(repository: Path, parts: Sequence[str]) -> bool:
    """Whether it is one, reached without a link."""
    try:
        os.close(open_directory(repository, parts))
    except OSError:
        return False
    return True
