"""The `keeper` sidecar: checkpoints the agent's work while it runs, and delivers it when it ended."""

import signal
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path

import attrs

from gastown_operator.workload import wrapper_report
from gastown_operator.workload.agent_end import AgentEnd, Evidence, judge
from gastown_operator.workload.checkpoints import Checkpoints
from gastown_operator.workload.clone_record import CloneRecord
from gastown_operator.workload.delivery import Delivery
from gastown_operator.workload.done_round import report_done
from gastown_operator.workload.errors import AttemptError, GitError
from gastown_operator.workload.evidence import collect
from gastown_operator.workload.git import Git
from gastown_operator.workload.journal import Journal
from gastown_operator.workload.message import Outcome, TerminationMessage
from gastown_operator.workload.metrics import Metrics
from gastown_operator.workload.overseer import Overseer
from gastown_operator.workload.ownership import Ownership
from gastown_operator.workload.pruning import Pruning
from gastown_operator.workload.remote import Remote
from gastown_operator.workload.salvage import Salvage
from gastown_operator.workload.sensors import Sensors
from gastown_operator.workload.settings import Settings
from gastown_operator.workload.signals import EndComesError, Wakeups
from gastown_operator.workload.transcript import Transcript
from gastown_operator.workload.tree_watch import TreeWatch
from gastown_operator.workload.work import Work
from gastown_operator.workload.work_branch import WorkBranch

#: The pod's grace is 120 s; the agent may use 20 s of it, and the kubelet kills at its end.
GRACE_AFTER_AGENT = 95.0
#: The wrapper kills the agent 20 s after SIGTERM.
AGENT_GRACE = 25.0
CHECKPOINT_TIMEOUT = 300.0
#: The first of a few tries when the git server is out of reach at the end, in seconds; each next one waits twice as long.
_FIRST_RETRY = 2.0

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


