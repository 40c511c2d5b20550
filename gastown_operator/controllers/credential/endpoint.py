"""The call to an OAuth token endpoint (RFC 6749 §6). Refresh tokens are good for one call, so nothing here repeats it."""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, Final

import aiohttp
from attrs import frozen

from gastown_operator.controllers.credential.oauth import Tokens
from gastown_operator.runtime.errors import NotLeader, RuntimeFailure
from gastown_operator.runtime.transport import FencedBody

TIMEOUT: Final = 10.0  # seconds for the whole call; an orderly stop waits for it
LARGEST_ANSWER: Final = 64 * 1024
DEFAULT_LIFETIME: Final = 3600  # seconds, where the answer does not say (RFC 6749 §5.1 leaves that open)
LONGEST_LIFETIME: Final = 10 * 365 * 24 * 3600
_WORD: Final = re.compile(r"[\w.-]{1,64}", re.ASCII)
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,8192}")
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]+")


class RefreshRefused(RuntimeFailure):
    """The endpoint says that the refresh token is no good (`invalid_grant`); to send it again is useless."""


class RefreshFailed(RuntimeFailure):
    """There is no new token, and whether the former refresh token is still good may be unknown."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        """Keep the seconds that the endpoint asked us to wait."""
        super().__init__(message)
        self.retry_after = retry_after


@frozen
class TokenEndpoint:
    """Refreshes tokens. `may_act` is asked just before the first byte is sent, since a token cannot be taken back."""

    _may_act: Callable[[], bool]
    _user_agent: str
    _timeout: float = TIMEOUT

    async def refresh(self, url: str, client_id: str, refresh_token: str) -> Tokens:
        """Spend a refresh token. Raises RefreshRefused, RefreshFailed, and NotLeader when nothing was sent."""
        body = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": client_id}
        try:
            async with self._session() as session, self._sent(session, url, body) as response:
                text = await _bounded(response.content)
                status, wait = response.status, response.headers.get("Retry-After", "")
        except TimeoutError:
            raise RefreshFailed(f"no answer within {self._timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error.__cause__, NotLeader):
                raise NotLeader(error.__cause__.message) from None
            raise RefreshFailed(f"the connection failed ({type(error).__name__})") from None
        if status == 200:
            return _tokens(_object(text))
        raise _refusal(status, _object(text), wait, refresh_token)

    def _session(self) -> aiohttp.ClientSession:
        """One for each call: hours lie between them."""
        return aiohttp.ClientSession(
            headers={"User-Agent": self._user_agent},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=True,  # the operator's own proxy variables
        )

    def _sent(
        self, session: aiohttp.ClientSession, url: str, body: Mapping[str, str]
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return session.post(
            url,
            data=FencedBody(json.dumps(body).encode(), self._may_act),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            allow_redirects=False,
        )


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    text = b""
    while len(text) < LARGEST_ANSWER and (chunk := await content.read(LARGEST_ANSWER - len(text))):
        text += chunk
    return text


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _tokens(answer: Mapping[str, Any]) -> Tokens:
    access, refresh = answer.get("access_token"), answer.get("refresh_token") or ""
    if not (isinstance(access, str) and _TOKEN.fullmatch(access)):
        raise RefreshFailed("the answer has no access_token")
    if not (isinstance(refresh, str) and (not refresh or _TOKEN.fullmatch(refresh))):
        raise RefreshFailed("the answer has no usable refresh_token")
    seconds = answer.get("expires_in")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        seconds = DEFAULT_LIFETIME
    return Tokens(access, refresh, timedelta(seconds=min(seconds, LONGEST_LIFETIME)))


def _refusal(status: int, answer: Mapping[str, Any], wait: str, refresh_token: str) -> RuntimeFailure:
    """RFC 6749 §5.2 has the code in `error`; Anthropic's API errors have it in `error.type`."""
    error: Any = answer.get("error")
    description: Any = answer.get("error_description")
    if isinstance(error, dict):
        error, description = error.get("type"), error.get("message")
    code = error if isinstance(error, str) and _WORD.fullmatch(error) else ""
    words = description.replace(refresh_token, "…") if isinstance(description, str) else ""
    said = ": ".join(part for part in (f"HTTP {status}", code, _printable(words)) if part)
    if code == "invalid_grant":
        return RefreshRefused(said)
    return RefreshFailed(said, min(float(wait), 3600.0) if wait.isdecimal() else None)


def _printable(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text)[:200].strip()
