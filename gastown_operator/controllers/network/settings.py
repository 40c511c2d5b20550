"""What the operator's command line says about the network: which ranges are the cluster's own, and who reads metrics."""

import argparse
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from attrs import frozen

Range = IPv4Network | IPv6Network

#: Private (RFC 1918), shared (RFC 6598), link-local and unique local addresses: pods, Services and nodes have such ones.
CLUSTER_RANGES: Final = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "fc00::/7",
        "fe80::/10",
    )
)
#: Where clouds hand out the node's identity, whatever the cluster's ranges are; 168.63.129.16 is Azure's.
METADATA_RANGES: Final = tuple(
    ip_network(text) for text in ("169.254.0.0/16", "168.63.129.16/32", "fd00:ec2::254/128", "fe80::/10")
)
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1123 label


@frozen(kw_only=True)
class NetworkSettings:
    """Settings of the network controller.

    Attributes:
        cluster_ranges: what pods reach nothing in, but for what their rig allows.
        metrics_namespace: namespace whose pods may read the metrics of keepers and gateways, where the rig names none; empty for nobody.
        proxies: URLs of proxies that git and gateways use; they are reached wherever they are.
        namespaces: where policies are written; none means everywhere.
    """

    cluster_ranges: tuple[Range, ...] = CLUSTER_RANGES
    metrics_namespace: str = ""
    proxies: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a command line."""
    group = parser.add_argument_group("NetworkPolicies of polecats' pods")
    group.add_argument(
        "--cluster-cidrs",
        type=_ranges,
        default=CLUSTER_RANGES,
        metavar="A,B",
        help="ranges of the cluster's pods, Services and nodes, and of whatever else is private: blocked but for what a Rig's "
        "spec.network.allow names (default: the private, shared, link-local and unique local ranges)",
    )
    group.add_argument(
        "--metrics-namespace",
        type=_namespace,
        default="",
        metavar="NAMESPACE",
        help="namespace whose pods may read the metrics of polecats' pods (default: none)",
    )


def network_settings(arguments: argparse.Namespace) -> NetworkSettings:
    """What the arguments say of the network."""
    return NetworkSettings(
        cluster_ranges=arguments.cluster_cidrs,
        metrics_namespace=arguments.metrics_namespace,
        proxies=tuple(url for url in (arguments.https_proxy, arguments.http_proxy) if url),
        namespaces=arguments.namespaces,
    )


def _ranges(text: str) -> tuple[Range, ...]:
    try:
        return tuple(ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _namespace(text: str) -> str:
    if text and not _NAMESPACE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a namespace")
    return text
