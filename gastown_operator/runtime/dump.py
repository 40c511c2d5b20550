"""What the process is doing at this moment, for a person who wonders: `kill -USR1` writes it to the log.

Names of objects and code, never their content: a log is read by more people than a Secret.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from types import CoroutineType
from typing import Any

from attrs import define

from gastown_operator.runtime.events import EventRecorder
from gastown_operator.runtime.lease import Elector
from gastown_operator.runtime.queue import LaneState, Request, WorkQueue
from gastown_operator.runtime.reflector import Reflector

logger: logging.Logger = logging.getLogger(__name__)

LONGEST = 20
"""Keys and tasks that are named, of each sort; the others are counted."""

Section = Mapping[str, Any]


@define(eq=False, repr=False)
class Dump:
    """Describes the running parts, one section a line."""

    _queue: WorkQueue
    _reflectors: Sequence[Reflector[Any]]
    _recorder: EventRecorder
    _elector: Elector | None

    def log(self) -> None:
        """Write all sections to the log."""
        for number, section in enumerate(self.sections()):
            logger.info("dump %d", number, extra=dict(section))

    def sections(self) -> Iterator[Section]:
        """Yield the lanes of the queue, the caches, the election, the event recorder and the tasks."""
        for controller in self._queue.controllers():
            yield _lane(controller, self._queue.state(controller))
        for reflector in self._reflectors:
            yield {"section": "informer", **reflector.describe()}
        if self._elector is not None:
            yield {"section": "election", "state": str(self._elector)}
        yield {"section": "events", "waiting": self._recorder.waiting}
        yield _tasks()


def _lane(controller: str, state: LaneState) -> Section:
    return {
        "section": "queue",
        "controller": controller,
        "ready": {str(priority): number for priority, number in sorted(state.ready_by_priority.items())},
        "delayed": state.delayed,
        "processing": len(state.processing),
        "slowest": _highest(state.processing),
        "backing_off": len(state.backing_off),
        "most_failures": _highest(state.backing_off),
    }


def _highest(figures: Mapping[Request, float]) -> Mapping[str, float]:
    ordered = sorted(figures.items(), key=lambda item: item[1], reverse=True)
    return {str(request.key): round(figure, 3) for request, figure in ordered[:LONGEST]}


def _tasks() -> Section:
    """Name the tasks, and for each the place where it waits."""
    tasks = sorted(f"{task.get_name()}: {_place(task)}" for task in asyncio.all_tasks())
    return {"section": "tasks", "number": len(tasks), "tasks": tasks[: 5 * LONGEST]}


def _place(task: "asyncio.Task[Any]") -> str:
    """Return what the task awaits, from the outside in; `get_stack` knows only the outermost frame of a task at rest."""
    places = []
    coroutine: Any = task.get_coro()
    while isinstance(coroutine, CoroutineType):
        frame, coroutine = coroutine.cr_frame, coroutine.cr_await
        if frame is not None:
            places.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
    return " > ".join(places)
