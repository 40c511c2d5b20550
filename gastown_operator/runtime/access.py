"""Who may read the metrics: bearer tokens and RBAC, decided by the API server (controller-runtime pkg/metrics/filters).

A scraper needs `get` on the nonResourceURL, this process `create` on tokenreviews and subjectaccessreviews. Answers
are kept for a while, so a token works for up to a minute after it was revoked (and ten seconds for which the API
server believes its own answer), a right for up to five minutes.

Strangers cannot take more than their share: few of their tokens are reviewed at once, refusals are kept like
acceptances but apart from them, and those who were accepted before have turns of their own.
"""

import hashlib
import logging
from pathlib import Path
from random import Random
from secrets import token_bytes
from typing import NoReturn

from aiohttp import web
from aiohttp.typedefs import Handler
from attrs import define, field, frozen
from prometheus_client import CollectorRegistry

from gastown_operator.runtime.certificates import ServingCertificate
from gastown_operator.runtime.client import Client
from gastown_operator.runtime.clock import Clock
from gastown_operator.runtime.errors import ConfigurationError
from gastown_operator.runtime.memo import ExpiringMap, SingleFlight
from gastown_operator.runtime.reviews import Lane, ReviewError, Reviews, TooManyReviewsError, User

TOKEN_LIFETIME = 60.0
ALLOWED_LIFETIME = 300.0
DENIED_LIFETIME = 30.0
"""Seconds for which a review's answer is believed (controller-runtime's)."""

KEPT = 1024
"""Answers of each sort that are kept; refusals are small, and there may be many."""

REPORT_INTERVAL = 60.0
"""Seconds between two errors in the log: who may not scrape must not be able to fill it."""

logger: logging.Logger = logging.getLogger(__name__)


@frozen
class MetricsSecurity:
    """How the metrics are protected.

    `certificate_directory` holds tls.crt and tls.key (a mounted Secret of type kubernetes.io/tls); None: plain HTTP.
    `authenticate`: serve those only whom the API server knows and RBAC allows `get` on /metrics.

    Raises ConfigurationError for authentication without TLS.
    """

    certificate_directory: Path | None = None
    authenticate: bool = False

    def __attrs_post_init__(self) -> None:
        """Refuse to ask for tokens that everybody on the way could read."""
        if self.authenticate and self.certificate_directory is None:
            raise ConfigurationError(
                "scrapers cannot be authenticated over plain HTTP, where others can read their tokens: "
                "name a directory with tls.crt and tls.key, or do not authenticate"
            )

    def certificate(self, registry: CollectorRegistry, clock: Clock) -> ServingCertificate | None:
        """Return what the server proves itself with, if it does. Raises ConfigurationError if it cannot."""
        if self.certificate_directory is None:
            return None
        return ServingCertificate.load(self.certificate_directory, clock, registry)

    def access(self, client: Client, clock: Clock, random: Random) -> "Access | None":
        """Return who guards the metrics, if anybody does; `client` must not be bound to the lease."""
        return Access(Reviews(client, clock, random), clock) if self.authenticate else None


@define(eq=False, repr=False)
class Access:
    """Guards handlers: 401 without an accepted token, 403 without the right, 500 where the API server cannot say."""

    _reviews: Reviews
    _clock: Clock
    _key: bytes = field(factory=lambda: token_bytes(32))
    _accepted: ExpiringMap[bytes, User] = field(init=False)
    _refused: ExpiringMap[bytes, bool] = field(init=False)
    _allowed: ExpiringMap[tuple[User, str], bool] = field(init=False)
    _denied: ExpiringMap[tuple[User, str], bool] = field(init=False)
    _tokens: SingleFlight[bytes, User | None] = field(factory=SingleFlight, init=False)
    _rights: SingleFlight[tuple[User, str], bool] = field(factory=SingleFlight, init=False)
    _strangers: Lane = field(factory=Lane, init=False)
    _acquainted: Lane = field(factory=Lane, init=False)
    _reported: float = field(default=float("-inf"), init=False)

    def __attrs_post_init__(self) -> None:
        """Begin without knowing anybody."""
        self._accepted = ExpiringMap(self._clock, TOKEN_LIFETIME, KEPT)
        self._refused = ExpiringMap(self._clock, TOKEN_LIFETIME, 4 * KEPT)
        self._allowed = ExpiringMap(self._clock, ALLOWED_LIFETIME, KEPT)
        self._denied = ExpiringMap(self._clock, DENIED_LIFETIME, KEPT)

    def guard(self, handler: Handler) -> Handler:
        """Return a handler that lets through who may `get` the path; HEAD says nothing that GET does not."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                await self._admit(request)
            except TooManyReviewsError as error:
                raise web.HTTPServiceUnavailable(
                    text=f"Too many requests: {error}\n", headers={"Retry-After": "1"}
                ) from None
            except ReviewError as error:
                self._report(error)
                raise web.HTTPInternalServerError(
                    text="The API server could not be asked who you are and what you may do; the log has the reason\n"
                ) from None
            return await handler(request)

        return guarded

    async def _admit(self, request: web.Request) -> None:
        """Return if the request may go on. Raises HTTPUnauthorized, HTTPForbidden and ReviewError."""
        token = _bearer(request)
        user = await self._user(token)
        if user is None:
            _unauthorized("the API server does not accept the token")
        if not await self._may_get(user, request.path):
            logger.debug("%s may not get %s", user.name, request.path)
            raise web.HTTPForbidden(text=f"Forbidden: {user.name} may not get {request.path}\n")

    async def _user(self, token: str) -> User | None:
        digest = hashlib.blake2b(token.encode(), key=self._key).digest()
        user = self._accepted.get(digest)
        if user is not None or self._refused.get(digest):
            return user
        lane = self._acquainted if digest in self._accepted else self._strangers
        return await self._tokens.ask(digest, lambda: self._review_token(digest, token, lane))

    async def _review_token(self, digest: bytes, token: str, lane: Lane) -> User | None:
        user = await self._reviews.token(token, lane)
        if user is None:
            self._accepted.discard(digest)
            self._refused.put(digest, value=True)
        else:
            self._accepted.put(digest, user)
        return user

    async def _may_get(self, user: User, path: str) -> bool:
        right = (user, path)
        if self._allowed.get(right):
            return True
        if self._denied.get(right):
            return False
        return await self._rights.ask(right, lambda: self._review_right(right))

    async def _review_right(self, right: tuple[User, str]) -> bool:
        allowed = await self._reviews.access(*right, "get", self._acquainted)
        (self._allowed if allowed else self._denied).put(right, value=True)
        return allowed

    def _report(self, error: ReviewError) -> None:
        now = self._clock.monotonic()
        if now - self._reported >= REPORT_INTERVAL:
            self._reported = now
            logger.error(
                "cannot decide who may read the metrics (said once in %.0f s): %s", REPORT_INTERVAL, error
            )


def _bearer(request: web.Request) -> str:
    """Return the token that came with a request. Raises HTTPUnauthorized."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        _unauthorized("send a bearer token in the header Authorization")
    if not token.isascii() or not token.isprintable():
        _unauthorized("this is no bearer token")
    return token


def _unauthorized(why: str) -> NoReturn:
    raise web.HTTPUnauthorized(text=f"Unauthorized: {why}\n", headers={"WWW-Authenticate": "Bearer"})
