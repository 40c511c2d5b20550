"""How much memory the operator has, with its caches full; in the form that ships, which has no kubeconfig library."""

from typing import Final

from tests.bench.figures import Figure
from tests.bench.fleet import Fleet, prepare, say
from tests.bench.operator_pod import operator_pod
from tests.bench.thousand import run_operator

MEASURE: Final = "memory"
BARS: Final = {1000: 110.0, 5000: 200.0}


def measure(few: int = 1000, many: int = 5000) -> list[Figure]:
    """Let one process serve few polecats, then more, then let another begin with all of them. Raises BenchmarkError."""
    first = Fleet.of(few)
    later = Fleet(Fleet.of(many).rigs - first.rigs, first.per_rig, first.rigs)
    access = prepare(Fleet.of(many))
    figures = []
    with operator_pod(access) as operator:
        operator.start()
        figures.append(Figure(MEASURE, "RSS without polecats", operator.memory(), "MiB"))
        for fleet, polecats in ((first, few), (later, many)):
            run_operator(access, fleet, operator, keep=True)
            rss, peak = operator.memory(), operator.memory("VmHWM")
            say(f"{polecats:,} polecats: {rss:.0f} MiB, at most {peak:.0f} MiB")
            name = f"{polecats:,} polecats with their pods, made while it ran"
            figures += [
                Figure(MEASURE, f"RSS with {name}", rss, "MiB", BARS.get(polecats)),
                Figure(MEASURE, f"peak RSS with {name}", peak, "MiB"),
            ]
        operator.end()
        operator.start()
        name = f"{many:,} polecats and pods, found at its start"
        figures += [
            Figure(MEASURE, f"RSS with {name}", operator.memory(), "MiB", BARS.get(many)),
            Figure(MEASURE, f"peak RSS with {name}", operator.memory("VmHWM"), "MiB"),
        ]
    return figures
