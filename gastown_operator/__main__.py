"""The operator's process: what its options make of it."""

import argparse
import logging
import sys
from collections.abc import Sequence

import anyio

from gastown_operator import __version__
from gastown_operator.command_line import operator_parser
from gastown_operator.controllers.credential import reconciler as credential
from gastown_operator.controllers.housekeeping import reconciler as housekeeping
from gastown_operator.controllers.metrics import OfLeader, PolecatCollector
from gastown_operator.controllers.network import reconciler as network
from gastown_operator.controllers.network import settings as network_options
from gastown_operator.controllers.options import credential_settings, egress
from gastown_operator.controllers.platform import Platform, platform_of
from gastown_operator.controllers.polecat import reconciler as polecat
from gastown_operator.controllers.rig import reconciler as rig
from gastown_operator.controllers.settings import WORKLOAD_USER, OperatorSettings
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
        manager.registry.register(OfLeader(PolecatCollector(admission), manager.may_write))

    logger.info("starting %s", __version__)
    await manager.run(prepare)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of the program: 0 after an orderly stop, 1 when it could not start, had to stop at once, or another replica took over."""
    arguments = operator_parser().parse_args(argv)
    configure_logging(arguments.log_level)
    try:
        anyio.run(run, arguments)
    except (ConfigurationError, LeadershipLost, StoppedAtOnce) as error:
        print(f"gastown-operator: {error}", file=sys.stderr)  # noqa: T201 - one line for whoever started it
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
