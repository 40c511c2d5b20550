"""A thousand polecats at once: how long until all work, against a client that does nothing but make the same writes."""

from collections import Counter
from statistics import median
from typing import Any, Final

from attrs import asdict, frozen

from tests.bench.audit_writes import Writes
from tests.bench.crowd import Outcome
from tests.bench.crowd_process import run_crowd
from tests.bench.direct import Access
from tests.bench.figures import Figure
from tests.bench.fleet import Fleet, clear, prepare, say
from tests.bench.machine_rest import rest
from tests.bench.operator_pod import OperatorPod, operator_pod

MEASURE: Final = "thousand"
RIGS: Final = 10
RATIO_BAR: Final = 1.25
WRITES_BAR: Final = 3.0
BARE: Final = "a bare client (aiohttp, orjson) that makes the same user, pod and status writes and sees all pods Running"


@frozen
class OperatorRun:
    """One crowd served by the operator."""

    outcome: Outcome
    cpu: float
    writes: Counter[str]

    def details(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {**asdict(self.outcome), "operator_cpu": self.cpu, "writes": dict(self.writes)}


def measure(polecats: int = 1000, pairs: int = 5, rigs: int = RIGS) -> list[Figure]:
    """Alternate the bare client and the operator. Raises BenchmarkError."""
    fleet = Fleet(rigs, polecats // rigs)
    access = prepare(fleet)
    clear(access, fleet)
    bare: list[Outcome] = []
    ours: list[OperatorRun] = []
    with operator_pod(access) as operator:
        for pair in range(1, pairs + 1):
            bare.append(run_bare(access, fleet))
            ours.append(run_operator(access, fleet, operator))
            seconds = bare[-1].seconds, ours[-1].outcome.seconds
            say(f"pair {pair} of {pairs}: bare client {seconds[0]:.1f} s, operator {seconds[1]:.1f} s")
    return _figures(fleet, bare, ours)


def run_bare(access: Access, fleet: Fleet) -> Outcome:
    """Let the bare client do everything, and clear up."""
    rest(fleet.size)
    outcome = run_crowd("bare", fleet)
    clear(access, fleet)
    return outcome


def run_operator(access: Access, fleet: Fleet, operator: OperatorPod, *, keep: bool = False) -> OperatorRun:
    """Start the operator, if it does not run, let users make polecats, and end it and clear up, unless all is to be kept."""
    if not operator.runs:
        operator.start()
    rest(fleet.size)
    writes, cpu = Writes(), operator.cpu_seconds()
    outcome = run_crowd("user", fleet)
    spent = operator.cpu_seconds() - cpu
    run = OperatorRun(outcome, spent, writes.settle())
    if not keep:
        operator.end()
        clear(access, fleet)
    return run


def _figures(fleet: Fleet, bare: list[Outcome], ours: list[OperatorRun]) -> list[Figure]:
    size = f"{fleet.size:,} polecats over {fleet.rigs} rigs"
    ours_seconds = median(run.outcome.seconds for run in ours)
    bare_seconds = median(run.seconds for run in bare)
    cpu, bare_cpu = median(run.cpu for run in ours), median(run.cpu for run in bare)
    runs = {"bare": [asdict(run) for run in bare], "operator": [run.details() for run in ours]}
    return [
        Figure(
            MEASURE,
            f"{size}: created → all Working, medians of {len(ours)} pairs",
            ours_seconds / bare_seconds,
            "x",
            RATIO_BAR,
            BARE,
            runs,
        ),
        Figure(MEASURE, f"{size}: the operator", ours_seconds, "s"),
        Figure(MEASURE, f"{size}: the bare client", bare_seconds, "s"),
        *_writes(fleet, ours),
        Figure(MEASURE, "time to Working of one polecat, p50", median(r.outcome.p50 for r in ours), "s"),
        Figure(MEASURE, "time to Working of one polecat, p99", median(r.outcome.p99 for r in ours), "s"),
        Figure(MEASURE, "CPU of the operator", cpu, "s"),
        Figure(
            MEASURE,
            "CPU of the operator, against the bare client",
            cpu / bare_cpu,
            "x",
            baseline="CPU of the bare client, which makes the users' writes too",
        ),
    ]


def _writes(fleet: Fleet, ours: list[OperatorRun]) -> list[Figure]:
    """Writes for polecats in the worst run; those to rigs are few, and apart."""
    worst = max(ours, key=lambda run: _of_polecats(run.writes))
    name = "API writes by the operator per polecat until Working (Polecat, Pod, Event)"
    return [
        Figure(
            MEASURE,
            name,
            _of_polecats(worst.writes) / fleet.size,
            "",
            WRITES_BAR,
            details=dict(worst.writes),
        ),
        Figure(
            MEASURE,
            "writes to Rigs, in all",
            float(worst.writes.total() - _of_polecats(worst.writes)),
            "",
        ),
    ]


def _of_polecats(writes: Counter[str]) -> int:
    return sum(number for what, number in writes.items() if " rigs" not in what)
