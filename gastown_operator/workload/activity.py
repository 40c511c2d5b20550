"""Whether the agent does anything: the newest of what it prints, changes, asks the model, and computes."""

from typing import Final

import attrs

#: Share of a core that an agent uses which only waits: less proves nothing.
CPU_SHARE: Final = 0.02
#: The wrapper samples CPU time this often; over a shorter time its numbers mean little.
CPU_WINDOW: Final = 5.0
#: Unit of CPU time in /proc (USER_HZ, the same on all of Linux's architectures); proc_pid_stat(5).
_TICKS_PER_SECOND: Final = 100


@attrs.frozen
class Signals:
    """What can be seen of the agent at one moment; each grows when it does something.

    Attributes:
        transcript: bytes printed; None where nothing was printed yet.
        tree: when anything in the work tree last changed, in nanoseconds since 1970.
        traffic: when the gateway last passed bytes, in nanoseconds since 1970; 0 without a gateway.
        cpu: CPU time of the agent's container in ticks; None before the wrapper runs.
    """

    transcript: int | None = None
    tree: int = 0
    traffic: int = 0
    cpu: int | None = None

    @property
    def started(self) -> bool:
        """Whether the agent's container is known to run."""
        return self.transcript is not None or self.cpu is not None


@attrs.frozen
class Activity:
    """What was seen so far, and when the agent was last active.

    Attributes:
        active_at: when; before the agent's container runs, the time of the last look, so that waiting for an image is no idleness.
        by: which signal showed it: `start`, `transcript`, `files`, `model` or `cpu`.
        seen: the signals of the last look.
        cpu_seen: CPU time that the next share is counted from, and when it was seen.
    """

    active_at: float
    by: str = "start"
    seen: Signals = Signals()
    cpu_seen: tuple[int, float] | None = None

    def update(self, now: float, signals: Signals) -> "Activity":
        """After one more look, at a time that only grows."""
        first = not self.seen.started
        by = "start" if first else self._sign(now, signals)
        later = attrs.evolve(self, seen=signals, cpu_seen=self._baseline(now, signals))
        return attrs.evolve(later, active_at=now, by=by) if by else later

    def idle(self, now: float) -> float:
        """Seconds since the agent was last active."""
        return max(0.0, now - self.active_at)

    def _sign(self, now: float, signals: Signals) -> str:
        """What shows activity since the last look; empty if nothing does."""
        if (signals.transcript or 0) > (self.seen.transcript or 0):
            return "transcript"
        if signals.tree > self.seen.tree:
            return "files"
        if signals.traffic > self.seen.traffic:
            return "model"
        return "cpu" if self._busy(now, signals) else ""

    def _busy(self, now: float, signals: Signals) -> bool:
        if self.cpu_seen is None or signals.cpu is None or now - self.cpu_seen[1] < CPU_WINDOW:
            return False
        ticks, since = self.cpu_seen
        return signals.cpu - ticks >= CPU_SHARE * _TICKS_PER_SECOND * (now - since)

    def _baseline(self, now: float, signals: Signals) -> tuple[int, float] | None:
        if signals.cpu is None:
            return self.cpu_seen
        if self.cpu_seen is not None and now - self.cpu_seen[1] < CPU_WINDOW:
            return self.cpu_seen
        return signals.cpu, now
