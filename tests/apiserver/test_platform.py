"""A real API server is OpenShift once it serves the group of SecurityContextConstraints."""

from collections.abc import Iterator

import pytest

from gastown_operator.controllers.platform import OPENSHIFT_GROUP, Platform, platform_of
from gastown_operator.runtime.clock import SystemClock
from gastown_operator.runtime.configuration import Connection
from tests.apiserver.client import CRDS, JSON, Client, await_served

pytestmark = pytest.mark.anyio
NAME = f"securitycontextconstraints.{OPENSHIFT_GROUP}"


@pytest.fixture
def constraints(client: Client) -> Iterator[JSON]:
    """The kind that OpenShift has, as far as a name goes; removed again."""
    yield {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {
            "group": OPENSHIFT_GROUP,
            "scope": "Cluster",
            "names": {"kind": "SecurityContextConstraints", "plural": "securitycontextconstraints"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    }
    client.request("DELETE", f"{CRDS}/{NAME}")


async def test_the_platform_is_what_the_server_serves(
    client: Client, connection: Connection, constraints: JSON
) -> None:
    clock = SystemClock()
    assert await platform_of(Platform.AUTO, connection, "tests", clock) is Platform.KUBERNETES

    client.apply(f"{CRDS}/{NAME}", constraints)
    await_served(client, constraints)

    assert await platform_of(Platform.AUTO, connection, "tests", clock) is Platform.OPENSHIFT
    assert await platform_of(Platform.KUBERNETES, connection, "tests", clock) is Platform.KUBERNETES
