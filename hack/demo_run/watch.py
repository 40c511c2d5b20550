"""Following one polecat: its row, its pod's row, its events and its agent's words, as kubectl tells them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hack.demo_run.errors import PolecatError
from hack.demo_run.kubectl import Kubectl
from hack.demo_run.streams import Line, Streams
from hack.demo_run.transcript import told

POLECAT, POD, EVENT, AGENT = "polecat", "pod", "event", "agent"
# Phases in which a polecat stays unless somebody does something.
ENDS = frozenset({"Done", "Stuck", "Terminated"})
# What kubectl shows as the status of a pod whose agent has started.
STARTED = frozenset({"Running", "Completed", "Error", "OOMKilled"})
# Events and logs come on connections of their own, so the last words may come after the last row.
LINGER_SECONDS = 0.5


@dataclass
class Watch:
    """Passes on what happens to the polecat `name` as (source, text); begin it before the polecat is created."""

    kubectl: Kubectl
    streams: Streams
    name: str
    tell: Callable[[str, str], None]
    _rows: dict[str, str] = field(default_factory=dict)
    _agent_followed: bool = False

    @property
    def pod(self) -> str:
        """The name of the polecat's first pod."""
        return f"polecat-{self.name}"

    def begin(self) -> None:
        """Start to watch."""
        self._get(POLECAT, "polecats", f"metadata.name={self.name}")
        self._get(POD, "pods", f"metadata.name={self.pod}")

    def until_end(self, uid: str, seconds: float) -> str:
        """Return the phase in which the polecat ended.

        Raises:
            PolecatError: it did not end within `seconds`, or the watch broke.
        """
        columns = "-o=custom-columns=REASON:.reason,MESSAGE:.message"
        self._get(EVENT, "events", f"involvedObject.uid={uid}", columns, "--no-headers")
        for line in self.streams.lines(time.monotonic() + seconds):
            self._take(line)
            if (phase := self._phase()) in ENDS:
                self._linger()
                return phase
        raise PolecatError(
            f"the polecat is {self._phase() or 'without a phase'} after {seconds:.0f} s, which is too long"
        )

    def _get(self, source: str, kind: str, selector: str, *options: str) -> None:
        command = self.kubectl.command("get", kind, "--watch", f"--field-selector={selector}", *options)
        self.streams.start(source, command)

    def _linger(self) -> None:
        for line in self.streams.lines(time.monotonic() + LINGER_SECONDS):
            self._take(line)

    def _take(self, line: Line) -> None:
        if line.text is None:
            if line.source != AGENT:
                raise PolecatError(f"kubectl has stopped watching the {line.source}")
        elif line.source in (POLECAT, POD):
            self._take_row(line.source, line.text)
        elif line.source == EVENT:
            self.tell(EVENT, " ".join(line.text.split()))
        else:
            for text in told(line.text):
                self.tell(AGENT, text)

    def _take_row(self, source: str, row: str) -> None:
        # The last column is the age: alone it is no news.
        news = row.rsplit(maxsplit=1)[0]
        if news == self._rows.get(source):
            return
        self._rows[source] = news
        self.tell(source, row.rstrip())
        if source == POD and self._word(POD) in STARTED and not self._agent_followed:
            self._agent_followed = True
            command = self.kubectl.command("logs", "--follow", "--container=agent", self.pod)
            self.streams.start(AGENT, command)

    def _phase(self) -> str:
        return self._word(POLECAT)

    def _word(self, source: str) -> str:
        """The third column of the latest row: phase of a polecat (NAME RIG PHASE …), status of a pod (NAME READY STATUS …)."""
        words = self._rows.get(source, "").split()
        return words[2] if len(words) > 2 else ""
