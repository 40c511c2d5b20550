"""Keeps one partition of a store equal to what the API server has: list, watch, resume, and start over when it must.

States: INIT → (STREAMING | LISTING) → LIVE, with BACKOFF between attempts. STREAMING is a watch that begins with the present
objects (KEP-3157) and goes on as the live watch; servers that refuse it are listed in pages instead. The cache is
served, stale, whatever happens here.
"""

import logging
from collections.abc import Callable
from enum import Enum
from random import Random
from typing import Any, Generic, TypeVar

import anyio
from anyio.lowlevel import checkpoint
from attrs import define, field, frozen

from gastown_operator.runtime.backoff import Backoff
from gastown_operator.runtime.client import Client
from gastown_operator.runtime.clock import Clock, Deadline
from gastown_operator.runtime.errors import (
    ApiError,
    BadRequest,
    Gone,
    Invalid,
    NotFound,
    RequestTimeout,
    ResourceVersionTooLarge,
)
from gastown_operator.runtime.metrics import InformerMetrics
from gastown_operator.runtime.objects import Object, ObjectKey, Raw, Resource
from gastown_operator.runtime.store import Partition, Table
from gastown_operator.runtime.transport import Transport
from gastown_operator.runtime.wire import decode_event, ends_initial_events, key_of, uid_of, version_of

T = TypeVar("T", bound=Object)

logger: logging.Logger = logging.getLogger(__name__)

SERVER_TIMEOUT = (
    300.0,
    600.0,
)  # seconds; random, so that watches do not all end at once (client-go minWatchTimeout)
CLIENT_GRACE = 30.0  # seconds beyond the server's timeout before we end the watch ourselves
IDLE_LIMIT = (
    90.0  # seconds; the server sends a bookmark about once a minute, so silence means a dead connection
)
SHORT_WATCH = (
    1.0  # seconds; a watch that ends sooner without an event is a failure (client-go VeryShortWatchError)
)
MISSING_KIND_DELAY = 10.0  # seconds; a CRD that may be installed later (controller-runtime retries as often)
STREAMING_ATTEMPTS = 2  # failures of a streaming start before a list is tried instead
PAGE_SIZE = 500
OBJECTS_PER_TURN = (
    100  # keeps one turn of the event loop in the low milliseconds while many objects come at once
)


class Phase(Enum):
    """Where a reflector stands."""

    INIT = "Init"  # nothing was tried yet
    LISTING = "Listing"  # reading pages
    STREAMING = "Streaming"  # a watch that sends the present objects first
    LIVE = "Live"  # watching changes from a known version on
    BACKOFF = "Backoff"  # waiting after a failure


@frozen
class Selection:
    """Which objects of a kind are cached: one namespace or all (""), and selectors that the server applies."""

    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""

    def query(self) -> dict[str, str]:
        """Return the selectors as query parameters."""
        query = {"labelSelector": self.label_selector, "fieldSelector": self.field_selector}
        return {name: text for name, text in query.items() if text}


class _WatchClosed(Exception):  # noqa: N818 - not an error in itself
    """The server ended the watch in good order."""


class _WatchSilent(Exception):  # noqa: N818 - named for what was seen
    """Nothing came for longer than it should have taken; the argument is the metric's reason."""


@define
class _Vigil:
    """How long a watch may be silent.

    A server may never send bookmarks for a kind in which nothing has happened since it started ("we don't provide any
    guarantees", apiserver cacher.go), so silence is suspicious only where something is due: an answer, the rest of the
    initial events, or a bookmark from a server that was seen sending them. Else the whole watch has its time; dead peers
    are TCP keepalive's to find.
    """

    _clock: Clock
    _silence: Deadline
    _end: float
    strict: bool = True
    _extended: float = float("-inf")

    def note(self, *, strict: bool) -> None:
        """Note a sign of life; `strict` if another is due within the idle limit."""
        now = self._clock.monotonic()
        if strict == self.strict and now - self._extended < 1.0:
            return  # not for each of thousands of events a second
        self.strict, self._extended = strict, now
        self._silence.extend(IDLE_LIMIT if strict else self._end - now)


Report = Callable[[Resource[Any], Raw, Exception], None]


