"""The policies of a rig: what they let through, and what they say about what they do not."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from gastown_operator.api.rig import Rig
from gastown_operator.controllers.network.destinations import outside_ports, problems
from gastown_operator.controllers.network.policy import WALL, policy_name, rig_policy, wall
from gastown_operator.controllers.network.settings import NetworkSettings
from tests.unit.controllers.objects import WORKERS, rig

SETTINGS = NetworkSettings()


def egress(subject: Rig, settings: NetworkSettings = SETTINGS) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = rig_policy(subject, WORKERS, settings)["spec"]["egress"]
    return rules


def allows(subject: Rig, address: str, port: int, settings: NetworkSettings = SETTINGS) -> bool:
    """Whether a TCP connection passes, as the Kubernetes API defines it."""
    return any(_port_fits(rule, port) and _address_fits(rule, address) for rule in egress(subject, settings))


def _port_fits(rule: dict[str, Any], port: int) -> bool:
    ports = rule.get("ports")
    return not ports or any(entry["protocol"] == "TCP" and entry["port"] == port for entry in ports)


def _address_fits(rule: dict[str, Any], address: str) -> bool:
    if "to" not in rule:
        return True
    blocks = [peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer]
    return any(
        ip_address(address) in ip_network(block["cidr"])
        and not any(ip_address(address) in ip_network(part) for part in block.get("except", []))
        for block in blocks
    )


@pytest.mark.parametrize(
    ("address", "port", "passes"),
    [
        ("203.0.113.7", 22, True),
        ("203.0.113.7", 443, True),
        ("2001:db8::7", 443, True),
        ("203.0.113.7", 80, False),
        ("203.0.113.7", 8443, False),
        ("10.96.0.10", 53, True),
        ("10.128.0.9", 5353, True),
        ("10.96.0.1", 443, False),
        ("172.20.0.1", 443, False),
        ("192.168.1.1", 22, False),
        ("100.100.100.200", 443, False),
        ("169.254.169.254", 443, False),
        ("168.63.129.16", 443, False),
        ("fd00:ec2::254", 443, False),
        ("fe80::1", 443, False),
        ("fd12:3456::1", 443, False),
    ],
)
def test_pods_reach_dns_and_the_outside_on_two_ports(address: str, port: int, passes: bool) -> None:
    assert allows(rig(), address, port) is passes


def test_the_metadata_of_nodes_are_blocked_whatever_the_clusters_ranges_are() -> None:
    settings = NetworkSettings(cluster_ranges=(ip_network("10.0.0.0/8"),))
    assert allows(rig(), "192.168.1.1", 443, settings)
    for address in ("169.254.169.254", "168.63.129.16", "fd00:ec2::254", "fe80::1"):
        assert not allows(rig(), address, 443, settings)


def test_the_ports_of_the_git_host_of_providers_and_of_proxies_are_open() -> None:
    subject = rig(
        gitURL="ssh://git@git.example.com:2222/a/b.git",
        providers=[{"name": "litellm", "endpoint": "https://models.example.com:4000/v1"}],
        defaults={"agentConfig": {"modelProvider": {"endpoint": "http://ollama.example.com"}}},
    )
    settings = NetworkSettings(proxies=("http://proxy.example.com:3128",))
    assert outside_ports(subject, settings) == (22, 80, 443, 2222, 3128, 4000)


def test_what_the_rig_allows_is_reached_and_nothing_beside_it() -> None:
    subject = rig(network={"allow": [{"cidr": "10.1.2.0/24", "ports": [2222]}, {"cidr": "10.9.0.1/32"}]})
    assert allows(subject, "10.1.2.3", 2222)
    assert not allows(subject, "10.1.2.3", 443)
    assert not allows(subject, "10.1.3.3", 2222)
    assert allows(subject, "10.9.0.1", 11434)


def test_pods_of_a_namespace_can_be_allowed() -> None:
    subject = rig(network={"allow": [{"namespace": "models", "ports": [11434]}]})
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "models"}}}
    assert egress(subject)[-1] == {"to": [peer], "ports": [{"protocol": "TCP", "port": 11434}]}


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "169.0.0.0/8", "169.254.169.254/32", "::/0", "fe80::1/128"])
def test_no_range_however_wide_or_narrow_opens_the_metadata(cidr: str) -> None:
    subject = rig(network={"allow": [{"cidr": cidr}]})
    assert not allows(subject, "169.254.169.254", 80)
    assert not allows(subject, "fd00:ec2::254", 80)
    assert not allows(subject, "fe80::1", 80)


@pytest.mark.parametrize("cidr", ["999.0.0.0/8", "10.0.0.0/40", "1:2/8"])
def test_a_range_that_is_none_is_left_out_and_told(cidr: str) -> None:
    subject = rig(network={"allow": [{"cidr": cidr}]})
    assert egress(subject) == egress(rig())
    (told,) = problems(subject, SETTINGS)
    assert cidr in told


def test_a_proxy_of_the_command_line_is_reached_inside_of_the_cluster() -> None:
    settings = NetworkSettings(proxies=("http://10.7.7.7:3128",))
    assert allows(rig(), "10.7.7.7", 3128, settings)
    assert not allows(rig(), "10.7.7.7", 443, settings)
    assert not allows(rig(), "10.7.7.8", 3128, settings)


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        (
            {"gitURL": "ssh://git@10.250.0.1:2222/a.git"},
            "add {cidr: 10.250.0.1/32, ports: [2222]} to spec.network.allow",
        ),
        (
            {"gitURL": "https://[fd00::1]/a.git"},
            "add {cidr: fd00::1/128, ports: [443]} to spec.network.allow",
        ),
        (
            {"providers": [{"name": "litellm", "endpoint": "http://192.168.0.9:4000"}]},
            "add {cidr: 192.168.0.9/32, ports: [4000]} to spec.network.allow",
        ),
        (
            {"providers": [{"name": "ollama", "endpoint": "http://ollama.models.svc:11434"}]},
            "add {namespace: models, ports: [the port of its pods]} to spec.network.allow",
        ),
    ],
)
def test_a_place_inside_of_the_cluster_is_told_with_what_to_add(spec: dict[str, Any], hint: str) -> None:
    (told,) = problems(rig(**spec), SETTINGS)
    assert hint in told


@pytest.mark.parametrize(
    "spec",
    [
        {"gitURL": "https://10.1.1.1/a.git", "network": {"allow": [{"cidr": "10.0.0.0/8"}]}},
        {"gitURL": "https://10.1.1.1/a.git", "network": {"allow": [{"cidr": "10.1.1.1/32", "ports": [443]}]}},
        {"gitURL": "https://10.1.1.1/a.git", "network": {"enforce": False}},
        {"gitURL": "https://203.0.113.1/a.git"},
        {"gitURL": "not a url"},
        {
            "providers": [{"name": "ollama", "endpoint": "http://ollama.models.svc.cluster.local:11434"}],
            "network": {"allow": [{"namespace": "models"}]},
        },
        {"providers": [{"name": "odd", "endpoint": "http://[::1"}]},
    ],
)
def test_nothing_is_told_of_what_is_reached(spec: dict[str, Any]) -> None:
    assert list(problems(rig(**spec), SETTINGS)) == []


def test_an_allowed_range_on_another_port_is_no_help() -> None:
    allowed = [{"cidr": "10.1.1.1/32", "ports": [22]}]
    assert (
        len(list(problems(rig(gitURL="https://10.1.1.1/a.git", network={"allow": allowed}), SETTINGS))) == 1
    )


def test_nobody_reaches_the_pods_but_who_reads_metrics() -> None:
    nobody = rig_policy(rig(), WORKERS, SETTINGS)["spec"]
    named = rig_policy(rig(), WORKERS, NetworkSettings(metrics_namespace="monitoring"))["spec"]
    own = rig_policy(
        rig(network={"metricsNamespace": "own"}), WORKERS, NetworkSettings(metrics_namespace="monitoring")
    )["spec"]
    assert nobody["ingress"] == []
    assert [readers(spec) for spec in (named, own)] == [
        ("monitoring", [4181, 4182]),
        ("own", [4181, 4182]),
    ]


def readers(spec: dict[str, Any]) -> tuple[str, list[int]]:
    (rule,) = spec["ingress"]
    (peer,) = rule["from"]
    ports = [it["port"] for it in rule["ports"]]
    return peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], ports


def test_a_rig_without_limits_has_a_policy_that_allows_everything() -> None:
    spec = rig_policy(rig(network={"enforce": False}), WORKERS, SETTINGS)["spec"]
    assert (spec["ingress"], spec["egress"]) == ([{}], [{}])


def test_names_are_safe_for_long_rigs_and_never_the_walls() -> None:
    long = "a" * 250
    assert policy_name("project") == "gastown-project"
    assert len(policy_name(long)) <= 253
    assert policy_name(long) != policy_name(long + "b")
    assert not WALL.startswith("gastown-")


def test_the_wall_allows_our_pods_nothing() -> None:
    body = wall(WORKERS)
    assert (body["spec"]["ingress"], body["spec"]["egress"]) == ([], [])
    assert body["spec"]["podSelector"] == {
        "matchLabels": {"app.kubernetes.io/managed-by": "gastown-operator"}
    }
