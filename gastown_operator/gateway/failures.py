"""What goes wrong, and what the agent is told so that it does the right thing about it.

Measured with the three agents: a 400 is the one answer after which all of them end at once. Claude Code retries 401 for three
minutes, aider 402, 403 and 413 for more than one, and opencode sleeps through any Retry-After.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from attrs import evolve, frozen

from gastown_operator.gateway.message import ModelOutcome

#: The reason of a request that is not tried after too many failures; the record keeps what those were.
NOT_TRIED: Final = "TooManyFailures"
#: The reason where there is no credential to show, or the provider asks for one and none is named.
CREDENTIAL_MISSING: Final = "CredentialMissing"
#: The reason where there is no connection to the provider.
UNREACHABLE: Final = "ProviderUnreachable"


class Answered(Enum):
    """How the agent hears of a failure."""

    AS_IS = auto()
    """With the provider's status and words."""
    AGAIN = auto()
    """The gateway tries again; then with the provider's status, until that was too often."""
    ENDING = auto()
    """With a 400, so that it ends."""


@frozen
class Failure:
    """Why there is no answer of the model, or not all of it.

    Attributes:
        reason: CamelCase, for the record.
        message: for the record and the log; redacted.
        said: what the agent is told where it is told in the gateway's words. Free of words that agents act upon: "prompt is
            too long" starts a compaction, and aider retries whatever speaks of a rate limit.
        status: the provider's, 0 where it gave none.
        retry_after: seconds that the provider asks for.
        body: the provider's words, redacted; empty where there are none to pass on.
    """

    outcome: ModelOutcome
    reason: str
    message: str
    said: str
    answered: Answered
    status: int = 0
    retry_after: float | None = None
    body: bytes = b""
    content_type: str = ""

    @property
    def counts(self) -> bool:
        """Whether agents try again after it by themselves."""
        return self.answered is Answered.AGAIN or self.status in _TRIED_AGAIN_BY_AGENTS


_TRIED_AGAIN_BY_AGENTS: Final = frozenset({408, 409, 413, 425})

_BY_STATUS: Final[Mapping[int, tuple[ModelOutcome, str, str, Answered]]] = {
    401: (
        ModelOutcome.AUTH,
        "InvalidCredential",
        "authentication failed: the provider does not accept the credential of this run",
        Answered.ENDING,
    ),
    403: (
        ModelOutcome.AUTH,
        "InvalidCredential",
        "authentication failed: the credential of this run is not permitted to do this",
        Answered.ENDING,
    ),
    402: (
        ModelOutcome.REFUSED,
        "PaymentRequired",
        "the provider asks for payment before it answers",
        Answered.ENDING,
    ),
    407: (
        ModelOutcome.CONFIG,
        "ProxyRefused",
        "the proxy on the way to the provider does not let this run through",
        Answered.ENDING,
    ),
    429: (
        ModelOutcome.RATE_LIMITED,
        "RateLimited",
        "the provider takes no more requests now",
        Answered.AGAIN,
    ),
    529: (ModelOutcome.RATE_LIMITED, "Overloaded", "the provider has too much to do now", Answered.AGAIN),
}


def of_status(status: int, words: str, retry_after: float | None, body: bytes, content_type: str) -> Failure:
    """An answer that is no answer of the model; `words` and `body` are redacted."""
    if status in _BY_STATUS:
        outcome, reason, said, answered = _BY_STATUS[status]
    elif 300 <= status < 400:
        said = "the provider's endpoint redirects elsewhere, which is not followed"
        outcome, reason, answered = ModelOutcome.CONFIG, "EndpointRedirects", Answered.ENDING
    elif status >= 500:
        said = "the provider failed"
        outcome, reason, answered = ModelOutcome.UNAVAILABLE, "ProviderFailed", Answered.AGAIN
    else:
        said = "the provider refuses this request"
        outcome, reason, answered = ModelOutcome.REFUSED, "RequestRefused", Answered.AS_IS
    message = f"{said} ({status}): {words}" if words else f"{said} ({status})"
    return Failure(outcome, reason, message, said, answered, status, retry_after, body, content_type)


def without_credential(failure: Failure) -> Failure:
    """The failure of a request that showed no credential: one that was not sent is not refused."""
    if failure.outcome is not ModelOutcome.AUTH:
        return failure
    said = "authentication failed: the provider asks for a credential, and none was sent, since none is named"
    message = failure.message.replace(failure.said, said, 1)
    return evolve(failure, reason=CREDENTIAL_MISSING, message=message, said=said)


def unavailable(reason: str, said: str, words: str = "", *, again: bool = True, status: int = 0) -> Failure:
    """The provider is out of reach, took too long or broke off."""
    answered = Answered.AGAIN if again else Answered.AS_IS
    message = f"{said}: {words}" if words else said
    return Failure(ModelOutcome.UNAVAILABLE, reason, message, said, answered, status)


def ending(outcome: ModelOutcome, reason: str, said: str, words: str = "") -> Failure:
    """Something after which the agent has to end."""
    return Failure(outcome, reason, f"{said}: {words}" if words else said, said, Answered.ENDING)
