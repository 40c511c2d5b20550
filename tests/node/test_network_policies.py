"""What a polecat's pod reaches, and who reaches it, on a node that enforces NetworkPolicies.

Every connection is tried twice: from (or to) a pod of a rig with limits, and one of a rig without, which shows that only the policy stops it.
"""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from attrs import define, field

from gastown_operator.api import labels
from gastown_operator.api.core import NAMESPACE, POD
from gastown_operator.api.rig import RIG
from tests.apiserver.client import JSON
from tests.escape.attempts import attempts
from tests.support.connections import LISTEN, PROBE, Place, outside, probe_from, probed
from tests.support.polecats import PolecatHandle
from tests.support.site import WORKLOAD_IMAGE, RigHandle, Site
from tests.support.waiting import eventually

METADATA = "169.254.169.254"
OUTSIDE = "203.0.113.7"
METRICS = 4181
KEEPER = 4182
#: A port of the rig's provider: pods may reach it outside, so that inside only the address is in the way.
MODEL = 8000
#: Not a port of anything that the rig names.
OTHER = 8443


@define
class Tried:
    """What was tried from the polecats of both rigs, and the pods that try to reach them."""

    site: Site
    readers: str
    strangers: str
    limited: RigHandle
    open: RigHandle
    answers: dict[str, dict[str, bool | str]] = field(factory=dict)
    entered: dict[str, dict[str, bool | str]] = field(factory=dict)

    def both(self, place: str) -> tuple[bool | str, bool | str]:
        """Whether it was reached by the limited pod, and by the open one."""
        return self.answers["limited"][place], self.answers["open"][place]

    def reached_by(self, namespace: str, port: int) -> tuple[bool | str, bool | str]:
        """Whether a pod of this namespace reaches a port of the limited pod, and of the open one."""
        found = self.entered[namespace]
        return found[f"limited {port}"], found[f"open {port}"]


@pytest.fixture(scope="module")
def tried(site: Site) -> Iterator[Tried]:
    node, unique = site.address, uuid4().hex[:6]
    readers, strangers = f"readers-{unique}", f"strangers-{unique}"
    git = {"cidr": f"{node}/32", "ports": [site.git.ssh.port]}
    provider = {"name": "model", "endpoint": f"http://model.example.com:{MODEL}"}
    limits = {"network": {"allow": [git], "metricsNamespace": readers}, "providers": [provider]}
    limited = site.rig("limited", spec=limits)
    unlimited = site.rig("open", spec={"network": {"enforce": False}})
    for namespace in (readers, strangers):
        site.cluster.create(NAMESPACE, {"metadata": {"name": namespace}})
        site.cluster.create(POD, pod(namespace, "probe", MODEL))
    listening = {
        (METADATA, 443),
        (OUTSIDE, 443),
        (OUTSIDE, MODEL),
        (OUTSIDE, OTHER),
        (node, 443),
        (node, OTHER),
    }
    found = Tried(site, readers, strangers, limited, unlimited)
    try:
        with outside({METADATA, OUTSIDE}, listening):
            places: dict[str, Place] = {
                "metadata": ("tcp", METADATA, 443),
                "outside": ("tcp", OUTSIDE, 443),
                "outside, the provider's port": ("tcp", OUTSIDE, MODEL),
                "outside, another port": ("tcp", OUTSIDE, OTHER),
                "the API server": ("tcp", "10.0.0.1", 443),
                "the node": ("tcp", node, 443),
                "another pod": ("tcp", address_of(site, strangers, "probe"), MODEL),
                "DNS": ("dns", "10.0.0.10", 53),
                "DNS over TCP": ("tcp", "10.0.0.10", 53),
                "the git host": ("tcp", node, site.git.ssh.port),
                "the git host, another port": ("tcp", node, OTHER),
            }
            polecats = {
                "limited": limited.sling("limited", **probing(places)),
                "open": unlimited.sling("open", **probing(places)),
            }
            doors: dict[str, Place] = {}
            for name, polecat in polecats.items():
                found.answers[name] = answers(polecat)
                address = address_of(site, polecat.namespace, f"polecat-{name}")
                doors |= {f"{name} {port}": ("tcp", address, port) for port in (METRICS, KEEPER, MODEL)}
            for namespace in (readers, strangers):
                address_of(site, namespace, "probe")
                found.entered[namespace] = probe_from(namespace, "probe", doors)
            yield found
    finally:
        for namespace in (readers, strangers):
            site.cluster.delete(NAMESPACE, "", namespace)


