"""Spends a refresh token and keeps what comes of it: the one thing here that cannot be done twice.

The order is: (1) note on the Secret that a call is under way, on condition that nobody changed it since we looked; (2) ask the lease
as the first byte goes out; (3) write the answer at once, before anything else sees the new token. From (2) to (3) nothing interrupts us
but the death of the process: not the end of a reconcile, an orderly stop, or the loss of the lease. A process that dies between the
endpoint's answer and the write takes the new refresh token with it; that is the hole that single-use tokens have, and the next
try then ends in `Expired`.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

import anyio
from attrs import define, field, frozen

from gastown_operator.controllers.credential.endpoint import TokenEndpoint
from gastown_operator.controllers.credential.oauth import OAuth, Tokens, find_oauth
from gastown_operator.controllers.credential.secret import Secret
from gastown_operator.controllers.credential.settings import CredentialSettings
from gastown_operator.controllers.credential.state import (
    CLIENT_ID,
    ENDPOINT,
    LIFETIME,
    REFRESHING,
    REFUSED,
    Judgement,
    State,
    patch,
)
from gastown_operator.runtime.client import Client
from gastown_operator.runtime.clock import Clock
from gastown_operator.runtime.errors import ApiError, Conflict, NotFound
from gastown_operator.runtime.execution import Versions
from gastown_operator.runtime.objects import Raw, Resource

SAVE_LIMIT: Final = 8.0  # seconds in which a write is repeated before the queue is left to try again
SAVE_PAUSE: Final = 0.5
MANAGER: Final = "gastown-credential"

logger = logging.getLogger(__name__)


@frozen
class _Rotation:
    """New tokens that are not written yet. `spent` is the fingerprint of what was paid for them."""

    spent: str
    tokens: Tokens = field(repr=False)
    written: Mapping[str, str] = field(repr=False)


@define(eq=False)
class Refresher:
    """Refreshes the tokens of Secrets. Never called twice at once for one Secret: the queue sees to that.

    `client` asks the lease before it writes. `keeper` does not: what it writes is right whoever leads, on its condition.
    """

    client: Client
    keeper: Client
    endpoint: TokenEndpoint
    settings: CredentialSettings
    gate: Versions
    clock: Clock
    _unsaved: dict[str, _Rotation] = field(factory=dict, init=False)
    _begun: set[str] = field(factory=set, init=False)

    def has_unsaved(self, oauth: OAuth) -> bool:
        """Whether these tokens were spent, and what came of it could not be written yet."""
        return oauth.fingerprint in self._unsaved

    def began(self, fingerprint: str) -> bool:
        """Whether it was this process that noted a call; then it is not under way any more."""
        return fingerprint in self._begun

    async def note(self, resource: Resource[Secret], source: Secret, oauth: OAuth) -> Secret:
        """Note on the Secret that a call is about to be made, and return what it is then. Raises ApiError, Conflict among others."""
        self._begun.add(oauth.fingerprint)
        return await self._write(self.client, resource, source, {REFRESHING: oauth.fingerprint})

    async def spend(self, resource: Resource[Secret], noted: Secret, oauth: OAuth) -> None:
        """Spend the refresh token of a Secret on which that was noted, and write what comes of it.

        Raises RefreshRefused and RefreshFailed for the endpoint's answer, NotLeader where nothing was sent, and another ApiError where
        the answer could not be written yet: then `has_unsaved`, and `save` is to be called again.
        """
        annotations = noted.metadata.annotations
        url = annotations.get(ENDPOINT, self.settings.endpoint)
        client_id = annotations.get(CLIENT_ID, self.settings.client_id)
        with anyio.CancelScope(shield=True):
            tokens = await self.endpoint.refresh(url, client_id, oauth.refresh_token)
            written = oauth.rotated(tokens, self.clock.now())
            self._unsaved[oauth.fingerprint] = _Rotation(oauth.fingerprint, tokens, written)
            await self.save(resource, noted, oauth)
        logger.info("refreshed the access token; the next one is good for %s", tokens.lifetime)

    async def save(self, resource: Resource[Secret], secret: Secret, oauth: OAuth) -> None:
        """Write the tokens that these were spent for. Raises ApiError if that cannot be done for now."""
        rotation = self._unsaved[oauth.fingerprint]
        ends = self.clock.monotonic() + SAVE_LIMIT
        with anyio.CancelScope(shield=True):
            while not await self._saved(resource, secret, rotation, last=self.clock.monotonic() >= ends):
                await self.clock.sleep(SAVE_PAUSE)
                try:
                    secret = resource.project(await self.keeper.get(resource, secret.metadata.key))
                except NotFound:
                    break  # whoever deleted it does not want them
                except ApiError as error:
                    logger.warning("new tokens wait to be written: %s", error)
        del self._unsaved[oauth.fingerprint]

    async def _saved(
        self, resource: Resource[Secret], secret: Secret, rotation: _Rotation, *, last: bool
    ) -> bool:
        """Write, if this is still the Secret that the tokens are for. Return False if it is to be looked at again."""
        if not rotation.written.items() - secret.data.items():
            return True  # the answer to our write was lost
        if _fingerprint(secret) != rotation.spent:
            logger.warning("somebody has put other tokens into the Secret meanwhile; ours are dropped")
            return True
        annotations = {
            **Judgement(State.READY).annotations,
            REFRESHING: None,
            REFUSED: None,
            LIFETIME: str(int(rotation.tokens.lifetime.total_seconds())),
        }
        try:
            await self._write(self.keeper, resource, secret, annotations, data=dict(rotation.written))
        except Conflict:
            return False
        except ApiError as error:
            if last:
                raise
            logger.warning("new tokens wait to be written: %s", error)
            return False
        return True

    async def tell(
        self, resource: Resource[Secret], secret: Secret, annotations: Mapping[str, str | None]
    ) -> Secret:
        """Write annotations, on condition that it is as we saw it, and return what it is then. Raises ApiError."""
        return await self._write(self.client, resource, secret, annotations)

    async def _write(
        self,
        client: Client,
        resource: Resource[Secret],
        secret: Secret,
        annotations: Mapping[str, str | None],
        **more: Any,
    ) -> Secret:
        key = secret.metadata.key
        answer: Raw = await client.merge_patch(resource, key, patch(secret, annotations, **more), MANAGER)
        written = resource.project(answer)
        self.gate.record(key, resource, key.namespace, written.metadata.resource_version)
        return written


def _fingerprint(secret: Secret) -> str:
    try:
        oauth = find_oauth(secret)
    except ValueError:
        return ""
    return oauth.fingerprint if oauth is not None else ""
