"""Several operators of which one leads, as the shipped Deployment has them with more than one replica."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from attrs import define, field

from tests.support.operator_process import OperatorProcess
from tests.support.waiting import eventually

T = TypeVar("T")


@define
class Replicas:
    """Starts operators with the same arguments; each has a log of its own, in `directory`. A killed leader's lease ends after 15 s."""

    kubeconfig: Path
    directory: Path
    arguments: Sequence[str]
    _running: list[OperatorProcess] = field(factory=list, init=False)
    _started: int = field(default=0, init=False)

    def start(self) -> None:
        """Start one more."""
        self._started += 1
        log = self.directory / f"replica-{self._started}.log"
        process = OperatorProcess(self.kubeconfig, log, (*self.arguments, "--leader-elect"))
        self._running.append(process)
        process.start()

    def kill_leader(self) -> None:
        """End the one that leads as SIGKILL does, and start another one in its place, which Kubernetes would do too."""
        self.until(self._leader, "one of the operators leads").kill()
        self._replace()

    def until(self, look: Callable[[], T | None], what: str, seconds: float = 60.0) -> T:
        """As `eventually`. An operator that ends meanwhile, as one does that loses its lease on a busy machine, is replaced."""

        def looked() -> T | None:
            self._replace()
            return look()

        return eventually(looked, what, seconds, self.tails)

    def stop(self) -> None:
        """Ask those that run to end."""
        statuses = {process.log.name: process.stop() for process in self._running if process.runs}
        assert set(statuses.values()) <= {0}, statuses

    def tails(self) -> str:
        """Return the ends of their logs."""
        return "\n".join(f"# {process.log.name}\n{process.tail()}" for process in self._running)

    def _replace(self) -> None:
        """Start a new one for each that has ended."""
        for process in [each for each in self._running if not each.runs]:
            self._running.remove(process)
            self.start()

    def _leader(self) -> OperatorProcess | None:
        told = (each for each in self._running if each.runs and "became leader" in each.tail(10_000))
        return next(told, None)
