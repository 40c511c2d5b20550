"""What is known of a credential, as annotations of its Secret: so it survives restarts, and is the next leader's to read."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from attrs import frozen

from gastown_operator.controllers.credential.oauth import OAuth
from gastown_operator.controllers.credential.secret import Secret

STATE: Final = "gastown.io/credential-state"
MESSAGE: Final = "gastown.io/credential-message"
REFRESHING: Final = "gastown.io/credential-refreshing"
"""A call to the token endpoint may be under way with the refresh token of this fingerprint."""
REFUSED: Final = "gastown.io/credential-refused"
"""The endpoint has refused the refresh token of this fingerprint."""
LIFETIME: Final = "gastown.io/credential-lifetime"
"""Seconds that the access token was given."""
ENDPOINT: Final = "gastown.io/oauth-token-endpoint"
CLIENT_ID: Final = "gastown.io/oauth-client-id"
"""Annotations that a user may set: where this Secret's tokens are refreshed, and as which client."""

LEAD: Final = timedelta(minutes=10)
"""A token is refreshed so long before its end, or at half of its life if that is later.

The kubelet takes up to 90 s to bring a changed Secret into a pod (its sync period and the age of its cache); the rest is for
an endpoint or an operator in trouble. A provider whose tokens live less than 4 minutes leaves too little for the kubelet and for
a leader that is lost at the wrong moment.
"""

_AT_ONCE: Final = datetime.min.replace(tzinfo=UTC)


class State(StrEnum):
    """How a credential stands."""

    READY = "Ready"
    FAILING = "Failing"  # the refresh fails, and is tried again; the access token is still good
    EXPIRED = "Expired"  # nobody can work with it until somebody logs in again, or a refresh succeeds
    MALFORMED = "Malformed"  # the file cannot be read


@frozen
class Judgement:
    """A state and the sentence that explains it."""

    state: State
    message: str = ""

    @property
    def annotations(self) -> Mapping[str, str | None]:
        """What a merge patch writes."""
        return {STATE: str(self.state), MESSAGE: self.message or None}


def state_of(source: Secret) -> State | None:
    """The state that a Secret's annotations tell, if they tell one."""
    text = source.metadata.annotations.get(STATE, "")
    return State(text) if text in tuple(State) else None


def is_refused(source: Secret, oauth: OAuth) -> bool:
    """Whether the endpoint has refused this very refresh token."""
    return source.metadata.annotations.get(REFUSED) == oauth.fingerprint


def refresh_time(source: Secret, oauth: OAuth) -> datetime | None:
    """When the access token is to be refreshed; None for never. One whose end is not known: at once, which is the year 1."""
    if not oauth.refresh_token or is_refused(source, oauth):
        return None
    if oauth.expires_at is None:
        return _AT_ONCE
    return oauth.expires_at - min(LEAD, _lifetime(source) / 2)


def judgement(source: Secret, oauth: OAuth, now: datetime, failure: str) -> Judgement:
    """How it stands; `failure` is what the last try to refresh these tokens came to."""
    if is_refused(source, oauth):
        said = source.metadata.annotations.get(MESSAGE, "")
        return Judgement(State.EXPIRED, said or "the token endpoint has refused its refresh token")
    if oauth.expires_at is not None and oauth.expires_at <= now:
        why = f", and cannot be refreshed: {failure}" if failure else ""
        why = why if oauth.refresh_token else ", and there is no refresh token"
        return Judgement(State.EXPIRED, f"its access token has expired{why}")
    if failure:
        return Judgement(
            State.FAILING, f"its access token cannot be refreshed, which is tried again: {failure}"
        )
    return Judgement(State.READY)


def patch(secret: Secret, annotations: Mapping[str, str | None], **more: Any) -> dict[str, Any]:
    """A merge patch of exactly this state of a Secret: who meets a newer one has to look again."""
    metadata = {
        "uid": secret.metadata.uid,
        "resourceVersion": str(secret.metadata.resource_version),
        "annotations": dict(annotations),
    }
    return {"metadata": metadata, **more}


def _lifetime(source: Secret) -> timedelta:
    """How long the access token was given. Not known of one that a person brought."""
    text = source.metadata.annotations.get(LIFETIME, "")
    return timedelta(seconds=int(text)) if text.isdecimal() and len(text) < 10 and int(text) else 2 * LEAD
