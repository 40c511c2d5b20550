"""Typed verbs over the transport: what a controller may say to the API server.

Calls that are safe to repeat are repeated here on transient failures, within `RetryPolicy`; nothing else is.
Every other kind of retrying belongs to the work queue, which starts from fresh state.
"""

from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any, Literal, Protocol, TypeVar

import orjson
from attrs import define, field, frozen
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from gastown_operator.runtime.clock import Clock, SystemClock
from gastown_operator.runtime.errors import ApiError, Invalid, UnexpectedResponse
from gastown_operator.runtime.objects import ObjectKey, Raw, Resource
from gastown_operator.runtime.wire import decode_json

JSON = "application/json"
APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML; the name is what every server since 1.16 accepts
MERGE_PATCH = "application/merge-patch+json"

Propagation = Literal["Background", "Foreground", "Orphan"]
Query = Mapping[str, str]
AnyResource = Resource[Any]
Answer = TypeVar("Answer")


class Requests(Protocol):
    """The part of the transport that the client needs."""

    async def request(
        self,
        verb: str,
        path: str,
        *,
        query: Query | None = None,
        body: bytes | None = None,
        content_type: str = JSON,
        timeout: float | None = None,  # noqa: ASYNC109 - a default per verb, enforced by the HTTP client
    ) -> bytes:
        """Return the body of a 2xx answer. Raises ApiError for everything else."""
        ...


@frozen
class RetryPolicy:
    """How long an idempotent call is repeated: at most `attempts` times and `seconds` in all."""

    attempts: int = 4
    seconds: float = 20.0
    base: float = 0.1
    cap: float = 5.0


@frozen
class Page:
    """One page of a list; `continue_token` is empty on the last one."""

    items: tuple[Raw, ...]
    resource_version: int
    continue_token: str


