"""Whether a volume has room left, and whether an error means that it had not."""

import errno
import os
from pathlib import Path
from typing import Final

from gastown_operator.workload.errors import GitError

#: A volume with less room than that counts as full.
_ROOM: Final = 256 * 1024
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_WORDS: Final = tuple(os.strerror(number) for number in _NO_ROOM)


def is_full(directory: Path) -> bool:
    """Whether the volume of a directory has no room left, or cannot hold another file."""
    try:
        status = os.statvfs(directory)
    except OSError:
        return False
    return status.f_bavail * status.f_frsize < _ROOM or (status.f_files > 0 and status.f_favail == 0)


def out_of_room(error: Exception, volume: Path) -> bool:
    """Whether something failed for lack of room on a volume; git does not always say so."""
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    said = isinstance(error, GitError) and any(words in error.stderr for words in _WORDS)
    return said or is_full(volume)