@define(eq=False, repr=False)
class Reflector(Generic[T]):
    """The single writer of a partition. `client` must not repeat calls itself: the backoff here does."""

    _resource: Resource[T]
    _selection: Selection
    _partition: Partition[T]
    _client: Client
    _watches: Transport
    _clock: Clock
    _random: Random
    _metrics: InformerMetrics
    _report: Report
    phase: Phase = Phase.INIT
    problem: str = ""
    synced: anyio.Event = field(factory=anyio.Event)
    _backoff: Backoff = field(init=False)
    _relist: str | None = "initial"
    _can_stream: bool = True
    _streaming_failures: int = 0
    _bookmarked: bool = False
    _malformed: dict[ObjectKey, str] = field(factory=dict)
    _unfit: set[ObjectKey] = field(factory=set)
    _attempt: anyio.CancelScope | None = None
    _refreshes: list[anyio.Event] = field(factory=list)
    _asked: int = 0  # so many of these before the present reading began

    def __attrs_post_init__(self) -> None:
        """Give the backoff its sources."""
        self._backoff = Backoff(self._clock, self._random)

    @property
    def ready(self) -> bool:
        """Whether the cache is complete and follows the server."""
        return self.synced.is_set() and not self.problem

    @property
    def name(self) -> str:
        """What it follows, for people."""
        return (
            f"{self._resource} in {self._selection.namespace}"
            if self._selection.namespace
            else str(self._resource)
        )

    def describe(self) -> dict[str, Any]:
        """Return how it stands, for a dump."""
        return {
            "resource": str(self._resource),
            "namespace": self._selection.namespace,
            "phase": self.phase.value,
            "problem": self.problem,
            "objects": len(self._partition.table.objects),
            "resource_version": self._partition.resource_version,
            "malformed": len(self._malformed),
        }

    def __str__(self) -> str:
        """Say in one line how it stands."""
        return f"{self._resource} {self.phase.value}" + (f" ({self.problem})" if self.problem else "")

    async def run(self) -> None:
        """Follow the server for good; ends only by cancellation."""
        while True:
            with anyio.CancelScope() as self._attempt:
                await self._try()

    async def refresh(self) -> None:
        """Read everything anew, and return when the cache has a state that the server had after this call."""
        self._relist = self._relist or "election"
        refreshed = anyio.Event()
        self._refreshes.append(refreshed)
        if self._attempt is not None:
            self._attempt.cancel()
        await refreshed.wait()

    async def _try(self) -> None:
        """Follow the server until something ends that, and wait as long as is due before the next attempt."""
        opened = self._clock.monotonic()
        try:
            await self._follow()
        except _WatchClosed:
            await self._closed(self._clock.monotonic() - opened)
        except _WatchSilent as silence:
            self._metrics.restarts[str(silence)].inc()
            await self._rest("the watch fell silent")
        except ApiError as error:
            await self._recover(error)

    async def _follow(self) -> None:
        """Get the present objects if they are needed, then watch until something ends it."""
        self._asked = len(self._refreshes)
        if self._relist is None:
            await self._watch()
        elif self._can_stream and self._streaming_failures < STREAMING_ATTEMPTS:
            await self._watch(self._partition.scratch())
        else:
            await self._list()
            await self._watch()

    async def _closed(self, seconds: float) -> None:
        self._metrics.restarts["closed"].inc()
        if self.phase is Phase.STREAMING:
            await self._rest("the watch ended before it had sent the present objects")
        elif seconds < SHORT_WATCH:
            await self._rest("the watch ended at once")

    async def _recover(self, error: ApiError) -> None:
        if self.phase is Phase.STREAMING and isinstance(error, Invalid | BadRequest):
            logger.info("%s: no streaming lists on this server, listing instead", self._resource)
            self._can_stream = False
            return
        self._metrics.restarts[_restart_reason(error)].inc()
        if isinstance(error, Gone):
            self._relist = self._relist or "expired"
        if isinstance(error, ResourceVersionTooLarge):
            self._relist = self._relist or "ahead"
        if isinstance(error, NotFound):
            await self._rest(
                f"the server has no such kind, is its CRD installed? {error}", MISSING_KIND_DELAY
            )
        else:
            await self._rest(str(error), error.retry_after)

    async def _rest(self, problem: str, least: float | None = None) -> None:
        """Wait before the next attempt: the backoff, and at least what is asked for."""
        self._streaming_failures += self.phase is Phase.STREAMING
        self.phase, self.problem = Phase.BACKOFF, problem
        delay = max(self._backoff.next(), least or 0.0)
        logger.warning("%s: %s; next attempt in %.1f s", self.name, problem, delay)
        await self._clock.sleep(delay)

    async def _list(self) -> None:
        self.phase = Phase.LISTING
        table = self._partition.scratch()
        try:
            version = await self._pages(table, PAGE_SIZE)
        except Gone:  # the continue token expired: once, in one piece
            table = self._partition.scratch()
            version = await self._pages(table, 0)
        await self._complete(table, version)

    async def _pages(self, table: Table[T], size: int) -> int:
        token = ""
        while True:
            token, version = await self._page(table, size, token)
            if not token:
                return version

    async def _page(self, table: Table[T], size: int, token: str) -> tuple[str, int]:
        """Load one page; return the token of the next and the version of the list."""
        page = await self._client.list_page(
            self._resource,
            self._selection.namespace,
            label_selector=self._selection.label_selector,
            field_selector=self._selection.field_selector,
            limit=size,
            continue_token=token,
        )
        for number, raw in enumerate(page.items):
            if number % OBJECTS_PER_TURN == 0:
                await checkpoint()
            self._load(table, raw)
        return page.continue_token, page.resource_version

    async def _complete(self, table: Table[T], version: int) -> None:
        asked, self._refreshes = self._refreshes[: self._asked], self._refreshes[self._asked :]
        reason, self._relist = self._relist or "expired", "election" if self._refreshes else None
        self._streaming_failures = self._asked = 0
        self._metrics.relists[reason].inc()
        self._malformed = {key: what for key, what in self._malformed.items() if key in self._unfit}
        self._unfit.clear()
        await self._partition.replace(table, version)
        self._alive()
        logger.info("%s: %d objects, version %d", self.name, len(table.objects), version)
        self.synced.set()
        for refreshed in asked:
            refreshed.set()

    def _alive(self) -> None:
        self.phase, self.problem = Phase.LIVE, ""

    async def _watch(self, loading: Table[T] | None = None) -> None:
        """Watch until it ends, always by an exception. `loading` is filled first, and swapped in when it is complete."""
        self.phase = Phase.LIVE if loading is None else Phase.STREAMING
        seconds = self._random.uniform(*SERVER_TIMEOUT)
        path = self._resource.path(self._selection.namespace)
        query = self._watch_query(loading, seconds)
        with self._clock.deadline(IDLE_LIMIT) as silence:
            vigil = _Vigil(self._clock, silence, self._clock.monotonic() + seconds + CLIENT_GRACE)
            async with self._watches.stream(path, query, deadline=seconds + CLIENT_GRACE) as lines:
                if loading is None:
                    self._alive()
                vigil.note(strict=loading is not None or self._bookmarked)
                async for batch in lines:
                    loading = await self._digest(batch, loading)
                    vigil.note(strict=loading is not None or self._bookmarked)
        if silence.expired:
            self._bookmarked = False
            raise _WatchSilent("idle" if vigil.strict else "deadline")
        raise _WatchClosed

    def _watch_query(self, loading: Table[T] | None, seconds: float) -> dict[str, str]:
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(seconds)),
            **self._selection.query(),
        }
        if loading is None:
            query["resourceVersion"] = str(self._partition.resource_version)
        else:  # no version: at least as new as a quorum read
            query["sendInitialEvents"] = "true"
            query["resourceVersionMatch"] = "NotOlderThan"
        return query

    async def _digest(self, batch: list[bytes], loading: Table[T] | None) -> Table[T] | None:
        """Take in some lines; return the table that is still loading, if it is."""
        self._metrics.last_event.set(self._clock.now().timestamp())
        for number, line in enumerate(batch, start=1):
            if number % OBJECTS_PER_TURN == 0:
                await checkpoint()
            kind, raw = decode_event(line)
            if loading is None:
                self._change(kind, raw)
            elif kind == "BOOKMARK" and ends_initial_events(raw):
                await self._complete(loading, version_of(raw))
                loading = None
            else:
                self._gather(kind, raw, loading)
        return loading

    def _gather(self, kind: str, raw: Raw, loading: Table[T]) -> None:
        """Fill the table. Synthetic ADDED events come in no order, so no version is taken from them."""
        if kind in {"ADDED", "MODIFIED"}:
            self._load(loading, raw)
        elif kind == "DELETED":
            loading.remove(key_of(raw))

    def _change(self, kind: str, raw: Raw) -> None:
        if kind in {"ADDED", "MODIFIED"}:
            self._put(raw)
        elif kind == "DELETED":
            key = key_of(raw)
            self._malformed.pop(key, None)
            self._partition.remove(key, version_of(raw))
        elif kind == "BOOKMARK":
            self._bookmarked = True
            self._partition.advance(version_of(raw))
        else:
            logger.warning("%s: unknown watch event %r skipped", self._resource, kind)

    def _put(self, raw: Raw) -> None:
        try:
            self._partition.put(self._fitting(raw))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one object must not stop the others
            self._skip(raw, error)
            self._partition.advance(version_of(raw))

    def _load(self, table: Table[T], raw: Raw) -> None:
        try:
            table.put(self._fitting(raw))
        except Exception as error:  # noqa: BLE001 - as above
            self._skip(raw, error)
            self._unfit.add(key_of(raw))
            known = self._partition.table.objects.get(key_of(raw))
            if known is not None and uid_of(raw) in {"", known.metadata.uid}:
                table.put(known)  # it exists: better its last good state than a deletion that did not happen

    def _fitting(self, raw: Raw) -> T:
        value = self._resource.project(raw)
        if self._malformed:
            self._malformed.pop(value.metadata.key, None)
        return value

    def _skip(self, raw: Raw, error: Exception) -> None:
        """Report an object that does not fit, once for each way in which it does not."""
        key, what = key_of(raw), f"{type(error).__name__}: {error}"
        if self._malformed.get(key) == what:
            return
        self._malformed[key] = what
        self._metrics.malformed.inc()
        logger.error("%s %s does not fit its projection and is skipped: %s", self._resource, key, what)
        self._report(self._resource, raw, error)


def _restart_reason(error: ApiError) -> str:
    if isinstance(error, Gone):
        return "expired"
    return "deadline" if isinstance(error, RequestTimeout) else "error"