@define(eq=False, repr=False)
class Client:
    """Reads are live (caches are the manager's business); every write names its field manager for the audit log."""

    _transport: Requests
    _clock: Clock = field(factory=SystemClock)
    _retry: RetryPolicy = RetryPolicy()
    _random: Random = field(factory=Random)

    async def get(self, resource: AnyResource, key: ObjectKey) -> Raw:
        """Read one object from the server. Raises ApiError, NotFound among others."""
        return await self._idempotent("GET", resource.path(key.namespace, key.name))

    async def list_page(
        self,
        resource: AnyResource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
        continue_token: str = "",
    ) -> Page:
        """Read one page of a consistent list (a quorum read: no resource version is sent). Raises ApiError."""
        query = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "limit": str(limit),
            "continue": continue_token,
        }
        path = resource.path(namespace)
        raw = await self._idempotent("GET", path, query={name: text for name, text in query.items() if text})
        return _page(raw, path)

    async def create(self, resource: AnyResource, body: Raw, field_manager: str) -> Raw:
        """Create an object; never repeated, since a lost answer may hide a success. Raises ApiError."""
        namespace = body["metadata"].get("namespace", "")
        query = _write_query(field_manager)
        return await self._call("POST", resource.path(namespace), query=query, body=body)

    async def apply(
        self,
        resource: AnyResource,
        key: ObjectKey,
        body: Raw,
        field_manager: str,
        *,
        force: bool = True,
        subresource: str = "",
    ) -> Raw:
        """Server-side apply of the fields in `body`; apiVersion, kind and name are filled in. Raises ApiError."""
        query = {**_write_query(field_manager), "force": "true" if force else "false"}
        path = resource.path(key.namespace, key.name, subresource)
        return await self._idempotent(
            "PATCH", path, query=query, body=_identified(resource, key, body), content_type=APPLY_PATCH
        )

    async def apply_status(self, resource: AnyResource, key: ObjectKey, body: Raw, field_manager: str) -> Raw:
        """Server-side apply on /status. Put `metadata.uid` in the body, so that a namesake is not written to."""
        return await self.apply(resource, key, body, field_manager, subresource="status")

    async def merge_patch(
        self,
        resource: AnyResource,
        key: ObjectKey,
        body: Raw,
        field_manager: str,
        *,
        subresource: str = "",
    ) -> Raw:
        """JSON merge patch; preconditions go into `metadata.uid` and `metadata.resourceVersion` of the body.

        Not repeated: after a lost answer a resourceVersion precondition would report our own write as a conflict.
        """
        path = resource.path(key.namespace, key.name, subresource)
        query = _write_query(field_manager)
        return await self._call("PATCH", path, query=query, body=body, content_type=MERGE_PATCH)

    async def delete(
        self,
        resource: AnyResource,
        key: ObjectKey,
        *,
        uid: str | None = None,
        resource_version: int | None = None,
        grace_period_seconds: int | None = None,
        propagation: Propagation = "Background",
    ) -> Raw:
        """Delete an object, with preconditions where given; repeated only if `uid` says which one. Raises ApiError.

        Returns the terminating object, or the Status of a deletion that is complete.
        """
        preconditions = {"uid": uid, "resourceVersion": str(resource_version) if resource_version else None}
        given = {name: text for name, text in preconditions.items() if text}
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if given:
            body["preconditions"] = given
        if grace_period_seconds is not None:
            body["gracePeriodSeconds"] = grace_period_seconds
        call = self._idempotent if uid else self._call
        return await call("DELETE", resource.path(key.namespace, key.name), body=body)

    async def _call(
        self,
        verb: str,
        path: str,
        *,
        query: Query | None = None,
        body: Raw | None = None,
        content_type: str = JSON,
    ) -> Raw:
        payload = None if body is None else _encoded(body, verb, path)
        answer = await self._transport.request(
            verb, path, query=query, body=payload, content_type=content_type
        )
        return _decoded(answer, verb, path)

    async def _idempotent(
        self,
        verb: str,
        path: str,
        *,
        query: Query | None = None,
        body: Raw | None = None,
        content_type: str = JSON,
    ) -> Raw:
        return await self._repeated(
            lambda: self._call(verb, path, query=query, body=body, content_type=content_type)
        )

    async def _repeated(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        started = self._clock.monotonic()
        retrying = AsyncRetrying(
            retry=retry_if_exception(_is_transient),
            wait=self._pause,
            stop=lambda state: self._is_over(state, started),
            sleep=self._clock.sleep,
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                return await call()
        raise AssertionError("tenacity ends by returning or raising")

    def _pause(self, state: RetryCallState) -> float:
        """Wait what the server asked for, else exponentially with full jitter."""
        asked = _retry_after(state)
        if asked is not None:
            return asked
        ceiling = min(self._retry.cap, self._retry.base * 2.0 ** (state.attempt_number - 1))
        return self._random.uniform(0.0, ceiling)

    def _is_over(self, state: RetryCallState, started: float) -> bool:
        if state.attempt_number >= self._retry.attempts:
            return True
        resumed = self._clock.monotonic() + (_retry_after(state) or 0.0)
        return resumed - started >= self._retry.seconds


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.transient


def _retry_after(state: RetryCallState) -> float | None:
    error = state.outcome.exception() if state.outcome else None
    return error.retry_after if isinstance(error, ApiError) else None


def _write_query(field_manager: str) -> dict[str, str]:
    return {"fieldManager": field_manager}


def _identified(resource: AnyResource, key: ObjectKey, body: Raw) -> Raw:
    metadata = {**body.get("metadata", {}), "name": key.name}
    if key.namespace:
        metadata["namespace"] = key.namespace
    return {**body, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}


def _encoded(body: Raw, verb: str, path: str) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:  # such as a user's value that is nested too deeply
        raise Invalid(f"cannot be written as JSON: {error}", verb=verb, path=path) from error


def _decoded(answer: bytes, verb: str, path: str) -> Raw:
    try:
        raw = decode_json(answer)
    except orjson.JSONDecodeError:
        raw = None
    if not isinstance(raw, dict):
        raise UnexpectedResponse("the answer is not a JSON object", status=200, verb=verb, path=path)
    return raw


def _page(raw: Raw, path: str) -> Page:
    metadata, items = raw.get("metadata"), raw.get("items")
    if not isinstance(metadata, dict) or not _are_objects(items):
        raise UnexpectedResponse("the answer is not a list", status=200, verb="GET", path=path)
    try:
        version = int(metadata.get("resourceVersion") or 0)
    except (TypeError, ValueError):
        raise UnexpectedResponse("the list has no numeric resourceVersion", status=200, path=path) from None
    return Page(tuple(items or ()), version, metadata.get("continue") or "")


def _are_objects(items: Any) -> bool:
    return items is None or (isinstance(items, list) and all(isinstance(item, dict) for item in items))
