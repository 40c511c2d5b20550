"""Which platform the cluster is: OpenShift gives each namespace its own range of user ids, and refuses pods that set others."""

import logging
from enum import StrEnum
from random import Random
from typing import Final

from prometheus_client import CollectorRegistry

from gastown_operator.runtime.backoff import Backoff
from gastown_operator.runtime.client import Requests
from gastown_operator.runtime.clock import Clock
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.errors import ApiError, ConfigurationError, Forbidden, NotFound
from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.transport import Transport

#: The group of SecurityContextConstraints, which decide about ids there. Every OpenShift serves it, and nothing else does.
OPENSHIFT_GROUP: Final = "security.openshift.io"
logger = logging.getLogger(__name__)


class Platform(StrEnum):
    """What `--platform` can say."""

    AUTO = "auto"
    """Ask the server."""
    KUBERNETES = "kubernetes"
    """Pods run as a user of ours."""
    OPENSHIFT = "openshift"
    """Pods set no ids; they get the namespace's, with group 0."""


async def platform_of(choice: Platform, connection: Connection, user_agent: str, clock: Clock) -> Platform:
    """The platform that was chosen, or the one that the server turns out to be.

    Raises:
        ConfigurationError: the server does not let us see its API groups.
    """
    if choice is not Platform.AUTO:
        return choice
    transport = Transport(connection, Metrics(CollectorRegistry()), user_agent)
    try:
        found = await detect(transport, Backoff(clock, Random()), clock)  # noqa: S311 - spreads delays
    finally:
        await transport.close()
    logger.info("the platform is %s", found)
    return found


async def detect(requests: Requests, backoff: Backoff, clock: Clock) -> Platform:
    """Which platform the server is; a server that does not answer is asked again.

    Raises:
        ConfigurationError: the server does not let us see its API groups.
    """
    while True:
        try:
            await requests.request("GET", f"/apis/{OPENSHIFT_GROUP}")
        except NotFound:
            return Platform.KUBERNETES
        except Forbidden as error:
            raise ConfigurationError(
                f"cannot see whether this is OpenShift ({error}); say so: --platform kubernetes or openshift"
            ) from error
        except ApiError as error:
            delay = backoff.next()
            logger.warning("cannot ask for the platform, next attempt in %.1f s: %s", delay, error)
            await clock.sleep(delay)
        else:
            return Platform.OPENSHIFT