def pod(namespace: str, name: str, *ports: int, **extra_labels: str) -> JSON:
    """A pod that listens, as PodSecurity `restricted` wants it."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "main",
        "image": WORKLOAD_IMAGE,
        "command": ["python3", "-c", LISTEN, *map(str, ports)],
        "securityContext": security,
    }
    spec = {
        "containers": [container],
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
    }
    return {"metadata": {"namespace": namespace, "name": name, "labels": extra_labels}, "spec": spec}


def probing(places: dict[str, Place]) -> dict[str, Any]:
    """The part of a Polecat's spec whose agent tries the places, and then listens."""
    script = 'python3 -c "$1" "$2"; exec python3 -c "$3" "$4" "$5"'
    words = [PROBE, json.dumps(places), LISTEN, str(METRICS), str(MODEL)]
    return {"agent": "custom", "agentConfig": {"command": ["sh", "-c", script, "sh", *words]}}


def answers(polecat: PolecatHandle) -> dict[str, bool | str]:
    polecat.until_agent_says("LISTENING")
    return probed(polecat.cluster.log(polecat.namespace, f"polecat-{polecat.name}", "agent"))


def address_of(site: Site, namespace: str, name: str) -> str:
    def running() -> str | None:
        found = site.cluster.get(POD, namespace, name) or {}
        status = found.get("status", {})
        return status.get("podIP") if status.get("phase") == "Running" else None

    return eventually(running, f"pod {name} runs")


@attempts("metadata", "api-server", "node", "another-pod")
@pytest.mark.parametrize("place", ["metadata", "the API server", "the node", "another pod"])
def test_what_is_inside_of_the_cluster_is_not_reached(tried: Tried, place: str) -> None:
    assert tried.both(place) == (False, True)


@attempts("another-port", "git-hosts-other-ports")
@pytest.mark.parametrize("place", ["outside, another port", "the git host, another port"])
def test_ports_that_the_rig_does_not_name_are_not_reached(tried: Tried, place: str) -> None:
    assert tried.both(place) == (False, True)


@pytest.mark.parametrize(
    "place", ["outside", "outside, the provider's port", "DNS", "DNS over TCP", "the git host"]
)
def test_what_a_polecat_needs_is_reached(tried: Tried, place: str) -> None:
    assert tried.both(place) == (True, True)


@attempts("from-another-pod")
def test_another_pod_does_not_reach_a_polecat(tried: Tried) -> None:
    assert tried.reached_by(tried.strangers, MODEL) == (False, True)
    assert tried.reached_by(tried.strangers, METRICS) == (False, True)
    assert tried.reached_by(tried.strangers, KEEPER) == (False, True)


def test_metrics_are_read_from_the_named_namespace_alone(tried: Tried) -> None:
    assert tried.reached_by(tried.readers, METRICS) == (True, True)
    assert tried.reached_by(tried.readers, KEEPER) == (True, True)


def test_the_readers_of_metrics_reach_no_other_port(tried: Tried) -> None:
    assert tried.reached_by(tried.readers, MODEL) == (False, True)


def test_a_pod_of_ours_that_no_rig_claims_reaches_nothing(tried: Tried) -> None:
    namespace = tried.limited.namespace
    places: dict[str, Place] = {"outside": ("tcp", OUTSIDE, 443), "DNS": ("dns", "10.0.0.10", 53)}
    ours = {labels.MANAGED_BY: labels.OPERATOR}
    for name, its in (("nobodys", ours), ("foreign", {})):
        tried.site.cluster.create(POD, pod(namespace, name, MODEL, **its))
    for name in ("nobodys", "foreign"):
        address_of(tried.site, namespace, name)
    found = [probe_from(namespace, name, places) for name in ("nobodys", "foreign")]
    assert found == [{"outside": False, "DNS": False}, {"outside": True, "DNS": True}]


def test_limits_end_and_return_with_the_rigs_word(tried: Tried) -> None:
    """The positive control on the very same pod: its rig drops the limits, and sets them again."""
    rig, places = tried.limited, {"the node": ("tcp", tried.site.address, 443)}

    def reached() -> bool:
        return probe_from(rig.namespace, "polecat-limited", places, "agent")["the node"] is True

    def limit(enforce: bool) -> None:
        change = {"spec": {"network": {"enforce": enforce}}}
        tried.site.cluster.client.patch(RIG, {"metadata": {"name": rig.name}}, change).object()

    limit(False)
    eventually(reached, "the node is reached without limits")
    limit(True)
    eventually(lambda: not reached(), "the node is out of reach again")
