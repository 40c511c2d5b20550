"""Every metric is explained where people look it up, with its labels."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from gastown_operator.controllers.credential import reconciler as credential
from gastown_operator.controllers.credential.settings import CredentialSettings
from gastown_operator.controllers.housekeeping import reconciler as housekeeping
from gastown_operator.controllers.metrics import OfLeader, PolecatCollector
from gastown_operator.controllers.network.fence import Fence
from gastown_operator.controllers.polecat import reconciler as polecat
from gastown_operator.gateway.metrics import Metrics as GatewayMetrics
from gastown_operator.runtime.certificates import _Reads
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.lease import LeaseOptions
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.testing import VirtualClock
from gastown_operator.runtime.vitals import Vitals
from gastown_operator.workload.metrics import Metrics as KeeperMetrics
from tests.unit.controllers.objects import SETTINGS

PAGE: Final = Path(__file__).parents[3] / "docs/reference/metrics.md"
ROW: Final = re.compile(r"\| `(\w+)` \| ([^|]*) \|")

Labels = Mapping[str, tuple[str, ...]]


def documented(process: str) -> Labels:
    """What the page says of a process: the labels of each metric."""
    section = PAGE.read_text().split(f"\n## {process}\n")[1].split("\n## ")[0]
    return {name: tuple(sorted(re.findall(r"\w+", labels))) for name, labels in ROW.findall(section)}


def exported(registry: CollectorRegistry) -> Labels:
    """The labels of each metric of ours; those of Python and the process are the client library's."""
    found = {}
    for collector in list(registry._collector_to_names):
        for metric in collector.collect():
            owner = collector if isinstance(collector, MetricWrapperBase) else metric
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            found[name] = tuple(sorted(getattr(owner, "_labelnames", ())))
    return {name: labels for name, labels in found.items() if not name.startswith(("process_", "python_"))}


def of_operator() -> Labels:
    clock, fence = VirtualClock(), Fence()
    options = Options("gastown", lease=LeaseOptions("operator", "system"))
    manager = Manager(Connection("http://127.0.0.1:1"), options, clock)
    credentials = credential.register(
        manager, CredentialSettings(names=("git",), namespace="system"), clock, "tests"
    )
    admission = polecat.register(manager, SETTINGS, clock, credentials, fence)
    housekeeping.register(manager, SETTINGS, (), clock, fence)
    manager.registry.register(PolecatCollector(admission))
    Vitals.on(manager.registry, clock)
    _Reads.on(manager.registry)
    led = [each for each in manager.registry._collector_to_names if isinstance(each, OfLeader)]
    for each in led:  # nobody leads here
        manager.registry.unregister(each)
        manager.registry.register(each.collector)
    return exported(manager.registry)


def of_keeper() -> Labels:
    families = text_string_to_metric_families(KeeperMetrics().page(1, 0.0))
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: tuple(
            sorted({label for each in family.samples for label in each.labels})
        )
        for family in families
    }


@pytest.mark.parametrize("process", ["Operator", "Gateway", "Keeper"])
def test_every_metric_and_nothing_else_is_on_the_page_with_its_labels(process: str) -> None:
    of = {
        "Operator": of_operator,
        "Gateway": lambda: exported(GatewayMetrics().registry),
        "Keeper": of_keeper,
    }
    assert documented(process) == of[process]()
