"""Polecats that a person stops: what the agent had done is on the git server."""

import pytest

from gastown_operator.api.core import POD
from gastown_operator.api.polecat import POLECAT
from tests.support.polecats import PolecatHandle
from tests.support.site import RigHandle, Site

WORKING = """\
echo one > one.txt && git add one.txt && git commit --quiet --message One
echo two > two.txt
echo ready
sleep 600
"""


@pytest.fixture(scope="module")
def working(site: Site) -> dict[str, tuple[RigHandle, PolecatHandle]]:
    """All polecats of this module at once."""
    rigs = {name: site.rig(name) for name in ("deleted", "stopped")}
    return {name: (rig, rig.sling(name, WORKING)) for name, rig in rigs.items()}


def test_a_polecat_deleted_while_it_works_leaves_its_work_on_the_server(
    working: dict[str, tuple[RigHandle, PolecatHandle]],
) -> None:
    rig, polecat = working["deleted"]
    polecat.until_agent_says("ready")
    polecat.delete()
    polecat.until_gone(POLECAT, "deleted")
    polecat.until_gone(POD, "polecat-deleted")
    assert rig.files("refs/heads/polecat/deleted") == {"README.md", "one.txt"}
    assert rig.files(polecat.ref("wip")) == {"README.md", "one.txt", "two.txt"}


def test_a_polecat_that_is_told_to_stop_leaves_its_work_on_the_server(
    working: dict[str, tuple[RigHandle, PolecatHandle]],
) -> None:
    rig, polecat = working["stopped"]
    polecat.until_agent_says("ready")
    polecat.patch({"desiredState": "Terminated"})
    polecat.tells("Terminated", "Terminated", "spec.desiredState")
    assert rig.files("refs/heads/polecat/stopped") == {"README.md", "one.txt"}
    assert rig.files(polecat.ref("wip")) == {"README.md", "one.txt", "two.txt"}
