"""Two replicas, and the one that acts goes: how long until the other acts on something new."""

import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from math import ceil
from random import Random
from statistics import median
from typing import Final

from tests.bench.direct import Access
from tests.bench.figures import Figure
from tests.bench.fleet import clear, prepare, say
from tests.bench.fresh import first_handled, rig_of_fresh
from tests.bench.operator_pod import OperatorPod, operator_pod

MEASURE: Final = "failover"
RELEASE_BAR: Final = 3.0
CRASH_BAR: Final = 17.0
RENEWAL: Final = 2.0  # seconds between renewals: crashes come at any moment between two of them


def measure(releases: int = 5, crashes: int = 20) -> list[Figure]:
    """Let leaders stop in order, then kill them. Raises BenchmarkError."""
    access = prepare(rig_of_fresh())
    with ExitStack() as stack:
        leader, standby = (stack.enter_context(operator_pod(access, "--leader-elect")) for _ in range(2))
        leader.start()
        first_handled(access, lambda: None)  # it has the lease
        standby.start()
        stopped, leader, standby = _rounds(access, leader, standby, signal.SIGTERM, releases)
        killed, leader, standby = _rounds(access, leader, standby, signal.SIGKILL, crashes)
    return [
        Figure(
            MEASURE,
            f"the leader is told to stop → first write of its successor, worst of {releases}",
            max(stopped),
            "s",
            RELEASE_BAR,
            details={"seconds": stopped},
        ),
        Figure(
            MEASURE,
            f"the leader is killed → first write of its successor, p95 of {crashes}",
            _nearest_rank(killed, 0.95),
            "s",
            CRASH_BAR,
            details={"seconds": killed},
        ),
        Figure(MEASURE, "the leader is killed → first write of its successor, median", median(killed), "s"),
    ]


def _rounds(
    access: Access, leader: OperatorPod, standby: OperatorPod, number: signal.Signals, times: int
) -> tuple[list[float], OperatorPod, OperatorPod]:
    """End the leader some times; who was ended begins anew as the standby.

    The first write is the creation of a pod, for a Polecat that is made when the former leader has ended: nobody else does it.
    """
    random, took = Random(4), []  # noqa: S311 - no secret
    for turn in range(1, times + 1):
        clear(access, rig_of_fresh())
        time.sleep(random.uniform(0.0, RENEWAL))
        took.append(first_handled(access, partial(leader.end, number)))
        say(f"{number.name} {turn} of {times}: {took[-1]:.1f} s")
        leader, standby = standby, leader
        standby.start()
    return took, leader, standby


def _nearest_rank(values: Sequence[float], share: float) -> float:
    return sorted(values)[ceil(share * len(values)) - 1]
