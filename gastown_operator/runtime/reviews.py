"""TokenReview and SubjectAccessReview: asking the API server who somebody is, and what they may do.

Reviews change nothing, so they are repeated on transient failures. What fails is told without what a token's
review may hold: an answer that is not the API server's own may echo the request.
"""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, TypeVar

import anyio
from attrs import define, field, frozen

from gastown_operator.runtime.client import Client
from gastown_operator.runtime.clock import Clock
from gastown_operator.runtime.errors import ApiError, RuntimeFailure, UnexpectedResponse
from gastown_operator.runtime.objects import PartialObject, Raw, Resource

TOKEN_REVIEW = Resource(
    "authentication.k8s.io",
    "v1",
    "TokenReview",
    "tokenreviews",
    namespaced=False,
    project=PartialObject.project,
)
ACCESS_REVIEW = Resource(
    "authorization.k8s.io",
    "v1",
    "SubjectAccessReview",
    "subjectaccessreviews",
    namespaced=False,
    project=PartialObject.project,
)
REVIEW_TIMEOUT = 10.0
"""Seconds for one review with its repetitions, and the wait for its turn."""

# k8s.io/apiserver DefaultAuthWebhookRetryBackoff
_ATTEMPTS, _FIRST_PAUSE, _FACTOR, _JITTER = 5, 0.5, 1.5, 0.2

Answer = TypeVar("Answer")


class ReviewError(RuntimeFailure):
    """The API server did not say whether somebody may have what they ask for."""


class TooManyReviewsError(ReviewError):
    """So many reviews wait that another would only make it worse."""


@frozen
class User:
    """Who the API server says that a token belongs to (`status.user` of a TokenReview)."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


@define(eq=False)
class Lane:
    """Lets a few reviews go on at once, and some more wait for their turn."""

    at_once: int = 4
    waiting: int = 32
    _turns: anyio.Semaphore = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._turns = anyio.Semaphore(self.at_once)

    async def pass_through(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """Make the call in its turn. Raises TooManyReviewsError if too many wait already."""
        if self._turns.statistics().tasks_waiting >= self.waiting:
            raise TooManyReviewsError(f"{self.at_once + self.waiting} reviews are under way already")
        async with self._turns:
            return await call()


@define(eq=False, repr=False)
class Reviews:
    """Makes reviews; `client` must not be bound to the lease, for a standby is asked as well."""

    _client: Client
    _clock: Clock
    _random: Random

    async def token(self, token: str, lane: Lane) -> User | None:
        """Return whose token this is, None if the API server does not accept it. Raises ReviewError."""
        return await self._ask(TOKEN_REVIEW, {"token": token}, _user, lane, secret=token)

    async def access(self, user: User, path: str, verb: str, lane: Lane) -> bool:
        """Tell whether a user may use a path that is no resource. Raises ReviewError."""
        spec = {
            "user": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {name: list(values) for name, values in user.extra},
            "nonResourceAttributes": {"path": path, "verb": verb},
        }
        return await self._ask(ACCESS_REVIEW, spec, _allowed, lane)

    async def _ask(
        self,
        resource: Resource[Any],
        spec: Raw,
        read: Callable[[Raw], Answer],
        lane: Lane,
        secret: str = "",
    ) -> Answer:
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {}, "spec": spec}
        with self._clock.deadline(REVIEW_TIMEOUT):
            try:
                return await lane.pass_through(lambda: self._repeated(resource, body, read))
            except ApiError as error:
                raise ReviewError(_described(error, resource, secret)) from None
        raise ReviewError(f"{resource.kind}: not answered within {REVIEW_TIMEOUT:.0f} s")

    async def _repeated(self, resource: Resource[Any], body: Raw, read: Callable[[Raw], Answer]) -> Answer:
        pause = _FIRST_PAUSE
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._once(resource, body, read)
            except ApiError as error:
                if not error.transient:
                    raise
                jittered = pause * (1.0 + self._random.uniform(0.0, _JITTER))
                await self._clock.sleep(max(jittered, error.retry_after or 0.0))
            pause *= _FACTOR
        return await self._once(resource, body, read)

    async def _once(self, resource: Resource[Any], body: Raw, read: Callable[[Raw], Answer]) -> Answer:
        answer = await self._client.create(resource, body, "access-review")
        try:
            return read(_status(answer, resource.kind))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UnexpectedResponse("the answer is no review", path=resource.path(), verb="POST") from error


def _status(answer: Raw, kind: str) -> Raw:
    if answer["kind"] != kind:
        raise ValueError(f"no {kind}")
    status: Raw = answer["status"]
    return status


def _user(status: Raw) -> User | None:
    if not _truth(status.get("authenticated", False)):  # the server leaves it out where it is false
        return None
    user = status["user"]
    name = user["username"]
    if not isinstance(name, str) or not name:
        raise ValueError("a user without a name")
    extra = sorted((user.get("extra") or {}).items())
    return User(
        name,
        str(user.get("uid") or ""),
        _texts(user.get("groups")),
        tuple((key, _texts(values)) for key, values in extra),
    )


def _allowed(status: Raw) -> bool:
    return _truth(status["allowed"]) and not _truth(status.get("denied", False))


def _truth(value: Any) -> bool:
    """Return a truth value that is one: the text "false" would be true."""
    if not isinstance(value, bool):
        raise TypeError("not a truth value")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    texts = tuple(values or ())
    if isinstance(values, str) or not all(isinstance(text, str) for text in texts):
        raise TypeError("want a list of texts")
    return texts


def _described(error: ApiError, resource: Resource[Any], secret: str) -> str:
    """Say what went wrong; in the server's words only if they are a Status, and without the token."""
    ours = error.status == 0 or bool(error.reason)
    if ours and not (secret and secret in error.message):
        return f"{resource.kind}: {error}"
    return f"{resource.kind}: {error.status} {error.reason or type(error).__name__}"
