"""One JSON line per event on standard output, where `kubectl logs` shows it."""

import json
import sys
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO

import attrs


class Journal(Protocol):
    """Where a program in a pod says what it does."""

    def __call__(self, message: str, **fields: Any) -> None:
        """Record one event; fields must be free of secrets."""


@attrs.frozen
class JsonJournal:
    """Writes events as JSON lines.

    Args:
        program: `clone` or `keeper`.
        stream: standard output.
    """

    program: str
    stream: TextIO = attrs.field(factory=lambda: sys.stdout)

    def __call__(self, message: str, **fields: Any) -> None:
        """Record one event."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"ts": now, "program": self.program, "msg": message, **fields}, ensure_ascii=True)
        print(line, file=self.stream, flush=True)
