"""The lab's enforcer of NetworkPolicies: what the API's rules become as rules of the kernel."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hack.lab.policies.attachments import read
from hack.lab.policies.rules import Direction, isolated_pods, script
from hack.lab.policies.selectors import selects
from hack.lab.policies.state import Pod, State, observed

A, B, C = "10.244.0.2", "10.244.0.3", "10.244.0.4"
PODS = (
    Pod("here", "a", A, {"app": "a"}, {("web", "TCP"): 8080}),
    Pod("here", "b", B, {"app": "b"}, {("web", "TCP"): 9090, ("dns", "UDP"): 53}),
    Pod("there", "c", C, {"app": "a"}),
)
NAMESPACES = {"here": {"team": "x"}, "there": {"team": "y"}}


def policy(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "here", "name": "p"}, "spec": spec}


def state(*policies: Mapping[str, Any]) -> State:
    return State(PODS, NAMESPACES, policies)


def allowed(direction: Direction, *policies: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """What passes, by the name of each pod that is isolated."""
    return {each.pod.name: each.allowed for each in isolated_pods(state(*policies), direction)}


@pytest.mark.parametrize(
    ("selector", "labels", "chosen"),
    [
        ({}, {}, True),
        ({"matchLabels": {"a": "1"}}, {"a": "1", "b": "2"}, True),
        ({"matchLabels": {"a": "1"}}, {"a": "2"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, {"a": "2"}, True),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {"a": "1"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"a": ""}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": ""}, False),
    ],
)
def test_selectors_choose_by_labels(selector: dict[str, Any], labels: dict[str, str], chosen: bool) -> None:
    assert selects(selector, labels) is chosen


@pytest.mark.parametrize(
    ("spec", "ingress", "egress"),
    [
        ({"podSelector": {}}, {"a", "b"}, set()),
        ({"podSelector": {}, "egress": []}, {"a", "b"}, {"a", "b"}),
        ({"podSelector": {}, "policyTypes": ["Egress"]}, set(), {"a", "b"}),
        ({"podSelector": {"matchLabels": {"app": "a"}}, "policyTypes": ["Ingress", "Egress"]}, {"a"}, {"a"}),
        ({"podSelector": {"matchLabels": {"app": "z"}}, "policyTypes": ["Ingress"]}, set(), set()),
    ],
)
def test_a_policy_isolates_the_pods_of_its_own_namespace_in_its_directions(
    spec: dict[str, Any], ingress: set[str], egress: set[str]
) -> None:
    assert allowed("ingress", policy(**spec)).keys() == ingress
    assert allowed("egress", policy(**spec)).keys() == egress


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ({}, [""]),
        ({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}, [""]),
        ({"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}, ["ip daddr 192.0.2.0/24"]),
        (
            {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "169.254.0.0/16"]}}]},
            ["ip daddr != { 10.0.0.0/8, 169.254.0.0/16 }"],
        ),
        (
            {"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 1}]},
            ["ip daddr 10.0.0.0/8 ip daddr != { 10.1.0.0/16 } tcp dport 1"],
        ),
        ({"to": [{"ipBlock": {"cidr": "::/0"}}]}, []),
        ({"to": [{"podSelector": {"matchLabels": {"app": "a"}}}]}, [f"ip daddr {{ {A} }}"]),
        ({"to": [{"namespaceSelector": {"matchLabels": {"team": "y"}}}]}, [f"ip daddr {{ {C} }}"]),
        ({"to": [{"namespaceSelector": {}}]}, [f"ip daddr {{ {A}, {B}, {C} }}"]),
        (
            {"to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "a"}}}]},
            [f"ip daddr {{ {A}, {C} }}"],
        ),
        ({"to": [{"podSelector": {"matchLabels": {"app": "nobody"}}}]}, []),
        (
            {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 80}]},
            ["udp dport 53", "tcp dport 80"],
        ),
        ({"ports": [{"port": 8000, "endPort": 8010}]}, ["tcp dport 8000-8010"]),
        ({"ports": [{"protocol": "UDP"}]}, ["meta l4proto udp"]),
        ({"ports": [{"port": "web"}]}, [f"ip daddr {A} tcp dport 8080", f"ip daddr {B} tcp dport 9090"]),
        (
            {"to": [{"podSelector": {}}], "ports": [{"port": "dns", "protocol": "UDP"}]},
            [f"ip daddr {B} udp dport 53"],
        ),
        (
            {"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}, {"podSelector": {}}], "ports": [{"port": 1}]},
            ["ip daddr 192.0.2.1/32 tcp dport 1", f"ip daddr {{ {A}, {B} }} tcp dport 1"],
        ),
    ],
)
def test_peers_and_ports_of_egress_become_matches(rule: dict[str, Any], matches: list[str]) -> None:
    found = allowed("egress", policy(podSelector={"matchLabels": {"app": "a"}}, egress=[rule]))
    assert list(found["a"]) == matches


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ({"from": [{"podSelector": {"matchLabels": {"app": "b"}}}]}, [f"ip saddr {{ {B} }}"]),
        ({"from": [{"ipBlock": {"cidr": "10.244.0.0/24"}}]}, ["ip saddr 10.244.0.0/24"]),
        ({"ports": [{"port": "web"}]}, ["tcp dport 8080"]),
        ({"ports": [{"port": "unknown"}]}, []),
        (
            {"from": [{"namespaceSelector": {"matchLabels": {"team": "y"}}}], "ports": [{"port": 4181}]},
            [f"ip saddr {{ {C} }} tcp dport 4181"],
        ),
    ],
)
def test_peers_and_ports_of_ingress_become_matches(rule: dict[str, Any], matches: list[str]) -> None:
    found = allowed("ingress", policy(podSelector={"matchLabels": {"app": "a"}}, ingress=[rule]))
    assert list(found["a"]) == matches


def test_what_any_policy_allows_is_allowed() -> None:
    one, two = (policy(podSelector={}, egress=[{"ports": [{"port": port}]}]) for port in (1, 2))
    wall = policy(podSelector={}, egress=[])
    assert allowed("egress", one, wall, two)["a"] == ("tcp dport 1", "tcp dport 2")


def test_the_table_is_replaced_at_once_and_unknown_pods_wait() -> None:
    limits = policy(
        podSelector={"matchLabels": {"app": "a"}},
        policyTypes=["Egress"],
        egress=[{"ports": [{"port": 1}]}],
    )
    text = script(state(limits))
    assert text.startswith("table inet gastown_lab_policies\ndelete table inet gastown_lab_policies\n")
    assert f"ip saddr 10.244.0.0/24 ip saddr != {{ 10.244.0.1, {A}, {B}, {C} }} counter drop" in text
    assert "chain egress_10_244_0_2 {\n    tcp dport 1 return\n    counter drop\n  }" in text
    assert text.count(f"ip saddr vmap {{ {A} : jump egress_10_244_0_2 }}") == 2
    assert "ip daddr vmap" not in text


def test_pods_of_the_host_and_ended_ones_have_no_address_of_their_own() -> None:
    def raw(name: str, **changes: Any) -> dict[str, Any]:
        return {"metadata": {"namespace": "here", "name": name}, "status": {"podIP": A}, **changes}

    pods = [
        raw("runs"),
        raw("host", spec={"hostNetwork": True}),
        raw("ended", status={"podIP": A, "phase": "Succeeded"}),
        raw("starts", status={}),
        raw("waits", status={}),
    ]
    found = observed(pods, [], [], {("here", "starts"): B})
    assert [(pod.name, pod.address) for pod in found.pods] == [("runs", A), ("starts", B)]


def test_named_ports_are_those_of_all_containers() -> None:
    containers = [{"ports": [{"name": "web", "containerPort": 80}, {"containerPort": 81}]}]
    sidecars = [{"ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]}]
    pod = {
        "metadata": {"namespace": "here", "name": "a"},
        "spec": {"containers": containers, "initContainers": sidecars},
        "status": {"podIP": A},
    }
    (found,) = observed([pod], [], [], {}).pods
    assert found.ports == {("web", "TCP"): 80, ("dns", "UDP"): 53}


def test_addresses_are_read_from_cnis_cache_of_this_network_alone(tmp_path: Path) -> None:
    arguments = [["K8S_POD_NAME", "a"], ["K8S_POD_NAMESPACE", "here"]]
    record = {
        "networkName": "gastown-lab-x",
        "cniArgs": arguments,
        "result": {"ips": [{"address": f"{A}/24"}]},
    }
    (tmp_path / "gastown-lab-x-1234-eth0").write_text(json.dumps(record))
    (tmp_path / "gastown-lab-x-5678-eth0").write_text('{"cniArgs": [')
    foreign = {**record, "networkName": "gastown-lab-x-y", "cniArgs": [["K8S_POD_NAME", "b"]]}
    (tmp_path / "gastown-lab-x-y-1234-eth0").write_text(json.dumps(foreign))
    assert read(tmp_path, "gastown-lab-x") == {("here", "a"): A}
