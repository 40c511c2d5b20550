"""Projections of core kinds keep what controllers read, and nothing more."""

import tracemalloc
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from gastown_operator.api.core import (
    NAMESPACE,
    NODE,
    POD,
    Container,
    PodCondition,
    PodPhase,
    Running,
    Terminated,
    Waiting,
)
from gastown_operator.runtime.objects import MalformedObjectError


def pod(name: str = "polecat-furiosa") -> dict[str, Any]:
    """A pod as a kubelet reports it, with what controllers do not read left in."""
    return {
        "metadata": {
            "name": name,
            "namespace": "work",
            "uid": f"uid-of-{name}",
            "resourceVersion": "812",
            "labels": {"gastown.io/rig": "citadel", "gastown.io/polecat": name},
            "annotations": {"gastown.io/bead": "gt-1"},
            "creationTimestamp": "2026-11-24T01:00:00Z",
            "ownerReferences": [
                {
                    "apiVersion": "gastown.gastown.io/v1alpha1",
                    "kind": "Polecat",
                    "name": name,
                    "uid": "u",
                    "controller": True,
                }
            ],
            "managedFields": [{"manager": "kubelet", "fieldsV1": {f"f:field-{n}": {} for n in range(100)}}],
        },
        "spec": {
            "nodeName": "node-1",
            "initContainers": [{"name": "keeper", "image": "workload:1", "restartPolicy": "Always"}],
            "containers": [
                {"name": "agent", "image": "agent:1", "env": [{"name": "A", "value": "x" * 2000}]}
            ],
            "volumes": [{"name": f"v{n}", "emptyDir": {}} for n in range(10)],
        },
        "status": {
            "phase": "Failed",
            "reason": "Evicted",
            "message": "The node was low on resource: memory.",
            "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}],
            "initContainerStatuses": [
                {
                    "name": "keeper",
                    "ready": True,
                    "started": True,
                    "restartCount": 1,
                    "state": {"running": {"startedAt": "2026-11-24T01:00:02Z"}},
                }
            ],
            "containerStatuses": [
                {
                    "name": "agent",
                    "ready": False,
                    "started": False,
                    "state": {
                        "terminated": {
                            "exitCode": 137,
                            "signal": 9,
                            "reason": "OOMKilled",
                            "message": "{}",
                            "startedAt": "2026-11-24T01:00:03Z",
                            "finishedAt": "2026-11-24T01:05:00Z",
                            "containerID": "containerd://1",
                        }
                    },
                }
            ],
        },
    }


def test_a_pod_keeps_what_controllers_read() -> None:
    projected = POD.project(pod())
    assert projected.metadata.name == "polecat-furiosa"
    assert projected.node_name == "node-1"
    assert projected.init_containers == (Container("keeper", "workload:1"),)
    assert projected.containers == (Container("agent", "agent:1"),)
    assert (projected.phase, projected.reason) == (PodPhase.FAILED, "Evicted")
    assert projected.phase.terminal
    assert projected.condition("DisruptionTarget") == PodCondition(
        "DisruptionTarget", "True", "TerminationByKubelet", ""
    )
    assert projected.condition("Ready") is None


def test_container_states_are_found_by_name() -> None:
    projected = POD.project(pod())
    keeper, agent = projected.container("keeper"), projected.container("agent")
    assert keeper is not None
    assert keeper.ready
    assert keeper.restart_count == 1
    assert keeper.running == Running(datetime(2026, 11, 24, 1, 0, 2, tzinfo=UTC))
    assert agent is not None
    assert agent.terminated == Terminated(
        exit_code=137,
        signal=9,
        reason="OOMKilled",
        message="{}",
        started_at=datetime(2026, 11, 24, 1, 0, 3, tzinfo=UTC),
        finished_at=datetime(2026, 11, 24, 1, 5, tzinfo=UTC),
    )
    assert (agent.waiting, agent.running) == (None, None)
    assert projected.container("gateway") is None


def test_a_container_that_waits_says_why() -> None:
    raw = pod()
    raw["status"]["containerStatuses"] = [
        {"name": "agent", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    ]
    agent = POD.project(raw).container("agent")
    assert agent is not None
    assert agent.waiting == Waiting("ImagePullBackOff", "no such image")


def test_a_pod_just_created_is_pending() -> None:
    projected = POD.project({"metadata": {"name": "p"}, "spec": {"containers": []}, "status": {}})
    assert projected.phase is PodPhase.PENDING
    assert not projected.phase.terminal
    assert projected.container_statuses == ()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"status": {"phase": "Napping"}}, "status.phase 'Napping' is not a pod phase"),
        ({"status": []}, "status is not an object"),
        ({"spec": {"containers": {}}}, "containers is not a list of objects"),
        ({"spec": {"nodeName": 1}}, "nodeName is not a string"),
        ({"status": {"containerStatuses": [{"restartCount": "1"}]}}, "restartCount is not an integer"),
        (
            {"status": {"containerStatuses": [{"state": {"running": {"startedAt": "now"}}}]}},
            "startedAt 'now' is not an RFC 3339 time",
        ),
    ],
)
def test_a_malformed_pod_is_refused(part: dict[str, Any], message: str) -> None:
    with pytest.raises(MalformedObjectError, match=message):
        POD.project({"metadata": {"name": "p"}} | part)


def test_five_thousand_pods_are_cheap_to_keep() -> None:
    wire = [orjson.dumps(pod(f"polecat-{number}")) for number in range(500)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = [POD.project(orjson.loads(text)) for text in wire]
        each = (tracemalloc.get_traced_memory()[0] - before) / len(kept)
    finally:
        tracemalloc.stop()
    assert each <= 4096


def test_namespaces_and_nodes_keep_what_controllers_read() -> None:
    namespace = NAMESPACE.project({"metadata": {"name": "work"}, "status": {"phase": "Terminating"}})
    assert (namespace.metadata.name, namespace.phase) == ("work", "Terminating")
    node = NODE.project(
        {
            "metadata": {"name": "node-1"},
            "spec": {"unschedulable": True},
            "status": {"nodeInfo": {"kubeletVersion": "v1.36.2"}},
        }
    )
    assert (node.kubelet_version, node.unschedulable) == ("v1.36.2", True)
    assert not NODE.project({"metadata": {"name": "node-2"}}).unschedulable
