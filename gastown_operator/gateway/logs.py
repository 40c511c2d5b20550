"""One JSON line per event on standard output, where `kubectl logs` shows it."""

import json
import sys
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO

from attrs import field, frozen

from gastown_operator.gateway.redact import Redactor


class Journal(Protocol):
    """Where the gateway says what it does."""

    def __call__(self, message: str, **fields: Any) -> None:
        """Record one event."""


@frozen
class JsonJournal:
    """Writes events as JSON lines, credentials taken out.

    Args:
        polecat: `namespace/name`.
        redactor: knows the credentials.
        stream: standard output.
    """

    polecat: str
    redactor: Redactor
    stream: TextIO = field(factory=lambda: sys.stdout)

    def __call__(self, message: str, **fields: Any) -> None:
        """Record one event."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        clean = {
            name: self.redactor.text(value) if isinstance(value, str) else value
            for name, value in fields.items()
        }
        body = {"ts": now, "program": "gateway", "polecat": self.polecat, "msg": message, **clean}
        print(json.dumps(body, ensure_ascii=True), file=self.stream, flush=True)
