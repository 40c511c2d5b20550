"""Several operators of which one leads, as the shipped Deployment has them with more than one replica."""

from collections.abc import Sequence
from pathlib import Path

from attrs import define, field

from tests.support.operator_process import OperatorProcess
from tests.support.waiting import eventually

#: A killed leader's lease is over sooner than by default, but not so soon that a busy machine ends a living one's.
ELECTION = (
    *("--leader-elect", "--leader-election-lease-duration", "8"),
    *("--leader-election-renew-deadline", "6", "--leader-election-retry-period", "1"),
)


@define
class Replicas:
    """Starts operators with the same arguments; each has a log of its own, in `directory`."""

    kubeconfig: Path
    directory: Path
    arguments: Sequence[str]
    processes: list[OperatorProcess] = field(factory=list)

    def start(self) -> OperatorProcess:
        """Start one more."""
        log = self.directory / f"replica-{len(self.processes) + 1}.log"
        process = OperatorProcess(self.kubeconfig, log, (*self.arguments, *ELECTION))
        self.processes.append(process)
        process.start()
        return process

    def kill_leader(self) -> None:
        """End the one that leads as SIGKILL does, and start another one in its place, which Kubernetes would do too."""
        eventually(self._leader, "one of the operators leads").kill()
        self.start()

    def stop(self) -> None:
        """Ask those that run to end."""
        statuses = {process.log.name: process.stop() for process in self.processes if process.runs}
        assert set(statuses.values()) <= {0}, statuses

    def tails(self) -> str:
        """Return the ends of their logs."""
        return "\n".join(f"# {process.log.name}\n{process.tail()}" for process in self.processes)

    def _leader(self) -> OperatorProcess | None:
        told = (each for each in self.processes if each.runs and "became leader" in each.tail(10_000))
        return next(told, None)
