"""Leader election on a Lease: at most one process acts, and it knows until when it may.

Modelled on client-go's leaderelection, with three differences. A standby watches the Lease, so that a release is seen at once.
`deadline` says until when this process may write, and the transport asks for it just before each write (`may_write`), so a
process that was stopped and goes on later writes nothing more. A rival's age is judged by our own monotonic clock from
the moment at which we saw its record change, never by the times that it wrote.
"""

import logging
import math
import socket
from collections.abc import Mapping
from random import Random
from typing import Any
from uuid import uuid4

from attrs import define, field, frozen

from gastown_operator.runtime.client import Client
from gastown_operator.runtime.clock import Clock, Deadline
from gastown_operator.runtime.errors import (
    ApiError,
    ConfigurationError,
    Conflict,
    NotFound,
    UnexpectedResponse,
)
from gastown_operator.runtime.metrics import ElectionMetrics
from gastown_operator.runtime.objects import (
    MalformedObjectError,
    ObjectKey,
    ObjectMeta,
    Raw,
    Resource,
    format_micro_time,
    parse_metadata,
)
from gastown_operator.runtime.transport import Transport
from gastown_operator.runtime.watchdog import NEVER, Watchdog
from gastown_operator.runtime.wire import decode_event

logger: logging.Logger = logging.getLogger(__name__)

RELEASED_SECONDS = (
    1  # lease duration in a released record, as client-go writes it (leaderelection.go, release)
)
JITTER = 1.2  # client-go JitterFactor: a retry waits up to so many periods longer
WATCH_SECONDS = 600.0  # a standby's watch of the Lease, unless the holder ends sooner
FIELD_MANAGER = "leader-election"
END_LIMIT = 3.0  # seconds for a process to end after it lost the lease, or to find out that it did
_NEVER = float("-inf")


@frozen
class LeaseRecord:
    """What a Lease says: who holds it, and for how long without a renewal."""

    metadata: ObjectMeta
    holder: str = ""
    duration: float = 0.0
    transitions: int = 0

    @classmethod
    def project(cls, raw: Raw) -> "LeaseRecord":
        """Read a Lease. Raises MalformedObjectError."""
        spec = raw.get("spec") or {}
        if not isinstance(spec, dict):
            raise MalformedObjectError("spec is not an object")
        return cls(
            metadata=parse_metadata(raw),
            holder=str(spec.get("holderIdentity") or ""),
            duration=_number(spec, "leaseDurationSeconds"),
            transitions=int(_number(spec, "leaseTransitions")),
        )


LEASE = Resource("coordination.k8s.io", "v1", "Lease", "leases", namespaced=True, project=LeaseRecord.project)


def own_identity() -> str:
    """Return a name that no other process has: two on one host are two."""
    return f"{socket.gethostname()}_{uuid4()}"


@frozen
class LeaseOptions:
    """Which Lease, and the times of the election in seconds (client-go's defaults: 15, 10 and 2).

    A holder renews every `retry_period`, stops acting `renew_deadline` after its last renewal, and is replaced `duration` after it.
    Raises ConfigurationError unless duration > renew_deadline > 1.2 retry_period > 0.
    """

    name: str
    namespace: str
    identity: str = field(factory=own_identity)
    duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __attrs_post_init__(self) -> None:
        """Refuse times that would let two processes act at once, or one never."""
        if not self.duration > self.renew_deadline > JITTER * self.retry_period > 0.0:
            raise ConfigurationError(
                f"the lease duration ({self.duration:g} s) must be longer than the renew deadline ({self.renew_deadline:g} s), "
                f"and that longer than {JITTER} times the retry period ({self.retry_period:g} s), which must be positive"
            )

    @property
    def key(self) -> ObjectKey:
        """The Lease."""
        return ObjectKey(self.namespace, self.name)

    @property
    def call_timeout(self) -> float:
        """Seconds for one call, so that a renewal can be tried twice before the deadline (client-go: RenewDeadline/2)."""
        return max(self.renew_deadline / 2.0, 0.5)


