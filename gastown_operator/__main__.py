"""The operator's command line."""

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio

from gastown_operator import __version__
from gastown_operator.agents.prices import parse_overrides
from gastown_operator.controllers.credential import reconciler as credential
from gastown_operator.controllers.housekeeping import reconciler as housekeeping
from gastown_operator.controllers.metrics import PolecatCollector
from gastown_operator.controllers.network import reconciler as network
from gastown_operator.controllers.network import settings as network_options
from gastown_operator.controllers.options import add_options, credential_settings, egress
from gastown_operator.controllers.platform import Platform, platform_of
from gastown_operator.controllers.polecat import reconciler as polecat
from gastown_operator.controllers.rig import reconciler as rig
from gastown_operator.controllers.settings import DEFAULT_FULL_CLONE_LIMIT, WORKLOAD_USER, OperatorSettings
from gastown_operator.runtime.access import MetricsSecurity
from gastown_operator.runtime.clock import SystemClock
from gastown_operator.runtime.configuration import load_connection
from gastown_operator.runtime.errors import ConfigurationError, LeadershipLost, StoppedAtOnce
from gastown_operator.runtime.lease import LeaseOptions
from gastown_operator.runtime.logs import configure_logging
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.server import Address

FIELD_OWNER = "gastown"
LEASE_NAME = "gastown-operator"
logger = logging.getLogger(__name__)


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gastown-operator",
        description="Runs Gas Town's coding agents as Pods. Reads the cluster from the pod it runs in, or from KUBECONFIG.",
    )
    parser.add_argument("--workload-image", required=True, help="image with clone and keeper")
    parser.add_argument(
        "--agent-image", default="", help="image with the agents (default: the workload image)"
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
    parser.add_argument("--metrics-bind-address", default=":8080", help='where /metrics is; "0" for nowhere')
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
        "--health-probe-bind-address", default=":8081", help='where /healthz and /readyz are; "0" for nowhere'
    )
    parser.add_argument(
        "--model-prices",
        type=_prices,
        default="",
        metavar="FILE",
        help="JSON with prices of models in US dollars per million tokens, beside the known ones or in their place: "
        '{"my-model": {"input": "3", "output": "15", "cache_read": "0.3"}}',
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
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="info")
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


def _lease(arguments: argparse.Namespace, namespace: str) -> LeaseOptions | None:
    if not arguments.leader_elect:
        return None
    return LeaseOptions(
        name=LEASE_NAME,
        namespace=arguments.leader_election_namespace or namespace,
        duration=arguments.leader_election_lease_duration,
        renew_deadline=arguments.leader_election_renew_deadline,
        retry_period=arguments.leader_election_retry_period,
    )


def _settings(arguments: argparse.Namespace, platform: Platform) -> OperatorSettings:
    return OperatorSettings(
        workload_image=arguments.workload_image,
        agent_image=arguments.agent_image or arguments.workload_image,
        native_sidecars=arguments.sidecars == "native",
        run_as_user=None if platform is Platform.OPENSHIFT else WORKLOAD_USER,
        start_timeout=arguments.pod_start_timeout,
        model_prices=arguments.model_prices,
        full_clone_limit=arguments.full_clone_limit,
        egress=egress(arguments),
    )


async def run(arguments: argparse.Namespace) -> None:
    """Run the operator until it is told to stop.

    Raises:
        ConfigurationError: the cluster's configuration, or an address, cannot be used.
        LeadershipLost: another replica may act from now on.
        StoppedAtOnce: there was a second signal.
    """
    clock = SystemClock()
    connection = await load_connection(clock=clock)
    options = Options(
        name=FIELD_OWNER,
        user_agent=f"gastown-operator/{__version__}",
        namespaces=arguments.namespaces,
        metrics_address=Address.parse(arguments.metrics_bind_address),
        metrics_security=MetricsSecurity(arguments.metrics_cert_path, arguments.metrics_secure),
        health_address=Address.parse(arguments.health_probe_bind_address),
        lease=_lease(arguments, connection.namespace),
    )
    manager = Manager(connection, options, clock)
    own = credential_settings(arguments, connection.namespace)
    credentials = credential.register(manager, own, clock, options.user_agent)
    fence = network.register(manager, network_options.network_settings(arguments))
    rig.register(manager, clock, credentials, fence)

    async def prepare() -> None:
        platform = await platform_of(Platform(arguments.platform), connection, options.user_agent, clock)
        settings = _settings(arguments, platform)
        admission = polecat.register(manager, settings, clock, credentials, fence)
        housekeeping.register(manager, settings, arguments.namespaces, clock, fence)
        manager.registry.register(PolecatCollector(admission))

    logger.info("starting %s", __version__)
    await manager.run(prepare)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of the program: 0 after an orderly stop, 1 when it could not start, had to stop at once, or another replica took over."""
    arguments = _parser().parse_args(argv)
    configure_logging(arguments.log_level)
    try:
        anyio.run(run, arguments)
    except (ConfigurationError, LeadershipLost, StoppedAtOnce) as error:
        print(f"gastown-operator: {error}", file=sys.stderr)  # noqa: T201 - one line for whoever started it
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
