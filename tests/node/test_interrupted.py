"""Pods that are ended from outside: what the agent had done is on the git server, and the next attempt goes on from there."""

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
BIG = 50_000_000
#: What it started it does not let go of: SIGTERM is ignored, by its children too.
STUBBORN = f"""\
if [ -e big.bin ]; then
  cat unfinished.txt && echo finished > finished.txt
  exit
fi
trap '' TERM
head -c {BIG} /dev/urandom > big.bin && git add big.bin && git commit --quiet --message Big
echo unfinished > unfinished.txt
echo ready
while :; do sleep 1; done
"""


@pytest.fixture(scope="module")
def working(site: Site) -> dict[str, tuple[RigHandle, PolecatHandle]]:
    """All polecats of this module at once."""
    scripts = {"deleted": WORKING, "stopped": WORKING, "stubborn": STUBBORN}
    rigs = {name: site.rig(name) for name in scripts}
    return {name: (rig, rig.sling(name, scripts[name])) for name, rig in rigs.items()}


def test_the_attempt_after_a_stubborn_one_starts_with_all_that_it_had(
    site: Site, working: dict[str, tuple[RigHandle, PolecatHandle]]
) -> None:
    rig, polecat = working["stubborn"]
    polecat.until_agent_says("ready")
    assert set(rig.refs) == {"refs/heads/main"}, "nothing was pushed before the end"
    site.cluster.delete(POD, rig.namespace, "polecat-stubborn")
    polecat.tells("Idle", "PodDeleted", "another attempt starts from what is saved")
    assert rig.files(polecat.ref("wip")) == {"README.md", "big.bin", "unfinished.txt"}

    status = polecat.until("Done")
    assert (status["attempt"], status["round"]) == (2, 1)
    assert [attempt["class"] for attempt in status["attempts"]] == ["Infrastructure", "Succeeded"]
    assert rig.files(status["headCommit"]) == {"README.md", "big.bin", "unfinished.txt", "finished.txt"}
    size = site.git.git(rig.repository, "cat-file", "-s", f"{status['headCommit']}:big.bin")
    assert int(size) == BIG
    (second,) = (pod["metadata"]["name"] for pod in polecat.pods())
    assert site.cluster.log(rig.namespace, second, "agent") == "unfinished\n"


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