@attrs.define
class Keeper:
    """Watches over one attempt.

    Args:
        volume: the keeper's own volume; its readiness file goes there.
        monotonic: seconds that only grow.
        publish: takes the termination message, as often as there is a better one.
        wall: seconds since 1970.
    """

    settings: Settings
    record: CloneRecord
    remote: Remote
    git: Git
    work: Work
    salvage: Salvage
    hints: Path
    control: Path
    volume: Path
    journal: Journal
    monotonic: Callable[[], float]
    publish: Callable[[TerminationMessage], None]
    wall: Callable[[], float] = time.time
    _ownership: Ownership = attrs.field(init=False)
    _checkpoints: Checkpoints = attrs.field(init=False)
    _checkpointed: str = attrs.field(init=False, default="")
    _transcript: Transcript = attrs.field(init=False)
    _overseer: Overseer = attrs.field(init=False)
    _pruning: Pruning = attrs.field(init=False)
    _metrics: Metrics = attrs.field(init=False, factory=Metrics)

    def __attrs_post_init__(self) -> None:
        """One view of the checkpoint refs, and of the agent, for the whole attempt."""
        self._ownership = Ownership(self.settings.owner_ref, self.journal, self.record.owned)
        self._checkpoints = Checkpoints(
            self.settings, self.record, self.remote, self.git, self.journal, self._ownership
        )
        self._transcript = Transcript(self.hints)
        self._pruning = Pruning(self.git, (self.record.base,))
        sensors = Sensors(self.hints, self.control, self._transcript, TreeWatch(self.work.repository))
        self._overseer = Overseer(
            self.settings,
            self.control,
            self.volume / "active",
            sensors.read,
            self.journal,
            self.monotonic,
            self._deadline(),
        )

    def run(self, wakeups: Wakeups) -> TerminationMessage:
        """Work until the agent has ended and everything that can be saved is saved; the last message."""
        self._watch(wakeups)
        give_up_at = self._grace_began(wakeups) + GRACE_AFTER_AGENT
        message = self._finish(wakeups, give_up_at)
        self.publish(message)
        self.journal(
            "ended", outcome=message.outcome, reason=message.reason, head=message.head, pushed=message.pushed
        )
        return message

    def metrics(self) -> str:
        """The page for a PodMonitor, at any time and in any thread."""
        idle = self._overseer.activity.idle(self.monotonic())
        return self._metrics.page(self.settings.attempt, idle)

    def _watch(self, wakeups: Wakeups) -> None:
        """Checkpoint at every interval, or when asked (SIGUSR1 from preStop), until the agent has ended."""
        next_checkpoint = self.monotonic() + self.settings.checkpoint_interval
        while True:
            self._overseer.tick()
            came = wakeups.wait(min(next_checkpoint, self._overseer.next_tick) - self.monotonic())
            if came & set(ENDING):
                self._await_agent(wakeups, came)
                return
            self._overseer.tick()
            if (signal.SIGUSR1 in came and not self._agent_reported()) or self.monotonic() >= next_checkpoint:
                with self._overseer.meanwhile():
                    self._checkpoint(wakeups)
                next_checkpoint = self.monotonic() + self.settings.checkpoint_interval

    def _await_agent(self, wakeups: Wakeups, came: set[signal.Signals]) -> None:
        """Where the keeper is an ordinary container, it is told to end together with the agent: let that one end first."""
        if not self.settings.ended_by_pipe or signal.SIGCHLD in came:
            return
        latest = self.monotonic() + AGENT_GRACE
        while self.monotonic() < latest and signal.SIGCHLD not in wakeups.wait(latest - self.monotonic()):
            pass

    def _agent_reported(self) -> bool:
        """Whether the agent has ended: then preStop has nothing to save that the end does not save anyway."""
        return wrapper_report.read(self.hints).code is not None

    def _deadline(self) -> float | None:
        """When the agent is asked to stop: counted from the clone, so that a keeper that was restarted does not begin anew."""
        if not self.settings.deadline:
            return None
        passed = max(0.0, self.wall() - self.record.cloned_at) if self.record.cloned_at else 0.0
        return self.monotonic() + max(0.0, self.settings.deadline - passed)

    def _grace_began(self, wakeups: Wakeups) -> float:
        """When the kubelet began to count: at its signal, which may have come while a checkpoint was being made."""
        told, now = wakeups.end_came_at, self.monotonic()
        return now if told is None else min(now, told + (AGENT_GRACE if self.settings.ended_by_pipe else 0))

    def _checkpoint(self, wakeups: Wakeups | None = None) -> None:
        """Put the work of now on the remote; a failure costs this checkpoint only."""
        if self.record.done:
            return
        guard = wakeups.breaking_off if wakeups is not None else nullcontext
        commit, began, before = "", self.monotonic(), self._checkpointed
        try:
            state = self.work.look()
            commit = self.work.checkpoint_commit(state)
            if commit in (self.record.start, self._checkpointed):
                return
            self._checkpoints.push(commit, CHECKPOINT_TIMEOUT, guard)
            self._checkpointed = commit
            self._overseer.state.update(checkpoint=commit, commits=self.work.count(state.delivered))
            self.journal("checkpoint", commit=commit, ref=self._checkpoints.ref)
            self._metrics.took(self.monotonic() - began, made=True)
            with suppress(EndComesError), guard():
                known = (before, self.record.start, self.record.base, *self.record.saved)
                self._metrics.bytes += self.work.size(commit, filter(None, known))
        except (AttemptError, GitError, OSError, EndComesError) as error:
            self.journal("no checkpoint this time", cause=str(error))
            if not isinstance(error, EndComesError):
                self._metrics.took(self.monotonic() - began, made=False)
        finally:
            self._make_room(commit)

    def _make_room(self, commit: str) -> None:
        """Forget objects of earlier checkpoints; nothing runs now that could need them."""
        if not commit:
            # The look broke off: no tree holds what it stored, so nothing must count as stored.
            self.work.forget()
        kept = dict.fromkeys(it for it in (self._checkpointed, commit) if it)
        try:
            freed = self._pruning.prune(*kept)
        except (GitError, OSError) as error:
            self.journal("objects of earlier checkpoints stay", cause=str(error))
            return
        if freed:
            self.journal("removed objects of earlier checkpoints", bytes=freed)

    def _finish(self, wakeups: Wakeups, give_up_at: float) -> TerminationMessage:
        if self.record.done:
            return report_done(self.record, self.git, self.settings)
        end = judge(self._evidence())
        self.publish(_unfinished(self.record, end))
        delivery = self._delivery(lambda: give_up_at - self.monotonic())
        pause = _FIRST_RETRY
        while True:
            message = delivery.deliver(end)
            if message.outcome is not Outcome.INFRASTRUCTURE or self.monotonic() + pause >= give_up_at:
                return message
            self.publish(message)
            self.journal("cannot deliver yet", reason=message.reason, cause=message.message, again_in=pause)
            wakeups.wait(pause)
            pause *= 2

    def _evidence(self) -> Evidence:
        volumes = {
            "the workspace": self.work.repository.parent,
            "the agent's hints": self.hints,
            "the keeper's volume": self.volume,
        }
        found = collect(self.settings, self.hints, self.control, self._transcript, volumes)
        return attrs.evolve(found, cause=found.cause or self._overseer.cause)

    def _delivery(self, remaining: Callable[[], float]) -> Delivery:
        branch = WorkBranch(self.settings, self.record, self.remote, self.git, self._ownership, remaining)
        return Delivery(
            self.settings, self.record, self.work, self.salvage, self._checkpoints, branch, remaining
        )


def _unfinished(record: CloneRecord, end: AgentEnd) -> TerminationMessage:
    """What is known if the keeper is killed before the push is done."""
    text = f"{end.text}; the keeper was killed before its push was done"
    return TerminationMessage(Outcome.INFRASTRUCTURE, "PushUnfinished", text, base=record.base)
