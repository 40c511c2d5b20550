"""What a PodMonitor reads of the keeper. Nothing depends on it, and nothing waits for it."""

from collections.abc import Iterator
from typing import Final

import attrs

#: No secret is there, and nothing that can be changed.
PORT: Final = 4182
_PREFIX: Final = "gastown_keeper_"


@attrs.define
class Metrics:
    """Numbers of one keeper.

    Attributes:
        made: checkpoints that the server took.
        failed: checkpoints that it did not take, or that could not be made.
        seconds: how long the last of both took.
        bytes: what checkpoints brought to the server, as git keeps it.
    """

    made: int = 0
    failed: int = 0
    seconds: float = 0.0
    bytes: int = 0

    def took(self, seconds: float, *, made: bool) -> None:
        """Count a checkpoint."""
        self.seconds = seconds
        self.made += made
        self.failed += not made

    def page(self, attempt: int, idle: float) -> str:
        """The exposition format; https://prometheus.io/docs/instrumenting/exposition_formats/.

        Args:
            attempt: counted from 1 over all rounds.
            idle: seconds since the agent was last active.
        """
        families = (
            ("attempt", "gauge", "Which attempt this is, over all rounds.", {"": attempt}),
            ("idle_seconds", "gauge", "Since the agent was last active.", {"": idle}),
            (
                "checkpoints_total",
                "counter",
                "Checkpoints by what became of them.",
                {'{result="made"}': self.made, '{result="failed"}': self.failed},
            ),
            ("checkpoint_seconds", "gauge", "How long the last checkpoint took.", {"": self.seconds}),
            (
                "checkpoint_bytes_total",
                "counter",
                "What checkpoints brought to the git server, as git keeps it.",
                {"": self.bytes},
            ),
        )
        return "".join(line + "\n" for family in families for line in _lines(*family))


def _lines(name: str, kind: str, about: str, values: dict[str, float]) -> Iterator[str]:
    full = _PREFIX + name
    yield f"# HELP {full} {about}"
    yield f"# TYPE {full} {kind}"
    for labels, value in values.items():
        yield f"{full}{labels} {value:.10g}"