@define(eq=False, repr=False)
class Elector:
    """One process in one election. `client` and `watches` must not be fenced by it, and `client` must not repeat calls."""

    _options: LeaseOptions
    _client: Client
    _watches: Transport
    _clock: Clock
    _random: Random
    _metrics: ElectionMetrics
    _watchdog: Watchdog
    deadline: float = _NEVER
    leading: bool = False
    _record: LeaseRecord | None = None
    _free_at: float = _NEVER
    _claiming: bool = False

    def __str__(self) -> str:
        """Say in one line how the election stands."""
        state = "leading" if self.leading else "waiting"
        return f"{self._options.key} {state}, held by {self._holder() or 'nobody'}"

    def may_write(self) -> bool:
        """Whether this process holds the lease at this very moment, by its own monotonic clock."""
        return self._clock.monotonic() < self.deadline

    async def acquire(self) -> None:
        """Wait until the lease is ours; goes on trying whatever the server answers."""
        while not (self.leading or await self.attempt()):
            await self._wait()

    async def attempt(self) -> bool:
        """Take the lease if it is free at this moment; return whether it is ours. Never raises ApiError."""
        try:
            await self._read()
            if self._left() <= 0:
                await self._claim()
        except Conflict:
            logger.info("another process was faster at the lease %s", self._options.key)
        except ApiError as error:
            logger.warning("cannot take part in the election: %s", error)
        return self.leading

    async def hold(self) -> str:
        """Renew the lease for as long as that succeeds in time; return why it ended. Writing has stopped by then."""
        problem = ""
        while self.may_write() and self._is_ours():
            with self._clock.deadline(self.deadline - self._clock.monotonic()):
                await self._clock.sleep(self._options.retry_period)
                problem = await self._renewal()
        self._stop_leading()
        self._watchdog.expect_end_within(END_LIMIT)
        return problem or "it was not renewed in time"

    def abandon(self) -> None:
        """Stop renewing and leave the lease to run out, because something that we began may still be on its way."""
        self._stop_leading()
        logger.warning("not releasing the lease %s: work did not end in time", self._options.key)

    async def release(self) -> None:
        """Give the lease to whoever wants it next, if it is still ours; writing stops first. Never raises ApiError."""
        held = self.may_write() or self._claiming
        self._stop_leading()
        if not held:
            return
        spec = {"holderIdentity": "", "leaseDurationSeconds": RELEASED_SECONDS, "renewTime": self._now()}
        try:
            await self._read()  # a renewal may have been broken off
            if self._is_ours():
                await self._write(spec)
                logger.info("released the lease %s", self._options.key)
        except ApiError as error:
            logger.warning("cannot release the lease, others wait until it expires: %s", error)

    async def _read(self) -> None:
        try:
            self._observe(await self._client.get(LEASE, self._options.key))
        except NotFound:
            self._record = None

    def _observe(self, raw: Raw) -> None:
        """Note what the Lease says, and until when its holder is to be left alone, counted from when that was seen first."""
        try:
            record = LeaseRecord.project(raw)
        except MalformedObjectError as error:
            raise UnexpectedResponse(f"lease {self._options.key}: {error}") from error
        if record != self._record:
            if record.holder not in {"", self._holder(), self._options.identity}:
                logger.info("%s holds the lease %s", record.holder, self._options.key)
            self._record = record
            lasts = (record.duration or self._options.duration) if record.holder else 0.0
            self._free_at = self._clock.monotonic() + lasts

    def _holder(self) -> str:
        return self._record.holder if self._record is not None else ""

    def _is_ours(self) -> bool:
        return self._holder() == self._options.identity

    def _left(self) -> float:
        """Seconds for which the last holder that we saw, if it is another, is to be left alone.

        One whose Lease was deleted still writes: it does not know, and makes the Lease again at its next renewal.
        """
        return 0.0 if self._is_ours() else max(0.0, self._free_at - self._clock.monotonic())

    async def _wait(self) -> None:
        """Return when another attempt makes sense: at once when the lease is released, or when its holder's time is over."""
        pause = self._options.retry_period * (1.0 + JITTER * self._random.random())
        left = self._left()
        if left <= 0:
            await self._clock.sleep(pause)
            return
        with self._clock.deadline(left) as patience:
            try:
                await self._follow(patience)
            except ApiError as error:
                logger.info("cannot watch the lease: %s", error)
            if self._left() > 0:
                await self._clock.sleep(pause)

    async def _follow(self, patience: Deadline) -> None:
        """Watch the Lease until it is released or deleted, or the watch ends; each renewal extends our patience."""
        query = {
            "watch": "1",
            "fieldSelector": f"metadata.name={self._options.name}",
            "resourceVersion": str(self._record.metadata.resource_version)
            if self._record is not None
            else "0",
            "timeoutSeconds": str(int(WATCH_SECONDS)),
        }
        path = LEASE.path(self._options.namespace)
        async with self._watches.stream(path, query, deadline=WATCH_SECONDS) as lines:
            async for batch in lines:
                for kind, raw in map(decode_event, batch):
                    self._take_in(kind, raw)
                left = self._left()
                if left <= 0:
                    return
                patience.extend(left)

    def _take_in(self, kind: str, raw: Raw) -> None:
        if kind == "DELETED":
            self._record = None
        elif kind in {"ADDED", "MODIFIED"}:
            self._observe(raw)

    async def _claim(self) -> None:
        """Write ourselves down as the holder, on condition that nobody else did since we looked."""
        began, now = self._clock.monotonic(), self._now()
        self._claiming = True  # from here on it may be ours without our knowing
        transitions = self._record.transitions + 1 if self._record is not None else 0
        await self._write({**self._spec(now), "acquireTime": now, "leaseTransitions": transitions})
        self._renewed(began)
        self.leading = True
        self._metrics.leading.set(1)
        logger.info("became leader: %s holds the lease %s", self._options.identity, self._options.key)

    async def _renewal(self) -> str:
        """Renew once; return what was wrong, if anything."""
        if not self.may_write():
            return "the process stood still for too long"  # a rival may hold the lease already
        try:
            await self._renew()
        except ApiError as error:
            logger.warning("cannot renew the lease: %s", error)
            return str(error)
        return "" if self._is_ours() else f"it is held by {self._holder() or 'nobody'}"

    async def _renew(self) -> None:
        """Renew on condition that the record is the one we wrote; if it is not, look whose it is (the slow path)."""
        began = self._clock.monotonic()
        try:
            await self._write(self._spec(self._now()))
        except (Conflict, NotFound):  # an answer was lost, or somebody edited or deleted the Lease
            self._metrics.slow_path.inc()
            await self._read()
            if self._record is not None and not self._is_ours():
                return
            began = self._clock.monotonic()
            await self._write(self._spec(self._now()))
        self._renewed(began)

    async def _write(self, spec: Mapping[str, Any]) -> None:
        """Create the Lease, or change it if it is still as we know it. Raises ApiError, Conflict among others."""
        key, record = self._options.key, self._record
        if record is None:
            body = {"metadata": {"namespace": key.namespace, "name": key.name}, "spec": spec}
            self._observe(await self._client.create(LEASE, body, FIELD_MANAGER))
        else:
            body = {"metadata": {"resourceVersion": str(record.metadata.resource_version)}, "spec": spec}
            self._observe(await self._client.merge_patch(LEASE, key, body, FIELD_MANAGER))

    def _renewed(self, began: float) -> None:
        """Count from before the call: a rival counts from when it sees the result, which is later."""
        self.deadline = began + self._options.renew_deadline
        self._watchdog.limit = self.deadline + END_LIMIT

    def _stop_leading(self) -> None:
        self.deadline, self.leading, self._claiming = _NEVER, False, False
        self._watchdog.limit = NEVER
        self._metrics.leading.set(0)

    def _spec(self, now: str) -> dict[str, Any]:
        return {
            "holderIdentity": self._options.identity,
            "leaseDurationSeconds": math.ceil(self._options.duration),
            "renewTime": now,
        }

    def _now(self) -> str:
        return format_micro_time(self._clock.now())


def _number(spec: Raw, name: str) -> float:
    value = spec.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
