"""Credentials of the operator's own that need refreshing, each with a scripted provider that knows which tokens are good."""

import json
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from attrs import define, field

from gastown_operator.controllers.credential.state import CLIENT_ID as CLIENT_ID_ANNOTATION
from gastown_operator.controllers.credential.state import ENDPOINT, REFRESHING, STATE
from hack.render import render
from hack.token_server.server import CLIENT_ID, TokenServer
from tests.apiserver.client import JSON
from tests.support.cluster import SECRET, Cluster, kubectl
from tests.support.installation import NAMESPACE

FILE = ".credentials.json"


@define
class Subscription:
    """A Secret in the operator's namespace, and the provider that gave what is in it."""

    cluster: Cluster
    provider: TokenServer
    directory: Path
    name: str = field(factory=lambda: f"subscription-{uuid4().hex[:8]}")

    def log_in(self, lifetime: float | None = None) -> None:
        """Put in what somebody has who has just logged in, as the operator's message says."""
        file = self.directory / self.name
        file.write_text(self.provider.credentials_file(lifetime))
        made = kubectl(
            *("--namespace", NAMESPACE, "create", "secret", "generic", self.name),
            *(f"--from-file={FILE}={file}", "--dry-run=client", "--output=yaml"),
        )
        kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=made)
        file.unlink()

    def point_at_provider(self) -> None:
        """Say on the Secret where its tokens are refreshed."""
        told = (f"{ENDPOINT}={self.provider.url}", f"{CLIENT_ID_ANNOTATION}={CLIENT_ID}")
        kubectl("--namespace", NAMESPACE, "annotate", "secret", self.name, *told)

    def delete(self) -> None:
        """Delete the Secret."""
        self.cluster.delete(SECRET, NAMESPACE, self.name)

    @property
    def state(self) -> str:
        """How it stands, as the operator says on it."""
        return str(_annotations(self._read()).get(STATE, ""))

    @property
    def is_settled(self) -> bool:
        """Whether no refresh is under way, and the Secret has the tokens that were given last."""
        secret = self._read()
        oauth = json.loads(b64decode(secret["data"][FILE]))["claudeAiOauth"]
        given = self.provider.ledger.newest
        return REFRESHING not in _annotations(secret) and bool(oauth["accessToken"] == given)

    def _read(self) -> JSON:
        found = self.cluster.get(SECRET, NAMESPACE, self.name)
        assert found is not None, f"Secret {self.name} is gone"
        return found


@contextmanager
def subscribed(cluster: Cluster, address: str, lifetime: float, directory: Path) -> Iterator[Subscription]:
    """A provider whose tokens live for `lifetime` seconds, and the Secret for them, which nobody has logged in for yet."""
    with TokenServer(lifetime, address) as provider:
        made = Subscription(cluster, provider, directory)
        try:
            yield made
        finally:
            made.delete()


@contextmanager
def entrusted(names: Sequence[str]) -> Iterator[None]:
    """The rights to these Secrets, as they are shipped, for as long as it is entered."""
    rights = render({}, (), credentials=names)
    kubectl("apply", "--filename=-", stdin=rights)
    try:
        yield
    finally:
        kubectl("delete", "--ignore-not-found", "--filename=-", stdin=rights)


def _annotations(secret: JSON) -> dict[str, Any]:
    found: dict[str, Any] = secret["metadata"].get("annotations", {})
    return found
