"""Metrics of the refs that polecats leave, read off the cache at each scrape."""

from collections.abc import Iterable

from attrs import frozen
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gastown_operator.api.common import ConditionStatus
from gastown_operator.api.conditions import get_condition
from gastown_operator.api.rig import Rig
from gastown_operator.controllers.housekeeping.plan import CONDITION
from gastown_operator.runtime.store import Store


@frozen(eq=False)  # the registry keeps its collectors in a dictionary
class HousekeepingCollector(Collector):
    """How many refs the last look left, and whether it went well."""

    rigs: Store[Rig]

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now."""
        remaining = GaugeMetricFamily(
            "gastown_rig_recovery_refs",
            "Refs of a rig's polecats on the git server after the last look",
            labels=["rig"],
        )
        succeeded = GaugeMetricFamily(
            "gastown_rig_housekeeping_succeeded",
            "Whether the last look at a rig's refs went well, by the reason of the condition",
            labels=["rig", "reason"],
        )
        for rig in self.rigs.values():
            name, last = rig.metadata.name, rig.status.housekeeping
            if last is not None and last.remaining_refs is not None:
                remaining.add_metric([name], last.remaining_refs)
            condition = get_condition(rig.status.conditions, CONDITION)
            if condition is not None:
                succeeded.add_metric([name, condition.reason], condition.status is ConditionStatus.TRUE)
        yield remaining
        yield succeeded
