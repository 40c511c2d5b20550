"""The example of a PodMonitor finds the pods that are built, and their ports."""

from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

from gastown_operator.controllers.polecat.pod import build_pod
from gastown_operator.controllers.polecat.resolve import resolve
from gastown_operator.controllers.settings import OperatorSettings
from tests.unit.controllers.objects import SETTINGS, polecat, rig

EXAMPLE = Path(__file__).parents[3] / "docs/examples/pod-monitor.yaml"


@pytest.mark.parametrize(
    "settings", [SETTINGS, attrs.evolve(SETTINGS, native_sidecars=False)], ids=["native", "container"]
)
def test_the_example_selects_the_pods_and_names_every_port_of_theirs(settings: OperatorSettings) -> None:
    subject = polecat(agent="claude-code", agentConfig={"command": [], "model": "claude-sonnet-4-5"})
    pod = build_pod(subject, resolve(subject, rig(), settings), settings)
    monitor: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())

    spec = monitor["spec"]
    assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
    assert spec["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert set(spec["podTargetLabels"]) <= pod["metadata"]["labels"].keys()
    assert pod["metadata"]["namespace"] in spec["namespaceSelector"]["matchNames"]
    containers = [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]
    ports = [port["name"] for it in containers for port in it.get("ports", ())]
    assert sorted(it["port"] for it in spec["podMetricsEndpoints"]) == sorted(ports)
    assert all(len(name) <= 15 for name in ports), "as Kubernetes wants it"
