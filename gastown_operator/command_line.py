"""The options of the operator. `make deploy ARGS=…` is checked by this parser, and docs/reference/options.md is made from it."""

import argparse
import re
from pathlib import Path

from gastown_operator import __version__
from gastown_operator.agents.prices import parse_overrides
from gastown_operator.controllers.network import settings as network_options
from gastown_operator.controllers.options import add_options
from gastown_operator.controllers.platform import Platform
from gastown_operator.controllers.settings import DEFAULT_FULL_CLONE_LIMIT


def _positive(text: str) -> float:
    seconds = float(text)
    if not 0.0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no positive number of seconds")
    return seconds


def _prices(path: str) -> str:
    """Return the text of a file with prices, if gateways can read it; no file, no text."""
    if not path:
        return ""
    try:
        text = Path(path).read_text()
        parse_overrides(text)
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{path}: {error}") from error
    return text


def _mebibytes(text: str) -> int:
    size = int(text)
    if size < 0:
        raise argparse.ArgumentTypeError(f"{text} is no size")
    return size


def _namespaces(text: str) -> tuple[str, ...]:
    """Return the namespaces of a list with commas; none means all."""
    names = tuple(name.strip() for name in text.split(",")) if text.strip() else ()
    for name in names:
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name):  # RFC 1123 label
            raise argparse.ArgumentTypeError(f"{name!r} is no name of a namespace")
    return names


def operator_parser() -> argparse.ArgumentParser:
    """Return the parser; an option has one spelling, so that what is looked for in a command line is found."""
    parser = argparse.ArgumentParser(
        prog="gastown-operator",
        allow_abbrev=False,
        description="Runs Gas Town's coding agents as Pods. Reads the cluster from the pod it runs in, or from KUBECONFIG.",
    )
    parser.add_argument(
        "--workload-image",
        required=True,
        metavar="IMAGE",
        help="image with clone, keeper and gateway (required)",
    )
    parser.add_argument(
        "--agent-image",
        default="",
        metavar="IMAGE",
        help="image with the agents (default: the workload image)",
    )
    parser.add_argument(
        "--sidecars",
        choices=["native", "container"],
        default="native",
        help="native: init containers that restart (Kubernetes 1.29 and later); container: ordinary ones (default: native)",
    )
    parser.add_argument(
        "--platform",
        choices=[platform.value for platform in Platform],
        default=Platform.AUTO.value,
        help="openshift: leave user and group ids to the platform (default: auto, by the API groups that are served)",
    )
    parser.add_argument(
        "--pod-start-timeout",
        type=_positive,
        default=300.0,
        metavar="SECONDS",
        help="delete a pod whose containers cannot start after this time (default: 300)",
    )
    parser.add_argument(
        "--namespaces",
        type=_namespaces,
        default=(),
        metavar="A,B",
        help="watch Polecats and Pods in these namespaces only (default: all)",
    )
    parser.add_argument(
        "--metrics-bind-address",
        default=":8080",
        metavar="ADDRESS",
        help='where /metrics is; "0" for nowhere (default: :8080)',
    )
    parser.add_argument(
        "--metrics-cert-path",
        type=Path,
        metavar="DIRECTORY",
        help="serve the metrics over TLS with the tls.crt and tls.key that are here (default: plain HTTP)",
    )
    parser.add_argument(
        "--metrics-secure",
        action="store_true",
        help="serve the metrics only to those whom RBAC allows `get` on /metrics; needs --metrics-cert-path",
    )
    parser.add_argument(
        "--health-probe-bind-address",
        default=":8081",
        metavar="ADDRESS",
        help='where /healthz and /readyz are; "0" for nowhere (default: :8081)',
    )
    parser.add_argument(
        "--model-prices",
        type=_prices,
        default="",
        metavar="FILE",
        help="JSON with prices of models in US dollars per million tokens, beside the known ones or in their place: "
        '{"my-model": {"input": "3", "output": "15", "cache_read": "0.3"}} (default: the known ones)',
    )
    parser.add_argument(
        "--full-clone-limit",
        type=_mebibytes,
        default=DEFAULT_FULL_CLONE_LIMIT,
        metavar="MIB",
        help=f"clone without old history above this size; 0 for never (default: {DEFAULT_FULL_CLONE_LIMIT})",
    )
    add_options(parser)
    network_options.add_options(parser)
    _add_election(parser)
    parser.add_argument(
        "--log-level",
        choices=["debug", "info", "warning", "error"],
        default="info",
        help="what is logged, and what is graver (default: info)",
    )
    parser.add_argument("--version", action="version", version=__version__)
    return parser


def _add_election(parser: argparse.ArgumentParser) -> None:
    """Add the options of leader election, named as in controller-runtime's projects."""
    parser.add_argument(
        "--leader-elect",
        action="store_true",
        help="act only while holding a Lease, so that several replicas can run (default: always act)",
    )
    parser.add_argument(
        "--leader-election-namespace",
        default="",
        metavar="NAMESPACE",
        help="where the Lease is (default: the pod's own namespace, or the kubeconfig's)",
    )
    for name, seconds, what in (
        ("lease-duration", 15.0, "others wait this long after the leader's last renewal"),
        ("renew-deadline", 10.0, "the leader stops acting this long after its last renewal"),
        ("retry-period", 2.0, "time between renewals"),
    ):
        parser.add_argument(
            f"--leader-election-{name}",
            type=float,
            default=seconds,
            metavar="SECONDS",
            help=f"{what} (default: {seconds:g})",
        )
