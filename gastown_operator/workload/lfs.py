"""git-lfs, which the keeper does not have: what its files in a work tree stand for, and where their contents are kept.

https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from gastown_operator.workload.git import Git, nul_separated
from gastown_operator.workload.tree_files import TreeFiles

STORE: Final = b".git/lfs"
_MAXIMUM_POINTER: Final = 1024
_POINTER: Final = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:[a-z0-9.-]+ [^\n]*\n)*?oid sha256:([0-9a-f]{64})\n"
)
_OBJECT: Final = re.compile(rb"objects/([0-9a-f]{2})/([0-9a-f]{2})/(\1\2[0-9a-f]{60})")
_FILE: Final = b"100644 blob "
_CHUNK: Final = 1024 * 1024


def new_objects(git: Git, tree: TreeFiles, base: str) -> list[bytes]:
    """Paths below `STORE` of contents that no pointer in `base` names: made here, so that the server may not have them."""
    found = {path: match[3] for path in tree.below(b"objects") if (match := _OBJECT.fullmatch(path))}
    known = _pointers(git, base) if found else set()
    return sorted(path for path, object_id in found.items() if object_id not in known)


def is_object(entry: bytes, path: bytes) -> bool:
    """Whether an entry of a tree, as `git ls-tree` shows it, may be one of `new_objects`."""
    return entry.startswith(_FILE) and _OBJECT.fullmatch(path) is not None


def keep_if_whole(file: Path) -> bool:
    """Remove a content whose digest is not its name; whether it is."""
    if not file.is_file():
        return False
    if _digest(file) == file.name:
        return True
    file.unlink()
    return False


def replace_by_pointers(git: Git, tree: TreeFiles, root: Path, paths: Sequence[bytes]) -> None:
    """Write pointers in the place of copies that `git lfs` would store so, where it has their contents already.

    Args:
        git: with the copies' attributes in its work tree.
        tree: the agent's files.
        root: of the copies.
        paths: of the copies.
    """
    store = attrs.evolve(tree, inside=STORE)
    listed = git.run("check-attr", "-z", "--stdin", "filter", stdin=nul_separated(paths)).split(b"\0")
    for path, value in zip(listed[::3], listed[2::3], strict=False):
        file = root / os.fsdecode(path)
        if value != b"lfs" or file.is_symlink():
            continue
        with file.open("rb") as opened:
            if _POINTER.match(opened.read(_MAXIMUM_POINTER)):
                continue
        digest, size = _digest(file), file.stat().st_size
        if store.signature(f"objects/{digest[:2]}/{digest[2:4]}/{digest}".encode()) is not None:
            file.write_text(
                f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n", "ascii"
            )


def _pointers(git: Git, commit: str) -> set[bytes]:
    """What the pointers in a commit name."""
    listed = git.run("ls-tree", "-r", "-l", "-z", commit).split(b"\0")
    described = [entry.partition(b"\t")[0].split() for entry in listed if entry]
    small = [it[2] for it in described if it[1] == b"blob" and int(it[3]) <= _MAXIMUM_POINTER]
    contents = git.run("cat-file", "--batch", stdin=b"".join(it + b"\n" for it in small))
    return set(_POINTER.findall(contents))


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
