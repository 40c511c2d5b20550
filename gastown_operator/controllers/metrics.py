"""Metrics of Gas Town's own: what can be is read off the caches at each scrape, so it is right after a restart."""

from collections import Counter
from collections.abc import Callable, Iterable

from attrs import frozen
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gastown_operator.api.conditions import get_condition
from gastown_operator.api.polecat import Polecat, PolecatPhase
from gastown_operator.controllers.polecat.admission import Admission
from gastown_operator.controllers.polecat.status import READY

_WORKING_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)


def time_to_working(registry: CollectorRegistry) -> Histogram:
    """Return the histogram of the seconds from a polecat's creation, or its place in the queue, to its first status Working."""
    return Histogram(
        "gastown_polecat_time_to_working_seconds",
        "Time from a polecat's creation, or since it waits for a slot, to its first status Working",
        buckets=_WORKING_BUCKETS,
        registry=registry,
    )


@frozen(eq=False)  # the registry keeps its collectors in a dictionary
class OfLeader(Collector):
    """Gauges about objects, which every replica has in its caches: exported by the one that leads, so that `sum()` counts each once."""

    collector: Collector
    leads: Callable[[], bool]

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now; of a standby none."""
        return self.collector.collect() if self.leads() else ()


@frozen(eq=False)
class PolecatCollector(Collector):
    """How many polecats are in which phase, for which reason, and how attempts ended."""

    admission: Admission

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now."""
        polecats = self.admission.polecats.values()
        phases = GaugeMetricFamily(
            "gastown_polecats",
            "Polecats by rig, phase and reason of their Ready condition",
            labels=["rig", "phase", "reason"],
        )
        for (rig, phase, reason), number in sorted(Counter(map(_state, polecats)).items()):
            phases.add_metric([rig, phase, reason], number)
        yield phases
        active = GaugeMetricFamily("gastown_rig_active_pods", "Slots of a rig that are taken", labels=["rig"])
        for rig in sorted({polecat.spec.rig for polecat in polecats}):
            active.add_metric([rig], self.admission.active(rig))
        yield active
        attempts = GaugeMetricFamily(
            "gastown_polecat_attempts",
            "Ended attempts that the status of existing polecats keeps; falls when polecats are deleted",
            labels=["rig", "class"],
        )
        ended = Counter(
            (polecat.spec.rig, str(attempt.outcome))
            for polecat in polecats
            for attempt in polecat.status.attempts
        )
        for (rig, outcome), number in sorted(ended.items()):
            attempts.add_metric([rig, outcome], number)
        yield attempts


def _state(polecat: Polecat) -> tuple[str, str, str]:
    ready = get_condition(polecat.status.conditions, READY)
    phase = polecat.status.phase or PolecatPhase.IDLE
    return polecat.spec.rig, str(phase), ready.reason if ready is not None else ""
