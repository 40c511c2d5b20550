"""Removes objects of earlier checkpoints from the keeper's repository, which else grows by every version of every large file."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from gastown_operator.workload.git import Git

#: Less than that is not worth the look at what is needed.
WORTH: Final = 4 * 1024 * 1024
_TIMEOUT: Final = 60.0
_PACK: Final = ".pack"
#: A pack is found by its index: without one, it can go too.
_OF_PACK: Final = (".idx", ".rev", _PACK)
_BROKEN_OFF: Final = "tmp_"


@attrs.define
class Pruning:
    """Keeps the repository's own objects few: what the kept commits need stays, and little else.

    `git prune` would walk the agent's whole history for it, which can take minutes. Only objects that came since the start are
    removed: clone may have left commits that no server has. A pack goes as a whole; one with commits came from the server and stays.
    Call it while no git command runs and no snapshot is being taken.

    Args:
        git: the keeper's repository.
        behind: commits beyond which nothing is the keeper's own.
        worth: bytes of objects that came since, below which nothing is done.
    """

    git: Git
    behind: tuple[str, ...] = ()
    worth: int = WORTH
    _stay: set[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """What is there already stays."""
        self._stay = {path.name for path in (*self._loose(), *self._packed())}

    def prune(self, *kept: str) -> int:
        """Remove what came since the start and none of the commits needs, nor any of their parents; bytes that were freed.

        Args:
            kept: commits.

        Raises:
            GitError: what they need cannot be listed; then nothing is removed.
        """
        loose, packed = self._since(self._loose()), self._since(self._packed())
        if sum(loose.values()) + sum(packed.values()) < self.worth:
            return 0
        needed = self._needed(kept)
        unneeded = [path for path in loose if path.parent.name + path.name not in needed]
        for pack in packed:
            if pack.name.startswith(_BROKEN_OFF):
                unneeded.append(pack)
            elif pack.suffix == _PACK and self._is_unneeded(pack, needed):
                unneeded += [it for it in map(pack.with_suffix, _OF_PACK) if it in packed]
        for path in unneeded:
            path.unlink()
        return sum({**loose, **packed}[path] for path in unneeded)

    def _since(self, paths: Iterator[Path]) -> dict[Path, int]:
        return {path: path.stat().st_size for path in paths if path.name not in self._stay}

    def _is_unneeded(self, pack: Path, needed: set[str]) -> bool:
        index = pack.with_suffix(".idx")
        if not index.exists():
            return True
        listed = self.git.run("show-index", stdin=index.read_bytes(), timeout=_TIMEOUT)
        objects = [line.split()[1] for line in listed.splitlines()]
        if not needed.isdisjoint(it.decode("ascii") for it in objects):
            return False
        asked = b"".join(it + b"\n" for it in objects)
        kinds = self.git.run("cat-file", "--batch-check=%(objecttype)", stdin=asked, timeout=_TIMEOUT)
        if b"commit" not in kinds:
            return True
        self._stay |= {pack.with_suffix(it).name for it in _OF_PACK}
        return False

    def _needed(self, commits: tuple[str, ...]) -> set[str]:
        if not commits:
            return set()
        without = (f"^{commit}" for commit in self.behind)
        wanted = "".join(f"{revision}\n" for revision in (*commits, *without))
        listed = self.git.run(
            "rev-list", "--objects", "--no-object-names", "--stdin", stdin=wanted.encode(), timeout=_TIMEOUT
        )
        return set(listed.decode("ascii").split())

    def _loose(self) -> Iterator[Path]:
        """Loose objects, and what was left of a write that was broken off."""
        for entry in os.scandir(self._objects):
            if len(entry.name) == 2 and entry.is_dir():
                yield from map(Path, os.scandir(entry.path))

    def _packed(self) -> Iterator[Path]:
        """Files of packs, and what was left of one that was broken off."""
        yield from map(Path, os.scandir(self._objects / "pack"))

    @property
    def _objects(self) -> Path:
        return (self.git.git_dir or Path()) / "objects"
