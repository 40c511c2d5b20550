"""What clone found, for keeper: written once to a volume that the agent does not mount."""

import json
from collections.abc import Sequence
from pathlib import Path

import attrs


@attrs.frozen
class CloneRecord:
    """Where the work started.

    Attributes:
        base: tip of the base branch.
        start: commit that the work branch was put on for the agent.
        branch_tip: the remote's work branch as clone saw it; empty where it did not exist.
        resumed: what the work was resumed from: `base`, `branch` or `checkpoint`.
        done: this round's done ref; empty where it did not exist, else the agent must not run again.
        done_branch: branch that holds `done`.
        origin: commit that this polecat's own work goes on from, in whichever attempt; empty for `base`.
        checkpoint: this round's checkpoint ref as clone saw it; empty where it did not exist.
        saved: commits that the checkpoint which was resumed from keeps.
        put_back: what the checkpoint had beside the branch, and is where it was again; for the agent.
        left_aside: what is not, with its commit and the cause; for the agent.
        owned: whether the server says already whose the recovery refs are.
        cloned_at: seconds since 1970 when clone was done; 0 where that is not known.
    """

    base: str
    start: str
    branch_tip: str
    resumed: str
    done: str = ""
    done_branch: str = ""
    origin: str = ""
    checkpoint: str = ""
    saved: Sequence[str] = ()
    cloned_at: float = 0.0
    put_back: Sequence[str] = ()
    left_aside: Sequence[str] = ()
    owned: bool = False

    @property
    def work_begins(self) -> str:
        """What the agent has to go beyond to have done anything."""
        return self.origin or self.base

    def write(self, path: Path) -> None:
        """Store the record."""
        path.write_text(json.dumps(attrs.asdict(self)))


def read(path: Path) -> CloneRecord:
    """The record that clone wrote.

    Raises:
        OSError, ValueError, TypeError: clone did not finish.
    """
    return CloneRecord(**json.loads(path.read_text()))
