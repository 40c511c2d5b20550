"""Turns the agent's work tree into a git tree, with the keeper's own repository and index.

Only plumbing that opens no other repository is used: `git add` would ask the status of nested repositories and so run what
their configuration says (fsmonitor, filters).
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs

from gastown_operator.workload.errors import GitError
from gastown_operator.workload.git import Git, nul_separated

SNAPSHOT_TIMEOUT = 300.0
_GITLINK = b"160000"


@attrs.frozen
class Snapshot:
    """A work tree as git objects.

    Attributes:
        tree: object id of the tree.
        left_out: paths that could not be read, at most 20 of them.
    """

    tree: str
    left_out: tuple[str, ...] = ()


@attrs.define
class _Changes:
    """What must happen to the index so that it mirrors the work tree."""

    update: list[bytes] = attrs.field(factory=list)
    remove: list[bytes] = attrs.field(factory=list)
    unreadable: list[bytes] = attrs.field(factory=list)


def take(git: Git, head: str) -> Snapshot:
    """Write the tree of everything in the work tree that git does not ignore.

    Ignored files are left out, as `git add` leaves them out; tracked files are kept even where they are ignored. Nested
    repositories are added file by file; a submodule that `.gitmodules` names keeps the commit recorded for it in `head`.

    Args:
        git: the keeper's repository, with its own index and the agent's work tree.
        head: commit whose files are the tracked ones.

    Raises:
        GitError: git cannot write the tree (a full disk), also not with a new index.
    """
    try:
        return _take(git, head)
    except GitError:
        # The index may name blobs that the agent's own `git gc` has removed: read every file anew.
        if git.index is not None:
            git.index.unlink(missing_ok=True)
        return _take(git, head)


def _take(git: Git, head: str) -> Snapshot:
    git.run("read-tree", "--reset", head)
    tree = _work_tree(git)
    tracked, gitlinks = _tracked(git)
    submodules = _submodules(git, head)
    changes = _Changes(
        remove=[path for path in gitlinks if path not in submodules and _is_directory(tree, path)]
    )
    _compare(tree, tracked, changes)
    others, nested = _untracked(git)
    nested |= set(changes.remove) & set(gitlinks)
    _select(tree, others, changes)
    for directory in sorted(nested):
        _select(tree, _files_of(tree, directory), changes)
    _update(git, ["--force-remove"], changes.remove)
    _update(git, ["--add", "--remove", "--replace"], changes.update)
    left_out = tuple(os.fsdecode(path) for path in changes.unreadable[:20])
    return Snapshot(git.line("write-tree"), left_out)


def _work_tree(git: Git) -> bytes:
    if git.work_tree is None:
        raise ValueError("a snapshot needs a work tree")
    return os.fsencode(git.work_tree)


def _tracked(git: Git) -> tuple[list[bytes], list[bytes]]:
    """Paths in the index: files, and gitlinks."""
    files: list[bytes] = []
    gitlinks: list[bytes] = []
    for entry in _entries(git.run("ls-files", "--stage", "-z", timeout=SNAPSHOT_TIMEOUT)):
        mode_and_id, _, path = entry.partition(b"\t")
        (gitlinks if mode_and_id.startswith(_GITLINK) else files).append(path)
    return files, gitlinks


def _untracked(git: Git) -> tuple[list[bytes], set[bytes]]:
    """Untracked files, and directories that are repositories of their own (git lists these with a slash)."""
    listed = _entries(git.run("ls-files", "--others", "--exclude-standard", "-z", timeout=SNAPSHOT_TIMEOUT))
    files: list[bytes] = []
    nested: set[bytes] = set()
    for path in listed:
        if path.endswith(b"/"):
            nested.add(path.rstrip(b"/"))
        else:
            files.append(path)
    return files, nested


def _submodules(git: Git, head: str) -> set[bytes]:
    """Paths that `.gitmodules` of `head` declares."""
    status, output, _ = git.attempt(
        "config", "--blob", f"{head}:.gitmodules", "--null", "--get-regexp", r"^submodule\..*\.path$"
    )
    if status != 0:
        return set()
    return {entry.partition(b"\n")[2] for entry in _entries(output)}


def _compare(tree: bytes, tracked: Iterable[bytes], changes: _Changes) -> None:
    """Sort tracked paths into what is updated and what is gone."""
    linked: dict[bytes, bool] = {}
    for path in tracked:
        if _beyond_link(tree, path, linked):
            changes.remove.append(path)
            continue
        try:
            mode = os.lstat(os.path.join(tree, path)).st_mode
        except OSError:
            changes.remove.append(path)
            continue
        _sort(tree, path, mode, changes)


def _select(tree: bytes, paths: Iterable[bytes], changes: _Changes) -> None:
    """Sort untracked paths; what vanished meanwhile is passed over."""
    for path in paths:
        try:
            mode = os.lstat(os.path.join(tree, path)).st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            _sort(tree, path, mode, changes)


def _sort(tree: bytes, path: bytes, mode: int, changes: _Changes) -> None:
    if stat.S_ISLNK(mode):
        changes.update.append(path)
    elif not stat.S_ISREG(mode):
        changes.remove.append(path)
    elif os.access(os.path.join(tree, path), os.R_OK, follow_symlinks=False):
        changes.update.append(path)
    else:
        changes.unreadable.append(path)


def _beyond_link(tree: bytes, path: bytes, known: dict[bytes, bool]) -> bool:
    """Whether a parent directory of `path` has become a symbolic link."""
    parent = os.path.dirname(path)
    if not parent:
        return False
    if parent not in known:
        known[parent] = os.path.islink(os.path.join(tree, parent)) or _beyond_link(tree, parent, known)
    return known[parent]


def _is_directory(tree: bytes, path: bytes) -> bool:
    full = os.path.join(tree, path)
    return os.path.isdir(full) and not os.path.islink(full) and bool(os.listdir(full))


def _files_of(tree: bytes, directory: bytes) -> Iterator[bytes]:
    """Every file below a nested repository, without its `.git`."""
    for current, directories, files in os.walk(os.path.join(tree, directory)):
        directories[:] = [name for name in directories if name.lower() != b".git"]
        links = [name for name in directories if os.path.islink(os.path.join(current, name))]
        for name in [*files, *links]:
            if name.lower() != b".git":
                yield os.path.relpath(os.path.join(current, name), tree)


def _update(git: Git, flags: Sequence[str], paths: Sequence[bytes]) -> None:
    if paths:
        git.run("update-index", *flags, "-z", "--stdin", stdin=nul_separated(paths), timeout=SNAPSHOT_TIMEOUT)


def _entries(output: bytes) -> list[bytes]:
    return [entry for entry in output.split(b"\0") if entry]


def open_index(git_dir: Path, work_tree: Path, index: Path) -> Git:
    """The keeper's repository, looking at the agent's work tree through the keeper's index."""
    return Git(git_dir, work_tree=work_tree, index=index)
