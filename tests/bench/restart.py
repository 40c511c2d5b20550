"""The operator starts where five thousand polecats work: how long until it acts on something new."""

from statistics import median
from typing import Final

from tests.bench.audit_writes import Writes
from tests.bench.crowd_process import run_crowd
from tests.bench.figures import Figure
from tests.bench.fleet import Fleet, clear, count, prepare, say
from tests.bench.fresh import first_handled, rig_of_fresh
from tests.bench.machine_rest import rest
from tests.bench.operator_pod import operator_pod

MEASURE: Final = "restart"
BAR: Final = 5.0
OF_POLECATS: Final = ("polecats/status", "polecats", "pods", "events")


def measure(polecats: int = 5000, times: int = 3) -> list[Figure]:
    """Restart it some times. Raises BenchmarkError."""
    fleet, fresh = Fleet.of(polecats), rig_of_fresh()
    access = prepare(fleet)
    prepare(fresh)
    if count(access, fleet) < fleet.size:
        clear(access, fleet)
        run_crowd("bare", fleet)
    took, cpu, unneeded = [], [], []
    with operator_pod(access) as operator:
        operator.start()
        Writes().settle()  # what it has to say about polecats that somebody else has started
        operator.end()
        for number in range(1, times + 1):
            clear(access, fresh)
            rest(fleet.size)
            writes = Writes()
            took.append(first_handled(access, lambda: operator.start(ready=False)))
            operator.await_ready()
            cpu.append(operator.cpu_seconds())
            writes.settle()
            counted = writes.count(fleet.names())
            unneeded.append(sum(number for what, number in counted.items() if what.split()[1] in OF_POLECATS))
            operator.end()
            say(f"start {number} of {times}: {took[-1]:.1f} s until something new is acted on")
    clear(access, fresh)
    name = f"{fleet.size:,} polecats and their pods"
    return [
        Figure(
            MEASURE,
            f"start with {name} → first fresh event handled, worst of {times}",
            max(took),
            "s",
            BAR,
            details={"seconds": took, "cpu": cpu},
        ),
        Figure(MEASURE, f"start with {name}: CPU until then", median(cpu), "s"),
        Figure(
            MEASURE,
            f"start with {name}: writes for polecats that had not changed",
            float(max(unneeded)),
            "",
            0.0,
        ),
    ]
