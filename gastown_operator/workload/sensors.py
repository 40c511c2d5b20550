"""Reads the signs of the agent's activity; what cannot be read shows none."""

import os
from pathlib import Path
from typing import Final

import attrs

from gastown_operator.workload.activity import Signals
from gastown_operator.workload.errors import UnreadableRepositoryError
from gastown_operator.workload.plain_files import read_beneath
from gastown_operator.workload.transcript import Transcript
from gastown_operator.workload.tree_watch import TreeWatch

_MAXIMUM_DIGITS: Final = 18


@attrs.define
class Sensors:
    """One look at everything that shows activity.

    Args:
        hints: written by the agent's container.
        control: has the file that the gateway touches.
    """

    hints: Path
    control: Path
    transcript: Transcript
    tree: TreeWatch

    def read(self) -> Signals:
        """The signals of now; a transcript that is too large is cut on this occasion."""
        signals = Signals(self.transcript.size(), self.tree.look(), self._traffic(), self._cpu())
        self.transcript.keep_small()
        return signals

    def _traffic(self) -> int:
        try:
            return os.lstat(self.control / "gateway-traffic").st_mtime_ns
        except OSError:
            return 0

    def _cpu(self) -> int | None:
        try:
            text = (read_beneath(self.hints, ["cpu"], _MAXIMUM_DIGITS + 1) or b"").strip()
        except (OSError, UnreadableRepositoryError):
            return None
        return int(text) if text.isdigit() else None
