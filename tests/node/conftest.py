"""Fixtures for tests on a real node: real kubelet, real containers, real git server, the operator under its shipped rights.

Run them with `hack/cluster up --name node`, `hack/images workload --load node` and
`hack/cluster exec --name node -- .venv/bin/pytest tests/node`.
"""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.support.cluster import environment
from tests.support.site import WORKLOAD_IMAGE, Site, open_site

HERE = Path(__file__).parent
HOW = "hack/cluster exec --name node -- .venv/bin/pytest tests/node"
#: Short, so that the tests see a pod that cannot start give its slot back; the kubelet tries again every 10 to 15 s.
POD_START_TIMEOUT = 60
#: GASTOWN_SIDECARS=container tries everything as it is on Kubernetes before 1.29.
SIDECARS = os.environ.get("GASTOWN_SIDECARS", "native")
TIMEOUT = 240


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.node)
            item.add_marker(pytest.mark.timeout(TIMEOUT))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The one installation that all tests share; each rig of a test has its own namespace and repository."""
    address = environment("GASTOWN_LAB_NODE_ADDRESS", HOW)
    arguments = [
        *("--workload-image", WORKLOAD_IMAGE),
        *("--pod-start-timeout", str(POD_START_TIMEOUT)),
        *("--sidecars", SIDECARS),
        # Low, so that one repository can be large enough for a shallow clone; the others are smaller.
        *("--full-clone-limit", "1"),
    ]
    with open_site(tmp_path_factory.mktemp("site"), address, arguments) as opened:
        yield opened


@pytest.fixture(autouse=True)
def untouched(site: Site) -> None:
    """No polecat is of interest yet: what this test waits for is what its report shows."""
    site.touched.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure what is known of its polecats, and to every result what the table at the end shows."""
    report = yield
    site = getattr(item, "funcargs", {}).get("site")
    if call.when != "call" or not isinstance(site, Site):
        return report
    polecats = {polecat.uid: polecat for polecat in site.touched}.values()
    if report.failed:
        report.sections += [(f"Polecat {polecat.name}", polecat.describe()) for polecat in polecats]
        report.sections.append(("operator", site.operator.tail()))
    for polecat in polecats:
        report.user_properties.append(("polecat", (polecat.name, *polecat.last_seen, polecat.seconds)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table: what was tried, and how it ended."""
    rows = [
        (report.head_line or report.nodeid, *row)
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        for name, row in report.user_properties
        if name == "polecat"
    ]
    if not rows:
        return
    terminalreporter.section("polecats")
    for test, polecat, phase, reason, seconds in rows:
        terminalreporter.write_line(f"{test:<58} {polecat:<18} {phase:<10} {reason:<26} {seconds:6.1f} s")
