"""Fixtures for tests with many pods: fake nodes, on which pods become Running at once and do nothing.

Run them with `hack/cluster up --nodes kwok --name kwok` and
`hack/cluster exec --name kwok -- .venv/bin/pytest tests/kwok`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.audit import AuditLog
from tests.support.cluster import Cluster, connect, environment
from tests.support.installation import install, operator_kubeconfig
from tests.support.operator_process import OperatorProcess

HERE = Path(__file__).parent
HOW = "hack/cluster exec --name kwok -- .venv/bin/pytest tests/kwok"
TIMEOUT = 180


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.kwok)
            item.add_marker(pytest.mark.timeout(TIMEOUT))


@pytest.fixture
def audit() -> AuditLog:
    return AuditLog(Path(environment("GASTOWN_LAB_AUDIT_LOG", HOW)))


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster with our CRDs and rights."""
    environment("KUBECONFIG", HOW)
    install()
    with connect() as connected:
        yield connected


@pytest.fixture
def operator(cluster: Cluster, tmp_path: Path) -> Iterator[OperatorProcess]:  # noqa: ARG001 - installed first
    """The operator, ready, as a process of this machine."""
    process = OperatorProcess(
        operator_kubeconfig(tmp_path), tmp_path / "operator.log", ["--workload-image", "workload:1"]
    )
    process.start()
    yield process
    assert process.stop() == 0, process.tail()
