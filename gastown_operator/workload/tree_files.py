"""The agent's work tree, file by file, without following a link that the agent may put in a directory's place meanwhile.

Nothing here hands a path of the agent's to another program: between a check and a use the agent could swap a directory for a link to
the keeper's own files, and their content would be pushed. Every directory is opened from its parent's descriptor.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import attrs

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITER: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_IGNORED: Final = b".gitignore"
_REPOSITORY: Final = b".git"
#: A missing name, or a link or a file in the place of a directory.
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_CHUNK: Final = 1024 * 1024
#: Linux takes no longer path in one call, and git, which gets these paths, makes one call.
_MAXIMUM_PATH_BYTES: Final = 3800
_MAXIMUM_DIRECTORIES: Final = 800
#: A file that changed so shortly before it was looked at may change again without a new time stamp ("racy git").
RACY_NANOSECONDS: Final = 1_000_000_000


class Signature(NamedTuple):
    """What changes when a file's content does; the change time cannot be set by its owner."""

    inode: int
    size: int
    mode: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Signature":
        """The signature of a file."""
        return cls(status.st_ino, status.st_size, status.st_mode, status.st_mtime_ns, status.st_ctime_ns)

    def is_settled(self, now: int) -> bool:
        """Whether a later change would show; `now` in nanoseconds since the epoch."""
        return now - max(self.modified, self.changed) > RACY_NANOSECONDS


@attrs.frozen
class TreeFiles:
    """The files below a directory that belongs to somebody hostile.

    Args:
        root: a directory that nobody can swap.
        inside: the path of the directory in it; paths are relative to this.
    """

    root: Path
    inside: bytes = b""

    def signature(self, path: bytes) -> Signature | None:
        """The signature of a regular file or a symbolic link; None where there is neither (any more).

        Raises:
            OSError: whether it is there cannot be told (a directory on the way must not be read).
        """
        try:
            with self._parent(path) as (directory, name):
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise
        return Signature.of(status) if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode) else None

    def copy(self, path: bytes, target: bytes) -> Signature | None:
        """Copy a regular file or a symbolic link to `target`, where nothing is; its signature, or None where it is gone.

        Raises:
            OSError: it cannot be read, or the target cannot be written.
        """
        with self._parent(path) as (directory, name):
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                os.symlink(os.readlink(name, dir_fd=directory), target)
                return Signature.of(status)
            source = os.open(name, _FILE, dir_fd=directory)
        with os.fdopen(source, "rb", buffering=0) as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                return None
            with open(target, "xb", opener=_private) as written:
                while chunk := opened.read(_CHUNK):
                    written.write(chunk)
            if status.st_mode & stat.S_IXUSR:
                os.chmod(target, 0o700)
        return Signature.of(status)

    def below(self, directory: bytes) -> Iterator[bytes]:
        """Every regular file and symbolic link below a directory, but what is in a `.git`; a name too long ends a path."""
        waiting = [directory]
        while waiting:
            inner = waiting.pop()
            for name, kind in self._entries(inner):
                path = inner + b"/" + name
                if name.lower() == _REPOSITORY:
                    continue
                if kind == stat.S_IFDIR and not _is_too_deep(path):
                    waiting.append(path)
                else:
                    # A directory too deep to look into is named, so that it can be said that it is left out.
                    yield path

    def traps(self) -> Iterator[bytes]:
        """Special files that git would read while it lists the tree: a list of ignored names, or what is in a nested repository."""
        waiting = [b""]
        while waiting:
            inner = waiting.pop()
            repository = _REPOSITORY in inner.split(b"/")
            for name, kind in self._entries(inner):
                path = inner + b"/" + name if inner else name
                if kind == stat.S_IFDIR and not _is_too_deep(path):
                    waiting.append(path)
                elif kind == 0 and (repository or name == _IGNORED):
                    yield path

    def release(self, path: bytes) -> None:
        """End the content of a FIFO for who reads from it now; nothing happens where there is none, or it has no reader."""
        # ENXIO says that nobody reads, and what is gone holds up nobody.
        with contextlib.suppress(OSError), self._parent(path) as (directory, name):
            if stat.S_ISFIFO(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                os.close(os.open(name, _WRITER, dir_fd=directory))

    def _entries(self, directory: bytes) -> list[tuple[bytes, int]]:
        """Names in a directory, and what they are as in `st_mode`, 0 for special files; nothing where it cannot be read."""
        try:
            with (
                self._parent(directory + b"/x" if directory else b"x") as (descriptor, _),
                os.scandir(descriptor) as entries,
            ):
                return sorted((os.fsencode(entry.name), _kind(entry)) for entry in entries)
        except OSError:
            return []

    @contextlib.contextmanager
    def _parent(self, path: bytes) -> Iterator[tuple[int, bytes]]:
        """The directory of a path, opened step by step, and the last name."""
        path = self.inside + b"/" + path if self.inside else path
        if _is_too_deep(path):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
        *directories, name = path.split(b"/")
        if name in (b"", b".", b"..") or any(part in (b"", b".", b"..") for part in directories):
            raise FileNotFoundError(errno.ENOENT, "not a path inside the tree", path)
        descriptor = os.open(self.root, _DIRECTORY)
        try:
            for part in directories:
                inner = os.open(part, _DIRECTORY, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            yield descriptor, name
        finally:
            os.close(descriptor)


def _kind(entry: "os.DirEntry[str]") -> int:
    if entry.is_symlink():
        return stat.S_IFLNK
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return stat.S_IFREG if entry.is_file(follow_symlinks=False) else 0


def _is_too_deep(path: bytes) -> bool:
    return len(path) > _MAXIMUM_PATH_BYTES or path.count(b"/") > _MAXIMUM_DIRECTORIES


def _private(path: str | bytes, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
