"""Whether the agent's objects can be read without waiting for the agent: git opens what lies there without asking what it is."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: Git itself goes five stores deep.
_MAXIMUM_STORES: Final = 8
_MAXIMUM_ALTERNATES_BYTES: Final = 64 * 1024
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def link(keeper: Path, agent: Path) -> bool:
    """Let the keeper's repository see the agent's objects while these are plain files; whether it does now.

    A FIFO in the place of a pack would hold up every git command until its deadline.

    Args:
        keeper: the keeper's repository.
        agent: the agent's git directory.
    """
    plain = are_plain(agent)
    if plain:
        _set_alternates(keeper, f"{agent}/objects\n")
    else:
        unlink(keeper)
    return plain


def unlink(keeper: Path) -> None:
    """Let the keeper's repository see its own objects alone."""
    _set_alternates(keeper, "")


def _set_alternates(keeper: Path, text: str) -> None:
    """Write it where it is another: on a full volume, writing it again could leave nothing, and the commits unseen."""
    file = keeper / "objects" / "info" / "alternates"
    if file.read_text() != text:
        file.write_text(text)


def are_plain(agent: Path) -> bool:
    """Whether the store, and every other one that it names, holds regular files in directories, and nothing else."""
    stores = [agent / "objects"]
    try:
        with _opened(agent.parent, agent.name), _opened(agent, "objects"):
            pass
        for store in stores:
            if len(stores) > _MAXIMUM_STORES or not _is_plain(store):
                return False
            stores += [other for other in _alternates(store) if other.is_dir()]
    except OSError:
        # Something else than a directory is in the place of one.
        return False
    return True


def _is_plain(store: Path) -> bool:
    with os.scandir(store) as entries:
        names = [entry.name for entry in entries if not entry.is_file(follow_symlinks=False)]
    return all(_holds_files(store, name) for name in names)


def _holds_files(store: Path, name: str) -> bool:
    with _opened(store, name) as directory, os.scandir(directory) as entries:
        # What lies deeper is none of git's.
        return all(it.is_file(follow_symlinks=False) or it.is_dir(follow_symlinks=False) for it in entries)


def _alternates(store: Path) -> list[Path]:
    file = store / "info" / "alternates"
    if not file.is_file():
        return []
    with file.open("rb") as opened:
        lines = opened.read(_MAXIMUM_ALTERNATES_BYTES).splitlines()
    return [store / os.fsdecode(line) for line in lines if line and not line.startswith(b"#")]


@contextlib.contextmanager
def _opened(parent: Path, name: str) -> Iterator[int]:
    """A directory that is none by a link. Raises OSError."""
    descriptor = os.open(parent / name, _DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
