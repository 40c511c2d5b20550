"""Looks after the agent while it runs: shows whether it is active, and asks it to stop when it must."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from gastown_operator.workload.activity import Activity, Signals
from gastown_operator.workload.journal import Journal
from gastown_operator.workload.settings import Settings

#: Seconds between two looks; more often only where a limit is short.
_LOOK_EVERY: Final = 15.0
_LOOKS_PER_LIMIT: Final = 5
_SHORTEST: Final = 0.5
#: Seconds between two lines for live views (`pods/log?tailLines=1`).
_LINE_EVERY: Final = 60.0


@attrs.define
class Overseer:
    """Decides at each `tick` what `activity` and the clock say.

    Args:
        control: where the stop request goes.
        active: a file that is there while the agent was active within the threshold; the kubelet's probe reads it.
        look: the signs of activity of now.
        deadline: when the agent is asked to stop, by `monotonic`; None for never.
        monotonic: seconds that only grow.
        state: what else the line for live views says.

    Attributes:
        cause: why this overseer asked the agent to stop; empty if it did not, or somebody else was first.
    """

    settings: Settings
    control: Path
    active: Path
    look: Callable[[], Signals]
    journal: Journal
    monotonic: Callable[[], float]
    deadline: float | None
    state: dict[str, Any] = attrs.field(factory=dict)
    activity: Activity = attrs.field(init=False)
    cause: str = attrs.field(init=False, default="")
    _stopped: bool = attrs.field(init=False, default=False)
    _shown: bool | None = attrs.field(init=False, default=None)
    _next_look: float = attrs.field(init=False)
    _next_line: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """The agent counts as active now: after a restart of the keeper nothing older is known."""
        now = self.monotonic()
        self.activity = Activity(now)
        self._next_look = now
        self._next_line = now + _LINE_EVERY

    @property
    def interval(self) -> float:
        """Seconds between two looks."""
        limits = [it for it in (self.settings.stall_threshold, self.settings.idle_limit) if it > 0]
        return max(_SHORTEST, min([_LOOK_EVERY, *(limit / _LOOKS_PER_LIMIT for limit in limits)]))

    @property
    def next_tick(self) -> float:
        """When `tick` has something to do again."""
        return self._next_look if self.deadline is None else min(self._next_look, self.deadline)

    def tick(self) -> None:
        """Look, show, and stop the agent where it is time; does nothing before `next_tick`."""
        now = self.monotonic()
        if self.deadline is not None and now >= self.deadline:
            self._stop("deadline", seconds=self.settings.deadline)
            self.deadline = None if self._stopped else now + self.interval
        if now < self._next_look:
            return
        self._next_look = now + self.interval
        self.activity = self.activity.update(now, self.look())
        idle = self.activity.idle(now)
        self._show(active=idle < self.settings.stall_threshold)
        if 0 < self.settings.idle_limit <= idle:
            self._stop("idle", seconds=idle)
        if now >= self._next_line:
            self._next_line = now + _LINE_EVERY
            self.journal("status", idle_seconds=round(idle), last_activity=self.activity.by, **self.state)

    @contextmanager
    def meanwhile(self) -> Iterator[None]:
        """Tick in a thread while something takes long: a deadline must not wait for a push, nor a probe."""
        over = threading.Event()

        def run() -> None:
            while not over.wait(max(0.1, self.next_tick - self.monotonic())):
                self.tick()

        thread = threading.Thread(target=run, name="overseer", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _show(self, *, active: bool) -> None:
        if active is self._shown:
            return
        try:
            if active:
                self.active.touch()
            else:
                self.active.unlink(missing_ok=True)
        except OSError as error:
            self.journal("cannot show whether the agent is active", cause=str(error))
            return
        self._shown = active
        self.journal("the agent is active" if active else "the agent does nothing", by=self.activity.by)

    def _stop(self, cause: str, **fields: float) -> None:
        """Ask the agent to stop; the first cause stays, whoever had it."""
        if self._stopped:
            return
        try:
            file = os.open(self.control / "stop", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            self._stopped = True
            return
        except OSError as error:
            self.journal("cannot ask the agent to stop; trying again", cause=str(error))
            return
        self._stopped, self.cause = True, cause
        self.journal("asking the agent to stop", cause=cause, **fields)
        try:
            os.write(file, f"{cause}\n".encode())
        except OSError as error:
            # The file alone stops the agent; its cause is remembered here.
            self.journal("cannot write down why the agent is to stop", cause=str(error))
        finally:
            os.close(file)
