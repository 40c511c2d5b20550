"""Runs the reconciles of one controller: takes keys from the queue and settles what came of them."""

import asyncio
import logging
from asyncio import CancelledError
from typing import assert_never
from uuid import uuid4

import anyio
from anyio.lowlevel import checkpoint
from attrs import define, frozen

from gastown_operator.runtime.clock import Clock
from gastown_operator.runtime.controller import Controller, Result
from gastown_operator.runtime.errors import ApiError, Conflict, TerminalError
from gastown_operator.runtime.gate import WriteGate
from gastown_operator.runtime.logs import log_context
from gastown_operator.runtime.metrics import ControllerMetrics
from gastown_operator.runtime.queue import Request, Ticket, WorkQueue

logger: logging.Logger = logging.getLogger(__name__)

CONFLICT_DELAY = 1.0  # seconds; the event that caused the conflict usually comes first


@frozen
class _Failed:
    """The reconcile raised; again after the key's own delay, and not before the server wants to be asked again."""

    retry_after: float | None = None


@frozen
class _Ended:
    """The reconcile raised, and trying again is useless until something changes."""


@frozen
class _Outdated:
    """The reconcile met a newer object than it had read: no failure, the watch brings the newer state."""


Outcome = Result | _Failed | _Ended | _Outdated


@define(eq=False, repr=False)
class ControllerWorkers:
    """The workers of one controller. An exception in a reconcile never leaves its turn."""

    _controller: Controller
    _queue: WorkQueue
    _gate: WriteGate
    _clock: Clock
    _metrics: ControllerMetrics

    async def run(self) -> None:
        """Work until the queue is shut down."""
        self._metrics.max_concurrent.set(self._controller.concurrency)
        async with anyio.create_task_group() as workers:
            for number in range(self._controller.concurrency):
                workers.start_soon(self._work, name=f"{self._controller.name}/{number}")

    async def _work(self) -> None:
        while (ticket := await self._queue.get(self._controller.name)) is not None:
            try:
                await self._turn(ticket)
            finally:
                self._queue.done(ticket.request)
            await checkpoint()  # a backlog of reconciles that await nothing must not stop the event loop

    async def _turn(self, ticket: Ticket) -> None:
        if self._gate.hold(ticket.request, self._queue, priority=ticket.priority):
            self._metrics.stale_skips.inc()
            return
        key = ticket.request.key
        with (
            log_context(
                controller=self._controller.name,
                namespace=key.namespace,
                name=key.name,
                reconcileID=str(uuid4()),
            ),
            self._metrics.active_workers.track_inprogress(),
        ):
            started = self._clock.monotonic()
            outcome = await self._outcome(ticket.request)
            self._metrics.duration.observe(self._clock.monotonic() - started)
            self._settle(ticket, outcome)

    async def _outcome(self, request: Request) -> Outcome:
        """Reconcile once. The deadline, and every exception, becomes an outcome."""
        with self._clock.deadline(self._controller.reconcile_deadline) as deadline:
            try:
                return await self._controller.reconciler.reconcile(request.key)
            except Conflict as error:
                logger.info("met a newer object: %s", error)
                return _Outdated()
            except TerminalError as error:
                logger.error("gave up until something changes: %s", error)  # noqa: TRY400 - foreseen: no traceback
                return _Ended()
            except ApiError as error:
                logger.log(logging.WARNING if error.retryable else logging.ERROR, "%s", error)
                return _Failed(error.retry_after) if error.retryable else _Ended()
            except Exception:
                logger.exception("unforeseen exception")
                self._metrics.panics.inc()
                return _Failed()
            except CancelledError:
                if _is_cancelled():
                    raise
                # Something that the reconcile awaited was cancelled by somebody else; it must not end the worker.
                logger.exception("unforeseen cancellation")
                self._metrics.panics.inc()
                return _Failed()
        if deadline.expired:
            self._metrics.timeouts.inc()
            logger.error("did not end within %s seconds", self._controller.reconcile_deadline)
        return _Failed()

    def _settle(self, ticket: Ticket, outcome: Outcome) -> None:
        """As controller-runtime's reconcileHandler: an error wins over a requeue, success resets the backoff."""
        request, priority = ticket
        match outcome:
            case Result(requeue_after, wanted):
                self._queue.forget(request)
                if requeue_after is not None:
                    priority = priority if wanted is None else wanted
                    self._queue.add(request, priority=priority, after=max(0.0, requeue_after))
                self._count("success" if requeue_after is None else "requeue_after")
            case _Outdated():
                self._metrics.conflicts.inc()
                self._queue.add(request, priority=priority, after=CONFLICT_DELAY)
                self._count("requeue")
            case _Failed(retry_after):
                self._metrics.errors.inc()
                self._queue.add_rate_limited(request, priority=priority, least=retry_after or 0.0)
                self._count("error")
            case _Ended():
                self._metrics.errors.inc()
                self._metrics.terminal_errors.inc()
                self._queue.forget(request)
                self._count("error")
            case _:
                assert_never(outcome)

    def _count(self, result: str) -> None:
        self._metrics.reconciles[result].inc()


def _is_cancelled() -> bool:
    """Tell whether this task itself is being cancelled, by a deadline or a stop."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
