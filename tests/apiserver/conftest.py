"""Fixtures for tests against a real API server.

Run them with `hack/cluster up --nodes none --name apiserver` and
`hack/cluster exec --name apiserver -- .venv/bin/pytest tests/apiserver`.
"""

import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from gastown_operator.api.core import NAMESPACE
from gastown_operator.api.crd import definition
from gastown_operator.api.kinds import KINDS
from gastown_operator.api.schema import Schema
from gastown_operator.runtime.client import Client as RuntimeClient
from gastown_operator.runtime.configuration import Connection, load_connection
from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.transport import Transport
from tests.apiserver.client import CRDS, Client, await_served
from tests.support.audit import AuditLog
from tests.support.lab import Lab
from tests.support.waiting import eventually

HERE = Path(__file__).parent
TIMEOUT = 180


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.apiserver)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(TIMEOUT))


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """A client of the cluster that KUBECONFIG names."""
    if not os.environ.get("KUBECONFIG"):
        pytest.exit(
            "KUBECONFIG is not set: run `hack/cluster exec --name apiserver -- .venv/bin/pytest tests/apiserver`",
            4,
        )
    with subprocess.Popen(["kubectl", "proxy", "--port=0"], stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            line = proxy.stdout.readline()
            match = re.search(r":(\d+)\s*$", line)
            assert match, f"kubectl proxy did not start: {line!r}"
            yield Client(int(match[1]))
        finally:
            proxy.terminate()


@pytest.fixture(scope="session")
def crds(client: Client) -> list[Schema]:
    """Our CustomResourceDefinitions, applied and served."""
    definitions = [definition(kind) for kind in KINDS]
    for crd in definitions:
        client.apply(f"{CRDS}/{crd['metadata']['name']}", crd)
    for crd in definitions:
        await_served(client, crd)
    return definitions


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def connection() -> Connection:
    """How the administrator reaches the cluster."""
    return await load_connection()


@pytest.fixture
async def admin(connection: Connection) -> AsyncIterator[RuntimeClient]:
    """The runtime's client, with the administrator's rights."""
    transport = Transport(connection, Metrics(CollectorRegistry()), "tests")
    yield RuntimeClient(transport)
    await transport.close()


@pytest.fixture
def lab() -> Lab:
    """The lab, where a test needs faults or the audit log; another cluster has neither."""
    name, log = os.environ.get("GASTOWN_LAB"), os.environ.get("GASTOWN_LAB_AUDIT_LOG")
    if not (name and log):
        pytest.skip("needs a cluster of hack/cluster")
    return Lab(name, AuditLog(Path(log)))


def _found(client: Client, path: str) -> bool:
    return client.request("GET", path).ok


@pytest.fixture
def namespace(client: Client) -> Iterator[str]:
    """A namespace of the test's own, with what the cluster puts into every one."""
    name = f"test-{uuid4().hex[:12]}"
    client.create(NAMESPACE, {"metadata": {"name": name}}).object()
    for given in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"):
        path = f"/api/v1/namespaces/{name}/{given}"
        eventually(partial(_found, client, path), f"{given} of {name}")
    yield name
    client.request("DELETE", NAMESPACE.path(name=name)).object()
