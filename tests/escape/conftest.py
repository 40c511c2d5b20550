"""Fixtures of the escape suite: one rig that is attacked, and beside it a pod without our protection that the same attacks beat.

Run it with `hack/cluster up --name node`, `hack/images workload --load node` and
`hack/cluster exec --name node -- .venv/bin/pytest tests/escape`.
"""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.support.cluster import environment
from tests.support.site import WORKLOAD_IMAGE, Site, open_site

HERE = Path(__file__).parent
HOW = "hack/cluster exec --name node -- .venv/bin/pytest tests/escape"
TIMEOUT = 240


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.node)
            item.add_marker(pytest.mark.timeout(TIMEOUT))


@pytest.fixture(scope="session")
def address() -> str:
    """Where pods reach servers of the test."""
    return environment("GASTOWN_LAB_NODE_ADDRESS", HOW)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, address: str) -> Iterator[Site]:
    """The installation that is attacked."""
    arguments = ["--workload-image", WORKLOAD_IMAGE]
    with open_site(tmp_path_factory.mktemp("site"), address, arguments) as opened:
        yield opened


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure what is known of its polecats."""
    report = yield
    opened = getattr(item, "funcargs", {}).get("site")
    if report.failed and isinstance(opened, Site):
        polecats = {polecat.uid: polecat for polecat in opened.touched}.values()
        report.sections += [(f"Polecat {polecat.name}", polecat.describe()) for polecat in polecats]
        report.sections.append(("operator", opened.operator.tail()))
    return report
