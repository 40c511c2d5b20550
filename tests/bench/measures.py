"""Every measure of the suite: what it is called, what it needs around it, and where it is written."""

from collections.abc import Mapping
from enum import StrEnum
from importlib import import_module
from typing import Any, Final

from attrs import field, frozen

from tests.bench.figures import Figure


class Surroundings(StrEnum):
    """The cluster that a measure runs in; the values are what `hack/cluster up --nodes` takes."""

    NOTHING = ""
    """None: it makes what it needs."""
    KWOK = "kwok"
    """A real API server and fake nodes."""


@frozen
class Measure:
    """One benchmark.

    Attributes:
        module: in this package; its function `measure` returns the figures.
        limit: seconds after which something must be wrong.
        quick: arguments for a run that shows that the benchmark works, and measures nothing.
        after: a measure whose cluster this one goes on with, if it was the one before: what it has left need not be made anew.
    """

    name: str
    about: str
    surroundings: Surroundings
    module: str
    limit: float
    quick: Mapping[str, Any] = field(factory=dict)
    after: str = ""

    def run(self, **settings: Any) -> list[Figure]:
        """Measure, with the arguments of the module's function. Raises BenchmarkError."""
        figures: list[Figure] = import_module(f"tests.bench.{self.module}").measure(**settings)
        return figures


_NOTHING, _KWOK = Surroundings.NOTHING, Surroundings.KWOK

MEASURES: Final = (
    Measure(
        "event-rate",
        "CPU for 2,000 watch events/s",
        _NOTHING,
        "event_rate",
        400,
        {"seconds": 3.0, "baseline_seconds": 3.0, "pods": 200},
    ),
    Measure(
        "event-latency",
        "from an event to the start of its reconcile",
        _NOTHING,
        "event_latency",
        400,
        {"seconds": 3.0},
    ),
    Measure(
        "sync",
        "filling the caches with 20,000 pods; makes a cluster of its own",
        _NOTHING,
        "sync",
        600,
        {"pods": 500, "rounds": 1},
    ),
    Measure(
        "clone",
        "a repository of 2,000 commits, complete, shallow and from a mirror",
        _NOTHING,
        "clone",
        600,
        {"files": 30, "commits": 80, "runs": 1},
    ),
    Measure(
        "gateway",
        "what the gateway adds to the first byte of a model's answer, with 50 streams",
        _NOTHING,
        "gateway_first_byte",
        400,
        {"agents": 5, "rounds": 1, "seconds": 1.0},
    ),
    Measure(
        "thousand",
        "1,000 polecats created → all Working",
        _KWOK,
        "thousand",
        900,
        {"polecats": 50, "pairs": 1, "rigs": 5},
    ),
    Measure("curve", "500 to 5,000 polecats", _KWOK, "curve", 900, {"sizes": [50, 100]}),
    Measure("memory", "RSS with 1,000 and 5,000 polecats", _KWOK, "memory", 600, {"few": 100, "many": 200}),
    Measure(
        "restart",
        "start with 5,000 polecats → first fresh event handled",
        _KWOK,
        "restart",
        600,
        {"polecats": 200, "times": 1},
        after="memory",
    ),
    Measure(
        "failover",
        "the leader stops, or is killed → first write of its successor",
        _KWOK,
        "failover",
        900,
        {"releases": 1, "crashes": 1},
    ),
    Measure(
        "idle",
        "1,000 polecats, 10 minutes of nothing",
        _KWOK,
        "idle",
        1000,
        {"seconds": 20.0, "polecats": 50},
    ),
)
"""In the order in which all of them run."""
