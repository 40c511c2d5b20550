"""Lets git go on where an agent left a FIFO in the place of a file that git reads: what nobody writes to reads as empty."""

import itertools
import time
from collections.abc import Callable
from typing import Final

import attrs

from gastown_operator.workload.tree_files import TreeFiles

#: Seconds in which names are listed where nothing is wrong. To look for traps costs a look into every directory.
PATIENCE: Final = 2.0
_MAXIMUM_TRAPS: Final = 1000


@attrs.define
class Release:
    """Asked ten times a second while git lists a work tree: opens each trap for writing and closes it, which ends its content.

    Nothing in the tree is changed. An agent that still holds a trap open for writing is waited for, until the list's own time is over.

    Args:
        tree: what is listed.
        patience: seconds before something is looked for.
        monotonic: seconds that only grow.
    """

    tree: TreeFiles
    patience: float = PATIENCE
    monotonic: Callable[[], float] = time.monotonic
    _began: float = attrs.field(init=False)
    _traps: list[bytes] | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        """Git starts now."""
        self._began = self.monotonic()

    def __call__(self) -> bool:
        """Release git from where it waits; the list is never broken off for it."""
        if self.monotonic() - self._began >= self.patience:
            if self._traps is None:
                self._traps = list(itertools.islice(self.tree.traps(), _MAXIMUM_TRAPS))
            for path in self._traps:
                self.tree.release(path)
        return False
