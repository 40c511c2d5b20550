"""The NetworkPolicies themselves. Policies add up: what any of them allows is allowed, so the wall is harmless beside them."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any, Final

from gastown_operator.api import labels, names
from gastown_operator.api.network import NetworkEndpoint
from gastown_operator.api.rig import Rig
from gastown_operator.controllers import git_job
from gastown_operator.controllers.network.destinations import (
    Destination,
    network_of,
    outside_ports,
    problems,
    proxies,
)
from gastown_operator.controllers.network.settings import METADATA_RANGES, NetworkSettings, Range
from gastown_operator.controllers.polecat.pod import COMPONENT
from gastown_operator.gateway.settings import METRICS_PORT
from gastown_operator.workload import metrics

JSON = dict[str, Any]

#: No rig's policy can have this name, as theirs begin with `gastown-`.
WALL: Final = "default-deny-gastown"
#: OpenShift's DNS pods listen on 5353, and policies see the port behind the Service.
_DNS_PORTS: Final = (53, 5353)
_EVERYWHERE: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))
BLOCKED: Final = "gastown.io/unreachable"
"""Annotation of a rig's policy: what the rig names and its pods will not reach."""
_NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
_OURS: Final = {labels.MANAGED_BY: labels.OPERATOR}
OUR_LABELS: Final = {
    labels.NAME: labels.OPERATOR,
    labels.COMPONENT: "network",
    labels.MANAGED_BY: labels.OPERATOR,
}


def policy_name(rig: str) -> str:
    """Return the name of a rig's policy: `gastown-<rig>`, with a hash where the rig's name is long."""
    return f"gastown-{names.label_value(rig)}"


def rig_policy(rig: Rig, namespace: str, settings: NetworkSettings) -> JSON:
    """The policy of a rig's pods in a namespace.

    Nobody owns it: the garbage collector would take it with its rig, while pods of the rig still run.
    """
    name = rig.metadata.name
    exact = {labels.RIG: name}
    untold = "; ".join(problems(rig, settings))
    return _policy(
        policy_name(name),
        namespace,
        {**exact, **({BLOCKED: untold} if untold else {})},
        {
            "podSelector": {
                "matchLabels": {**_OURS, labels.RIG: names.label_value(name)},
                "matchExpressions": [
                    {"key": labels.COMPONENT, "operator": "In", "values": [git_job.COMPONENT, COMPONENT]}
                ],
            },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": _ingress(rig, settings),
            "egress": _egress(rig, settings),
        },
    )


def wall(namespace: str) -> JSON:
    """The policy that allows our pods nothing."""
    spec = {
        "podSelector": {"matchLabels": _OURS},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [],
        "egress": [],
    }
    return _policy(WALL, namespace, {}, spec)


def _policy(name: str, namespace: str, annotations: dict[str, str], spec: JSON) -> JSON:
    metadata = {"name": name, "namespace": namespace, "labels": OUR_LABELS, "annotations": annotations}
    return {"metadata": metadata, "spec": spec}


def _ingress(rig: Rig, settings: NetworkSettings) -> list[JSON]:
    if not rig.spec.network.enforce:
        return [{}]
    reader = rig.spec.network.metrics_namespace or settings.metrics_namespace
    if not reader:
        return []
    return [{"from": [_pods_of(reader)], "ports": _tcp([METRICS_PORT, metrics.PORT])}]


def _egress(rig: Rig, settings: NetworkSettings) -> list[JSON]:
    if not rig.spec.network.enforce:
        return [{}]
    ports = [{"protocol": protocol, "port": port} for port in _DNS_PORTS for protocol in ("UDP", "TCP")]
    blocked = (*settings.cluster_ranges, *METADATA_RANGES)
    return [
        {"ports": ports},
        {
            "to": [_block(network, blocked) for network in _EVERYWHERE],
            "ports": _tcp(outside_ports(rig, settings)),
        },
        *(rule for endpoint in rig.spec.network.allow for rule in _allowed(endpoint)),
        *(rule for place in dict.fromkeys(proxies(settings)) for rule in _proxy(place)),
    ]


def _allowed(endpoint: NetworkEndpoint) -> list[JSON]:
    """An endpoint that is no range is left out: the API server would refuse the whole policy for it."""
    network = network_of(endpoint)
    if endpoint.namespace:
        peer = _pods_of(endpoint.namespace)
    elif network is not None:
        peer = _block(network, METADATA_RANGES)
    else:
        return []
    return [{"to": [peer], **({"ports": _tcp(endpoint.ports)} if endpoint.ports else {})}]


def _proxy(place: Destination) -> list[JSON]:
    """What the operator's command line names is meant to be reached, also inside of the cluster."""
    if place.address is None:
        return []
    return [{"to": [_block(ip_network(place.address), ())], "ports": _tcp([place.port])}]


def _block(network: Range, blocked: Iterable[Range]) -> JSON:
    """An ipBlock without what is blocked; only real parts of a range can be left out of it."""
    if isinstance(network, IPv4Network):
        parts = [part for part in blocked if isinstance(part, IPv4Network)]
        left_out = [
            str(part) for part in collapse_addresses(parts) if part != network and part.subnet_of(network)
        ]
    else:
        sixes = [part for part in blocked if isinstance(part, IPv6Network)]
        left_out = [
            str(part) for part in collapse_addresses(sixes) if part != network and part.subnet_of(network)
        ]
    return {"ipBlock": {"cidr": str(network), **({"except": left_out} if left_out else {})}}


def _pods_of(namespace: str) -> JSON:
    return {"namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: namespace}}}


def _tcp(ports: Iterable[int]) -> list[JSON]:
    return [{"protocol": "TCP", "port": port} for port in ports]
