"""Claude Code's credentials file (`~/.claude/.credentials.json`): what is read of it, and what it becomes when tokens rotate."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from attrs import field, frozen

from gastown_operator.controllers.credential.secret import Secret

FILES: Final = (".credentials.json", "credentials.json")
"""Keys of a Secret under which the file is looked for."""
_MEMBER: Final = "claudeAiOauth"
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,8192}")
_LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)


class MalformedCredentialError(ValueError):
    """A credentials file is not what Claude Code writes; the message says what is wrong and repeats nothing of it."""


@frozen
class Tokens:
    """What a token endpoint gave. An empty refresh token: the former one stays good (RFC 6749 §6)."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    lifetime: timedelta


@frozen
class OAuth:
    """The tokens of a credentials file.

    Attributes:
        file: key of the Secret that holds it.
        document: all of it; what we do not know is kept.
        refresh_token: empty where there is none, as in what `claude setup-token` gives.
        expires_at: end of the access token's life; None where the file does not say.
    """

    file: str
    document: Mapping[str, Any] = field(repr=False)
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: datetime | None

    @property
    def fingerprint(self) -> str:
        """Names the refresh token (without one, the access token) without telling it: tokens cannot be guessed."""
        return hashlib.sha256((self.refresh_token or self.access_token).encode()).hexdigest()[:16]

    def rotated(self, tokens: Tokens, now: datetime) -> Mapping[str, str]:
        """The Secret's data with these tokens in the place of the present ones."""
        inner = {
            **self.document[_MEMBER],
            "accessToken": tokens.access_token,
            "refreshToken": tokens.refresh_token or self.refresh_token,
            "expiresAt": int((now + tokens.lifetime).timestamp() * 1000),
        }
        text = json.dumps({**self.document, _MEMBER: inner})
        return {self.file: base64.b64encode(text.encode()).decode()}


def find_oauth(secret: Secret) -> OAuth | None:
    """Return the tokens of a Secret's credentials file, or None where it has no such file. Raises MalformedCredentialError."""
    file = next((name for name in FILES if name in secret.data), None)
    if file is None:
        return None
    document = _decoded(secret.data[file], file)
    inner = document.get(_MEMBER)
    if not isinstance(inner, dict):
        raise MalformedCredentialError(f"key {file} has no object {_MEMBER}")
    return OAuth(
        file=file,
        document=document,
        access_token=_token(inner, "accessToken", file),
        refresh_token=_token(inner, "refreshToken", file) if inner.get("refreshToken") else "",
        expires_at=_expiry(inner.get("expiresAt"), file),
    )


def _decoded(value: str, file: str) -> Mapping[str, Any]:
    try:
        document = json.loads(base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise MalformedCredentialError(f"key {file} is no JSON object")
    return document


def _token(inner: Mapping[str, Any], name: str, file: str) -> str:
    token = inner.get(name)
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise MalformedCredentialError(f"key {file} has no usable {_MEMBER}.{name}")
    return token


def _expiry(value: Any, file: str) -> datetime | None:
    """Milliseconds since 1970, as JavaScript has them."""
    if value is None or value == 0:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MalformedCredentialError(f"key {file}: {_MEMBER}.expiresAt is no number of milliseconds")
    try:
        return datetime.fromtimestamp(value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        if value > 0:
            return _LATEST
        raise MalformedCredentialError(f"key {file}: {_MEMBER}.expiresAt is no time") from None
