"""Reads files that an agent may have written: no symbolic link is followed, no device or FIFO is opened, sizes are bounded.

The agent's `.git` is never opened as a repository: configuration, hooks and filters planted there would run with the
git credential in reach.
"""

import errno
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

import attrs

from gastown_operator.workload.errors import UnreadableRepositoryError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAXIMUM_REF_BYTES = 4096
_MAXIMUM_PACKED_REFS_BYTES = 64 * 1024 * 1024
_OBJECT_ID = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")
_REF_NAME = re.compile(r"refs/heads/[^\x00-\x20\x7f~^:?*\[\\]+")


def read_beneath(root: Path, parts: Sequence[str], maximum_bytes: int) -> bytes | None:
    """Contents of the regular file `root/parts…`, or None where there is none.

    Raises:
        UnreadableRepositoryError: a link, a special file or a larger file is in its place.
    """
    path = root.joinpath(*parts)
    os.close(os.open(root, _DIRECTORY))
    try:
        directory = open_directory(root, parts[:-1])
        try:
            file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        finally:
            os.close(directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnreadableRepositoryError(path, errno.errorcode.get(error.errno or 0, str(error))) from error
    with os.fdopen(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise UnreadableRepositoryError(path, "not a regular file")
        content = opened.read(maximum_bytes + 1)
    if len(content) > maximum_bytes:
        raise UnreadableRepositoryError(path, f"more than {maximum_bytes} bytes")
    return content


def open_directory(root: Path, parts: Sequence[str]) -> int:
    """The descriptor of a directory that is reached without a link. Raises OSError."""
    directory = os.open(root, _DIRECTORY)
    for part in parts:
        try:
            inner = os.open(part, _DIRECTORY, dir_fd=directory)
        finally:
            os.close(directory)
        directory = inner
    return directory


@attrs.frozen
class Head:
    """Where the agent's HEAD is.

    Attributes:
        branch: full ref name; empty when HEAD is detached.
        commit: object id as written in the file; not yet known to exist; empty for a branch without commits.
    """

    branch: str
    commit: str


def read_head(git_directory: Path) -> Head:
    """HEAD of the repository, from its plain files.

    Raises:
        UnreadableRepositoryError: there is no HEAD, or it is nothing that git writes.
    """
    content = _read(git_directory, ["HEAD"])
    if content is None:
        raise UnreadableRepositoryError(git_directory / "HEAD", "missing")
    text = content.strip()
    if _OBJECT_ID.fullmatch(text):
        return Head("", text.decode("ascii"))
    name = text.removeprefix(b"ref:").strip().decode("utf-8", "replace")
    if not text.startswith(b"ref:") or not is_branch_name(name):
        raise UnreadableRepositoryError(git_directory / "HEAD", "neither a branch nor an object id")
    return Head(name, read_ref(git_directory, name) or "")


def read_ref(git_directory: Path, name: str) -> str | None:
    """Object id of a branch, loose or packed; None where it does not exist.

    Raises:
        UnreadableRepositoryError: what is there is not a ref.
    """
    if not is_branch_name(name):
        raise UnreadableRepositoryError(git_directory / "HEAD", "not the name of a branch")
    content = _read(git_directory, name.split("/"))
    if content is not None:
        if not _OBJECT_ID.fullmatch(content.strip()):
            raise UnreadableRepositoryError(git_directory / name, "not an object id")
        return content.strip().decode("ascii")
    packed = read_beneath(git_directory, ["packed-refs"], _MAXIMUM_PACKED_REFS_BYTES) or b""
    wanted = name.encode("utf-8")
    for line in packed.splitlines():
        object_id, _, ref = line.partition(b" ")
        if ref == wanted and _OBJECT_ID.fullmatch(object_id):
            return object_id.decode("ascii")
    return None


def is_branch_name(name: str) -> bool:
    """Whether `name` is a full branch name that is safe to use as a path."""
    parts = name.split("/")
    return bool(_REF_NAME.fullmatch(name)) and not any(
        part in ("", ".", "..") or part.startswith(".") or part.endswith(".lock") or ".." in part
        for part in parts
    )


def _read(git_directory: Path, parts: Sequence[str]) -> bytes | None:
    try:
        return read_beneath(git_directory, parts, _MAXIMUM_REF_BYTES)
    except OSError as error:
        raise UnreadableRepositoryError(
            git_directory, errno.errorcode.get(error.errno or 0, str(error))
        ) from error
