"""How time and CPU grow with the number of polecats, one rig for each hundred; the bare client beside it."""

from collections.abc import Sequence
from typing import Final

from tests.bench.figures import Figure
from tests.bench.fleet import Fleet, clear, prepare, say
from tests.bench.operator_pod import operator_pod
from tests.bench.thousand import OperatorRun, run_bare, run_operator

MEASURE: Final = "curve"
SIZES: Final = (500, 1000, 2000, 5000)


def measure(sizes: Sequence[int] = SIZES) -> list[Figure]:
    """Run each size once with the bare client, once with the operator. Raises BenchmarkError."""
    fleets = [Fleet.of(size) for size in sizes]
    access = prepare(max(fleets, key=lambda fleet: fleet.size))
    figures = []
    with operator_pod(access) as operator:
        for fleet in fleets:
            clear(access, fleet)
            bare = run_bare(access, fleet)
            ours = run_operator(access, fleet, operator)
            say(f"{fleet.size:,}: bare client {bare.seconds:.1f} s, operator {ours.outcome.seconds:.1f} s")
            figures += _figures(fleet, bare.seconds, bare.cpu, ours)
    return figures


def _figures(fleet: Fleet, seconds: float, cpu: float, ours: OperatorRun) -> list[Figure]:
    name = f"{fleet.size:,} polecats"
    details = {"polecats": fleet.size, "bare": {"seconds": seconds, "cpu": cpu}, "operator": ours.details()}
    took = ours.outcome.seconds
    return [
        Figure(MEASURE, f"{name}: created → all Working", took, "s", details=details),
        Figure(
            MEASURE,
            f"{name}: created → all Working, against the bare client",
            took / seconds,
            "x",
            baseline="as above",
        ),
        Figure(MEASURE, f"{name}: CPU of the operator", ours.cpu, "s"),
        Figure(
            MEASURE,
            f"{name}: CPU of the operator per polecat",
            ours.cpu / fleet.size * 1000,
            "ms",
        ),
    ]
