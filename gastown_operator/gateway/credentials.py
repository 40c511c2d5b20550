"""The provider's credential: found by content in the mounted Secret, read anew for every request.

A Secret that is rotated, or a token that the operator has refreshed, is used from the next request on.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

#: Of the beta that lets Claude's subscription tokens in.
OAUTH_BETA: Final = "oauth-2025-04-20"

_TOKEN_KEY: Final = "access-token"  # noqa: S105 - the name of a key
_OTHER_KEYS: Final = (_TOKEN_KEY, ".credentials.json", "credentials.json")
_OAUTH_PREFIX: Final = "sk-ant-oat"
_KEY_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,253}\Z")
_MAXIMUM_BYTES: Final = 64 * 1024


class CredentialMissingError(Exception):
    """There is no usable credential; the message names the Secret and its key."""


@frozen
class Credential:
    """What the provider is shown.

    Attributes:
        token: never printed.
        oauth: whether it is an access token, not a key.
    """

    token: str = field(repr=False)
    oauth: bool = False

    def headers(self, provider: str) -> dict[str, str]:
        """The headers that carry it."""
        if provider == "anthropic" and not self.oauth:
            return {"X-Api-Key": self.token}
        return {"Authorization": f"Bearer {self.token}"}


@frozen
class CredentialFiles:
    """The mounted Secret.

    Args:
        directory: has a file for each key.
        secret: its name, for messages.
        key: looked for first.
    """

    directory: Path
    secret: str
    key: str = ""

    def read(self) -> Credential:
        """The credential as it is now. Raises CredentialMissingError."""
        for name in self._names():
            try:
                with (self.directory / name).open("rb") as file:
                    content = file.read(_MAXIMUM_BYTES)
            except OSError:
                continue
            return self._credential(name, content)
        raise self._missing(self.key or _TOKEN_KEY, "is missing")

    def _names(self) -> Iterator[str]:
        if self.key:
            if not _KEY_NAME.match(self.key) or self.key in {".", ".."}:
                raise self._missing(self.key, "is not the name of a key")
            yield self.key
        yield from _OTHER_KEYS

    def _credential(self, name: str, content: bytes) -> Credential:
        text = content.decode("utf-8", "replace").strip()
        if text.startswith("{"):
            token, oauth = _access_token(text), True
        else:
            token, oauth = text, name == _TOKEN_KEY or text.startswith(_OAUTH_PREFIX)
        if not token:
            raise self._missing(name, "holds no credential")
        if not token.isascii() or not token.isprintable() or " " in token:
            raise self._missing(name, "holds more than a key or token")
        return Credential(token, oauth)

    def _missing(self, key: str, what: str) -> CredentialMissingError:
        return CredentialMissingError(
            f"key {key!r} of Secret {self.secret!r} {what}; put the credential there"
        )


def _access_token(text: str) -> str:
    try:
        body: Any = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    tokens = body.get("claudeAiOauth") if isinstance(body, dict) else None
    token = tokens.get("accessToken") if isinstance(tokens, dict) else None
    return token.strip() if isinstance(token, str) else ""
