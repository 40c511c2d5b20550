"""NetworkPolicies as nftables rules: pure. Semantics are those of the Kubernetes API (networking.k8s.io/v1), for IPv4.

A connection between pods passes the chain of the one that it leaves and the chain of the one that it enters; to and from the node
only the first applies, since a node always reaches its pods. Addresses are those behind a Service: kube-proxy has translated by then.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from typing import Any, Literal

from hack.lab.layout import POD_CIDR, POD_GATEWAY
from hack.lab.policies.selectors import selects
from hack.lab.policies.state import Object, Pod, State

Direction = Literal["ingress", "egress"]

TABLE = "inet gastown_lab_policies"
BRIDGE = "cni0"
# Where the other side of a connection is named in a packet.
_OTHER = {"ingress": "ip saddr", "egress": "ip daddr"}


@dataclass(frozen=True)
class Isolated:
    """A pod that policies select in one direction, and what they let through: nftables matches."""

    pod: Pod
    direction: Direction
    allowed: tuple[str, ...]

    @property
    def chain(self) -> str:
        """The name of its chain."""
        return f"{self.direction}_{self.pod.address.replace('.', '_')}"


def script(state: State) -> str:
    """Return the input of `nft -f` that puts the whole table in place at once."""
    isolated = [each for direction in ("egress", "ingress") for each in isolated_pods(state, direction)]
    lines = [f"table {TABLE}", f"delete table {TABLE}", f"table {TABLE} {{"]
    for each in isolated:
        passing = "".join(f"    {f'{match} return'.strip()}\n" for match in each.allowed)
        lines.append(f"  chain {each.chain} {{\n{passing}    counter drop\n  }}")
    leaving = _verdicts("ip saddr", [each for each in isolated if each.direction == "egress"])
    entering = _verdicts("ip daddr", [each for each in isolated if each.direction == "ingress"])
    for hook, rules in (("forward", [*leaving, *entering]), ("input", leaving)):
        body = [
            f"type filter hook {hook} priority filter + 1; policy accept;",
            "ct state established,related accept",
            # Pods have no IPv6 address but the one of the link, which no policy could name.
            f'iifname "{BRIDGE}" meta nfproto ipv6 meta l4proto {{ tcp, udp, sctp }} drop',
            _unknown(state),
            *rules,
        ]
        lines.append(f"  chain {hook} {{\n" + "".join(f"    {line}\n" for line in body) + "  }")
    return "\n".join([*lines, "}"]) + "\n"


def isolated_pods(state: State, direction: Direction) -> Iterator[Isolated]:
    """Yield the pods that some policy selects in this direction; all the others are open in it."""
    for pod in state.pods:
        selecting = [policy for policy in state.policies if _isolates(policy, pod, direction)]
        if selecting:
            matches = (
                match
                for policy in selecting
                for rule in policy["spec"].get(direction) or ()
                for match in _matches(state, policy, rule, pod, direction)
            )
            yield Isolated(pod, direction, tuple(dict.fromkeys(matches)))


def _isolates(policy: Object, pod: Pod, direction: Direction) -> bool:
    spec = policy["spec"]
    kinds = spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])]
    return (
        policy["metadata"]["namespace"] == pod.namespace
        and direction.capitalize() in kinds
        and selects(spec.get("podSelector") or {}, pod.labels)
    )


def _matches(
    state: State, policy: Object, rule: Mapping[str, Any], pod: Pod, direction: Direction
) -> Iterator[str]:
    """One match for each pair of peer and port."""
    peers = rule.get("from" if direction == "ingress" else "to")
    places = list(_places(state, policy, peers, direction)) if peers else [""]
    for port in rule.get("ports") or [None]:
        if port is None:
            yield from places
        elif isinstance(port.get("port"), str):
            yield from _named_port(state, policy, peers, port, pod, direction)
        else:
            yield from (f"{place} {_port(port)}".strip() for place in places)


def _places(
    state: State, policy: Object, peers: Iterable[Mapping[str, Any]], direction: Direction
) -> Iterator[str]:
    other = _OTHER[direction]
    for peer in peers:
        block = peer.get("ipBlock")
        if block is None:
            addresses = sorted(pod.address for pod in _selected(state, policy, peer))
            if addresses:
                yield f"{other} {{ {', '.join(addresses)} }}"
            continue
        if not isinstance(ip_network(block["cidr"], strict=False), IPv4Network):
            continue
        place = "" if block["cidr"] == "0.0.0.0/0" else f"{other} {block['cidr']}"
        left_out = block.get("except") or ()
        without = f"{other} != {{ {', '.join(left_out)} }}" if left_out else ""
        yield f"{place} {without}".strip()


def _selected(state: State, policy: Object, peer: Mapping[str, Any]) -> Iterator[Pod]:
    """The pods that a peer's selectors choose; without one for namespaces, those of the policy's own."""
    of_namespaces, of_pods = peer.get("namespaceSelector"), peer.get("podSelector")
    for pod in state.pods:
        if of_namespaces is None:
            near = pod.namespace == policy["metadata"]["namespace"]
        else:
            near = selects(of_namespaces, state.namespaces.get(pod.namespace, {}))
        if near and selects(of_pods or {}, pod.labels):
            yield pod


def _port(port: Mapping[str, Any]) -> str:
    protocol = (port.get("protocol") or "TCP").lower()
    number, end = port.get("port"), port.get("endPort")
    if number is None:
        return f"meta l4proto {protocol}"
    return f"{protocol} dport {number}" + (f"-{end}" if end else "")


def _named_port(
    state: State,
    policy: Object,
    peers: Iterable[Mapping[str, Any]] | None,
    port: Mapping[str, Any],
    pod: Pod,
    direction: Direction,
) -> Iterator[str]:
    """A port's name means what the pod that is entered calls so."""
    protocol = port.get("protocol") or "TCP"
    key = (port["port"], protocol)
    if direction == "ingress":
        places = list(_places(state, policy, peers, direction)) if peers else [""]
        if key in pod.ports:
            yield from (f"{place} {protocol.lower()} dport {pod.ports[key]}".strip() for place in places)
        return
    targets = (
        state.pods
        if not peers
        else [each for peer in peers if "ipBlock" not in peer for each in _selected(state, policy, peer)]
    )
    for target in targets:
        if key in target.ports:
            yield f"ip daddr {target.address} {protocol.lower()} dport {target.ports[key]}"


def _verdicts(match: str, isolated: list[Isolated]) -> list[str]:
    if not isolated:
        return []
    elements = ", ".join(f"{each.pod.address} : jump {each.chain}" for each in isolated)
    return [f"{match} vmap {{ {elements} }}"]


def _unknown(state: State) -> str:
    """A pod of which nothing is known yet waits: its first packets are sent again, and by then its policies are in force."""
    known = ", ".join(sorted({POD_GATEWAY, *(pod.address for pod in state.pods)}))
    return f"ip saddr {POD_CIDR} ip saddr != {{ {known} }} counter drop"
