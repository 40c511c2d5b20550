"""Nothing happens to a thousand working polecats: what the operator still writes, reads anew, and computes."""

import time
from typing import Final

from attrs import frozen

from tests.bench.audit_writes import Writes
from tests.bench.figures import Figure
from tests.bench.fleet import Fleet, clear, prepare, say
from tests.bench.operator_pod import OperatorPod, operator_pod
from tests.bench.stream_server_process import running
from tests.bench.thousand import run_operator

MEASURE: Final = "idle"
RELISTS: Final = "informer_relists_total"
RESTARTS: Final = "informer_watch_restarts_total"
PROGRESS_SECONDS: Final = 60.0
BARE: Final = "a bare client (aiohttp, orjson) that holds the same watches"


@frozen
class Reading:
    """The operator at one moment."""

    at: float
    cpu: float
    relists: float
    restarts: float

    @classmethod
    def of(cls, operator: OperatorPod) -> "Reading":
        """Take it."""
        return cls(
            time.monotonic(), operator.cpu_seconds(), operator.metric(RELISTS), operator.metric(RESTARTS)
        )


def measure(seconds: float = 600.0, polecats: int = 1000) -> list[Figure]:
    """Let them work for some seconds. Raises BenchmarkError."""
    fleet = Fleet.of(polecats)
    access = prepare(fleet)
    clear(access, fleet)
    with operator_pod(access) as operator:
        run_operator(access, fleet, operator, keep=True)
        with running("watcher") as watcher:
            watcher.line()
            watched, writes, before = watcher.ask("read"), Writes(), Reading.of(operator)
            _pass(seconds)
            after, count, watching = Reading.of(operator), writes.count(), watcher.ask("read")
    clear(access, fleet)
    spent, elapsed = after.cpu - before.cpu, after.at - before.at
    bare = (watching["cpu"] - watched["cpu"]) / elapsed * 100
    name = f"{fleet.size:,} working, {seconds / 60:.3g} minutes of nothing"
    return [
        Figure(MEASURE, f"{name}: writes", float(count.total()), "", 0.0, details=dict(count)),
        Figure(MEASURE, f"{name}: CPU", spent / elapsed * 100, "% of a core", 1.0),
        Figure(MEASURE, f"{name}: lists and watches begun anew", after.relists - before.relists, "", 0.0),
        Figure(MEASURE, f"{name}: watches resumed", after.restarts - before.restarts, ""),
        Figure(MEASURE, f"{name}: CPU of a bare client", bare, "% of a core", baseline=BARE),
    ]


def _pass(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        say(f"{left:.0f} s of nothing left")
        time.sleep(min(left, PROGRESS_SECONDS))
