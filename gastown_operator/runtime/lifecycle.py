"""The life of the process: what starts before what, and how it stops.

Start: caches, lease, controllers. No controller runs before every cache is complete and, where there is an election, has a state that
the server had after it. Stop: the reverse, within 30 seconds; a second signal stops at once, and so does the loss of the
lease, after which nothing may be finished. Whatever does not end by itself then is ended by a thread (controller-runtime, pkg/manager/internal.go).
"""

import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import anyio
from anyio.abc import TaskStatus
from attrs import define, field

from gastown_operator.runtime.clock import Clock
from gastown_operator.runtime.dump import Dump
from gastown_operator.runtime.errors import LeadershipLost, StoppedAtOnce
from gastown_operator.runtime.events import EventRecorder
from gastown_operator.runtime.lease import END_LIMIT, Elector
from gastown_operator.runtime.queue import WorkQueue
from gastown_operator.runtime.reflector import Reflector
from gastown_operator.runtime.vitals import Vitals, collection_paused
from gastown_operator.runtime.watchdog import Watchdog
from gastown_operator.runtime.worker import ControllerWorkers

logger: logging.Logger = logging.getLogger(__name__)

# Seconds for each part of an orderly stop, 30 in all; keep terminationGracePeriodSeconds above that.
GRACE = 20.0  # reconciles
FLUSH_LIMIT = 5.0  # events that still wait
RELEASE_LIMIT = 5.0  # the lease
PAUSE_LIMIT = 60.0  # seconds without garbage collection, should the caches take longer to fill


@define(eq=False, repr=False)
class Lifecycle:
    """Runs the parts of one process, once, until `stop` is set. `begin` is called when the controllers may act."""

    _reflectors: Sequence[Reflector[Any]]
    _workers: Sequence[ControllerWorkers]
    _queue: WorkQueue
    _recorder: EventRecorder
    _elector: Elector | None
    _watchdog: Watchdog
    _vitals: Vitals
    _dump: Dump
    _clock: Clock
    _stop: anyio.Event
    _begin: Callable[[], Awaitable[None]]
    _elected: anyio.Event = field(factory=anyio.Event, init=False)
    _first: bool = field(default=True, init=False)
    _lost: str = field(default="", init=False)
    _hurried: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Run until SIGTERM, SIGINT or `stop`. Raises LeadershipLost, and StoppedAtOnce after a second signal."""
        with self._watchdog.watching():
            await self._run()
        if self._lost:
            raise LeadershipLost(f"lost the lease: {self._lost}")
        if self._hurried:
            raise StoppedAtOnce("a second signal: stopped before everything had ended")

    async def _run(self) -> None:
        async with anyio.create_task_group() as everything:
            await everything.start(self._obey_signals, everything.cancel_scope, name="signals")
            everything.start_soon(self._vitals.run, name="vitals")
            if self._elector is not None:
                # Before the caches begin to fill: then they are newer than the election at once.
                self._first = await self._elector.attempt()
            for reflector in self._reflectors:
                everything.start_soon(reflector.run, name=f"reflector of {reflector.name}")
            async with anyio.create_task_group() as term_of_office:
                term_of_office.start_soon(self._campaign, everything.cancel_scope, name="election")
                term_of_office.start_soon(self._record, name="events")
                drained = await self._until_stopped(self._control)
                await self._flush()
                term_of_office.cancel_scope.cancel()
            await self._resign(drained=drained)
            everything.cancel_scope.cancel()

    async def _campaign(self, everything: anyio.CancelScope) -> None:
        """Take the lease and keep it; end everything when it is lost."""
        if self._elector is not None:
            await self._elector.acquire()
            self._elected.set()
            self._lost = await self._elector.hold()
            logger.error("lost the lease, ending: %s", self._lost)
            everything.cancel()
        self._elected.set()

    async def _resign(self, *, drained: bool) -> None:
        """Let the next one begin at once, unless something of ours may still be on its way."""
        if self._elector is None:
            return
        if drained:
            with self._clock.deadline(RELEASE_LIMIT):
                await self._elector.release()
        else:
            self._elector.abandon()

    async def _record(self) -> None:
        """Write events, those included that were recorded before the election."""
        await self._elected.wait()
        await self._recorder.run()

    async def _control(self) -> None:
        """Run the controllers once they may act, on caches that are complete and recent enough."""
        await self._loaded("complete", *(reflector.synced.wait for reflector in self._reflectors))
        await self._elected.wait()
        if not self._first:
            # What the former leader wrote last may not have come by watch yet; a kind in which nothing happens tells no
            # version to compare with a quorum read's, so the reading itself must be new.
            await self._loaded(
                "newer than the election", *(reflector.refresh for reflector in self._reflectors)
            )
        async with anyio.create_task_group() as controllers:
            controllers.start_soon(self._queue.run, name="queue")
            for workers in self._workers:
                controllers.start_soon(workers.run)
            await self._begin()

    async def _loaded(self, what: str, *loads: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Return when all have loaded."""
        started = self._clock.monotonic()
        async with anyio.create_task_group() as resting:
            resting.start_soon(self._rest_collection)
            async with anyio.create_task_group() as loading:
                for load in loads:
                    loading.start_soon(load)
            resting.cancel_scope.cancel()
        logger.info("caches are %s after %.1f s", what, self._clock.monotonic() - started)

    async def _rest_collection(self) -> None:
        with collection_paused():
            await self._clock.sleep(PAUSE_LIMIT)

    async def _flush(self) -> None:
        """Write the events that wait, if this process may."""
        if self._elector is None or self._elector.leading:
            with self._clock.deadline(FLUSH_LIMIT):
                await self._recorder.flush()

    async def _until_stopped(self, part: Callable[[], Awaitable[None]]) -> bool:
        """Run a part of the process; when asked to stop, let its reconciles end. Return whether all did in time."""
        async with anyio.create_task_group() as running:

            async def complete() -> None:
                await part()
                self._stop.set()

            running.start_soon(complete, name="controllers")
            await self._stop.wait()
            self._queue.shut_down()
            with self._clock.deadline(GRACE) as patience:
                await self._queue.drained()
            running.cancel_scope.cancel()
        return not patience.expired

    async def _obey_signals(
        self, everything: anyio.CancelScope, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGUSR1) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGUSR1:
                    self._dump.log()
                elif self._stop.is_set():
                    logger.warning("second signal, stopping at once")
                    self._hurried = True
                    self._watchdog.expect_end_within(END_LIMIT)
                    everything.cancel()
                    return
                else:
                    logger.info("%s, stopping", signal.Signals(number).name)
                    self._stop.set()
