"""Events (events.k8s.io/v1) that never get in the way: queued, folded into series, limited per object.

Identical events within `SERIES_GAP` become one Event with a count. The count is written at its second occurrence and
then at most every `SERIES_REFRESH` (client-go tools/events); an object that says too many different things is cut off (client-go's
spam filter: 25 at once, then one in five minutes).
"""

import logging
import socket
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from datetime import datetime
from random import Random
from typing import Any

import anyio
from attrs import define, field, frozen

from gastown_operator.runtime.client import Client
from gastown_operator.runtime.clock import Clock
from gastown_operator.runtime.errors import AlreadyExists, ApiError
from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.objects import ObjectKey, PartialObject, Resource, format_micro_time
from gastown_operator.runtime.plan import EventNote, Regarding

logger: logging.Logger = logging.getLogger(__name__)

EVENT = Resource("events.k8s.io", "v1", "Event", "events", namespaced=True, project=PartialObject.project)
SERIES_GAP = 360.0  # seconds without a repetition after which a new Event begins
SERIES_REFRESH = 300.0  # seconds between writes of a growing count
BURST = 25
REFILL = 300.0  # seconds until an object may say one more thing
QUEUE_LIMIT = 10_000  # a thousand objects may each say a few things at once; about 5 MB
SERIES_LIMIT = 4096
NOTE_LIMIT = 1024  # bytes, by API validation
ATTEMPTS = 3

_Identity = tuple[str, EventNote]


@define
class _Series:
    """One Event on the server: how often it happened, and what the server knows of that."""

    key: ObjectKey
    last: float
    count: int = 1
    written: int = 1
    written_at: float = 0.0


@define
class _Bucket:
    tokens: float
    filled_at: float


@frozen
class _Occurrence:
    regarding: Regarding
    note: EventNote
    moment: datetime


@define(eq=False, repr=False)
class EventRecorder:
    """Takes events at once and writes them in `run`; what it cannot keep up with is dropped and counted."""

    _client: Client
    _clock: Clock
    _metrics: Metrics
    _component: str
    _random: Random = field(factory=Random)
    _instance: str = field(factory=lambda: socket.gethostname()[:128])
    _waiting: deque[_Occurrence] = field(factory=deque)
    _arrived: anyio.Event = field(factory=anyio.Event)
    _writing: anyio.Lock = field(factory=anyio.Lock)
    _series: "OrderedDict[_Identity, _Series]" = field(factory=OrderedDict)
    _buckets: "OrderedDict[str, _Bucket]" = field(factory=OrderedDict)

    def event(self, regarding: Regarding, note: EventNote) -> None:
        """Record an event; never blocks, never raises."""
        if len(self._waiting) >= QUEUE_LIMIT:
            self._count("dropped")
            return
        self._waiting.append(_Occurrence(regarding, note, self._clock.now()))
        self._arrived.set()

    @property
    def waiting(self) -> int:
        """How many events were recorded and not written yet."""
        return len(self._waiting)

    async def run(self) -> None:
        """Write what is recorded, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived = anyio.Event()
            await self.flush()

    async def flush(self) -> None:
        """Write everything that waits, and let the write that is under way end."""
        async with self._writing:
            while self._waiting:
                occurrence = self._waiting.popleft()
                try:
                    await self._write(occurrence)
                except Exception:  # an event that cannot even be encoded is not worth the process
                    logger.exception("event not recorded")
                    self._count("failed")

    async def _write(self, occurrence: _Occurrence) -> None:
        now = self._clock.monotonic()
        identity = (occurrence.regarding.uid or str(occurrence.regarding.key), occurrence.note)
        series = self._series.get(identity)
        if series is not None and now - series.last < SERIES_GAP:
            self._series.move_to_end(identity)
            await self._repeat(identity, series, occurrence, now)
        elif self._may_speak(identity[0], now):
            await self._begin(identity, occurrence, now)
        else:
            self._count("rate_limited")

    async def _begin(self, identity: _Identity, occurrence: _Occurrence, now: float) -> None:
        regarding = occurrence.regarding
        name = f"{regarding.key.name[:230]}.{self._random.getrandbits(64):016x}"
        key = ObjectKey(regarding.key.namespace or "default", name)
        body = _body(key, occurrence, self._component, self._instance)
        if await self._attempt(lambda: self._client.create(EVENT, body, self._component)):
            self._count("created")
            self._series[identity] = _Series(key, now, written_at=now)
            while len(self._series) > SERIES_LIMIT:
                self._series.popitem(last=False)

    async def _repeat(
        self, identity: _Identity, series: _Series, occurrence: _Occurrence, now: float
    ) -> None:
        series.count, series.last = series.count + 1, now
        if series.written > 1 and now - series.written_at < SERIES_REFRESH:
            return
        body = {"series": {"count": series.count, "lastObservedTime": format_micro_time(occurrence.moment)}}
        if await self._attempt(lambda: self._client.merge_patch(EVENT, series.key, body, self._component)):
            self._count("series")
            series.written, series.written_at = series.count, now
        else:  # the Event may have been deleted: the next repetition begins another
            del self._series[identity]

    async def _attempt(self, call: Callable[[], Awaitable[object]]) -> bool:
        """Try a write a few times; its name is fixed, so a repetition cannot make a second Event."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await call()
            except AlreadyExists:
                return True
            except ApiError as error:
                if attempt == ATTEMPTS or not error.transient:
                    self._count("failed")
                    logger.info("event not recorded: %s", error)
                    break
                await self._clock.sleep(error.retry_after or attempt * self._random.random())
            else:
                return True
        return False

    def _may_speak(self, who: str, now: float) -> bool:
        bucket = self._buckets.setdefault(who, _Bucket(BURST, now))
        self._buckets.move_to_end(who)
        while len(self._buckets) > SERIES_LIMIT:
            self._buckets.popitem(last=False)
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.filled_at) / REFILL)
        bucket.filled_at = now
        if bucket.tokens < 1.0:
            return False
        bucket.tokens -= 1.0
        return True

    def _count(self, outcome: str) -> None:
        self._metrics.events.labels(outcome).inc()


def _body(key: ObjectKey, occurrence: _Occurrence, component: str, instance: str) -> dict[str, Any]:
    note = occurrence.note
    body = {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"namespace": key.namespace, "name": key.name},
        "eventTime": format_micro_time(occurrence.moment),
        "reportingController": component,
        "reportingInstance": instance,
        "action": (note.action or note.reason)[:128],
        "reason": note.reason[:128],
        "regarding": _reference(occurrence.regarding),
        "note": _cut(note.message),
        "type": note.type,
    }
    if note.related is not None:
        body["related"] = _reference(note.related)
    return body


def _reference(regarding: Regarding) -> dict[str, str]:
    reference = {
        "apiVersion": regarding.api_version,
        "kind": regarding.kind,
        "namespace": regarding.key.namespace,
        "name": regarding.key.name,
        "uid": regarding.uid,
    }
    return {name: text for name, text in reference.items() if text}


def _cut(text: str) -> str:
    """Cut a note to its limit in bytes, at a character; half a surrogate pair, which is no UTF-8, becomes a `?`."""
    raw = text.encode(errors="replace")
    return raw.decode() if len(raw) <= NOTE_LIMIT else raw[: NOTE_LIMIT - 3].decode(errors="ignore") + "..."
