"""Gauges that are read off the running parts at each scrape, so that they cost nothing on the way of an event."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from attrs import define, field
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PRIORITY_LIMIT = 25  # distinct values of the label `priority` (controller-runtime pkg/internal/metrics)


class LaneReading(Protocol):
    """What the queue gauges need to know of a lane."""

    @property
    def ready_by_priority(self) -> Mapping[int, int]:
        """How many keys wait at each priority."""
        ...

    @property
    def processing(self) -> Mapping[Any, float]:
        """The keys in work and since how many seconds."""
        ...


class CacheReading(Protocol):
    """What the informer gauges need to know of a store."""

    @property
    def resource_version(self) -> int:
        """How far the cache has come."""
        ...

    def __len__(self) -> int: ...


@define(eq=False)
class LiveGauges(Collector):
    """Gauges computed from the live parts at each scrape."""

    lanes: dict[str, Callable[[], LaneReading]] = field(factory=dict)
    caches: dict[str, list[CacheReading]] = field(factory=dict)

    def collect(self) -> Iterable[Metric]:
        """Read queue and caches."""
        yield from self._queue()
        objects = GaugeMetricFamily("informer_objects", "Objects in the cache", labels=["resource"])
        version = GaugeMetricFamily(
            "informer_store_resource_version", "How far the cache has come", labels=["resource"]
        )
        for resource, caches in self.caches.items():
            objects.add_metric([resource], sum(map(len, caches)))
            version.add_metric([resource], min(cache.resource_version for cache in caches))
        yield objects
        yield version

    def _queue(self) -> Iterable[Metric]:
        labels = ["name", "controller"]
        depth = GaugeMetricFamily("workqueue_depth", "Keys that wait", labels=[*labels, "priority"])
        unfinished = GaugeMetricFamily(
            "workqueue_unfinished_work_seconds", "Sum of the ages of keys in work", labels=labels
        )
        longest = GaugeMetricFamily(
            "workqueue_longest_running_processor_seconds", "Age of the oldest key in work", labels=labels
        )
        for name, read in self.lanes.items():
            reading = read()
            for priority, number in _bounded({0: 0, **reading.ready_by_priority}).items():
                depth.add_metric([name, name, priority], number)
            ages = tuple(reading.processing.values())
            unfinished.add_metric([name, name], sum(ages))
            longest.add_metric([name, name], max(ages, default=0.0))
        yield depth
        yield unfinished
        yield longest


def _bounded(depths: Mapping[int, int]) -> Mapping[str, int]:
    """Return the depths by label; where there are too many priorities, those beyond the limit together."""
    highest = sorted(depths, reverse=True)
    bounded = {str(priority): depths[priority] for priority in highest[:PRIORITY_LIMIT]}
    if len(highest) > PRIORITY_LIMIT:
        bounded["exceeded_cardinality_limit"] = sum(depths[each] for each in highest[PRIORITY_LIMIT:])
    return bounded
