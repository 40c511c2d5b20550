"""What the operator wrote, by the API server's audit log."""

import os
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Final

from attrs import field, frozen

from tests.bench.stream_server_process import BenchmarkError
from tests.support.audit import AuditLog

QUIET_SECONDS: Final = 3.0
LIMIT_SECONDS: Final = 120.0


def _log() -> AuditLog:
    path = os.environ.get("GASTOWN_LAB_AUDIT_LOG")
    if not path:
        raise BenchmarkError("GASTOWN_LAB_AUDIT_LOG is not set: run this by hack/bench")
    return AuditLog(Path(path))


@frozen
class Writes:
    """The operator's writes since this was made; those to its lease aside."""

    log: AuditLog = field(factory=_log)
    position: int = field()

    @position.default
    def _now(self) -> int:
        return self.log.end()

    def count(self, namespaces: Collection[str] = ()) -> Counter[str]:
        """Return how often what was written, in these namespaces or anywhere; refused writes included."""
        if self.log.end() < self.position:
            raise BenchmarkError("the audit log was rotated meanwhile: make a new cluster")
        return Counter(
            write.what
            for write in self.log.since(self.position)
            if write.user_agent.startswith("gastown-operator/")
            and write.resource != "leases"
            and (not namespaces or write.namespace in namespaces)
        )

    def settle(self) -> Counter[str]:
        """Wait until it has written nothing for a while, and return the counts. Raises BenchmarkError."""
        deadline = time.monotonic() + LIMIT_SECONDS
        before, now = -1, self.count()
        while before != now.total():
            if time.monotonic() > deadline:
                raise BenchmarkError(f"the operator still writes after {LIMIT_SECONDS:.0f} s: {dict(now)}")
            time.sleep(QUIET_SECONDS)
            before, now = now.total(), self.count()
        return now
