"""Which headers pass, in both directions."""

from collections.abc import Iterable, Mapping
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy

from gastown_operator.gateway.credentials import OAUTH_BETA, Credential
from gastown_operator.gateway.redact import Redactor

#: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
_OF_ONE_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
    }
    | {"transfer-encoding", "upgrade"}
)
#: The agent has a dummy; whatever it sends as a credential goes no further.
_CREDENTIALS: Final = frozenset({"authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"})
#: Made anew for the connection to the provider. The encoding is `identity`, or the usage could not be read.
_MADE_ANEW: Final = frozenset({"host", "content-length", "content-encoding", "accept-encoding", "expect"})
_NOT_SENT: Final = _OF_ONE_HOP | _CREDENTIALS | _MADE_ANEW | {"forwarded", "via"}
_NOT_RETURNED: Final = _OF_ONE_HOP | {"content-length", "content-encoding", "set-cookie", "www-authenticate"}
_BETA: Final = "Anthropic-Beta"


def to_provider(
    headers: CIMultiDictProxy[str], provider: str, credential: Credential | None
) -> CIMultiDict[str]:
    """The agent's headers without its credentials, and with the right one."""
    kept = _without(headers, _NOT_SENT)
    kept["Accept-Encoding"] = "identity"
    if credential is not None:
        kept.update(credential.headers(provider))
        if credential.oauth and provider == "anthropic":
            betas = [
                beta.strip() for value in kept.popall(_BETA, []) for beta in value.split(",") if beta.strip()
            ]
            kept[_BETA] = ",".join(dict.fromkeys([*betas, OAUTH_BETA]))
    return kept


def to_agent(headers: CIMultiDictProxy[str], redactor: Redactor) -> CIMultiDict[str]:
    """The provider's headers; one that repeats the credential is left out."""
    kept = _without(headers, _NOT_RETURNED)
    return CIMultiDict((name, value) for name, value in kept.items() if not redactor.holds(value))


def _without(headers: CIMultiDictProxy[str], left_out: frozenset[str]) -> CIMultiDict[str]:
    also = _named(headers)
    return CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if name.lower() not in left_out and name.lower() not in also
    )


def _named(headers: CIMultiDictProxy[str]) -> frozenset[str]:
    """Headers that `Connection` says are of this hop only."""
    named: Iterable[str] = ",".join(headers.getall("Connection", [])).split(",")
    return frozenset(name.strip().lower() for name in named)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of `Retry-After`, where it is a number of them."""
    value = headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else None
