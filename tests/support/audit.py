"""Reads the API server's audit log: who wrote what, with nothing forgotten."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from attrs import frozen

from gastown_operator.runtime.objects import Raw, parse_time


@frozen
class Write:
    """One write that the API server has answered.

    `credential` tells processes apart that share an account: each token has an id of its own. `began` is when the request came.
    """

    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    user_agent: str
    status: int
    credential: str
    began: datetime

    @property
    def what(self) -> str:
        """Verb and resource, such as `patch polecats/status`."""
        return f"{self.verb} {self.resource}{'/' if self.subresource else ''}{self.subresource}"


@frozen
class AuditLog:
    """The log of a cluster, whose policy records writes alone. It must not be rotated while it is read."""

    path: Path

    def end(self) -> int:
        """Return the position from which `since` sees what comes next."""
        return self.path.stat().st_size

    def since(self, position: int) -> Iterator[Write]:
        """Yield what was written after `position`; a line that is being written is left for the next time."""
        with self.path.open("rb") as log:
            log.seek(position)
            for line in log:
                if line.endswith(b"\n"):
                    yield _write(json.loads(line))


def _write(entry: Raw) -> Write:
    target = entry.get("objectRef", {})
    return Write(
        verb=entry["verb"],
        resource=target.get("resource", ""),
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        user_agent=entry.get("userAgent", ""),
        status=entry.get("responseStatus", {}).get("code", 0),
        credential=_credential(entry),
        began=parse_time(entry["requestReceivedTimestamp"]),
    )


def _credential(entry: Raw) -> str:
    """The id of the token, as its `jti` has it; empty for a client certificate."""
    ids = entry["user"].get("extra", {}).get("authentication.kubernetes.io/credential-id", [""])
    return str(ids[0]).removeprefix("JTI=")
