"""Polecats that a person stops, or a node evicts: what the agent had done is on the git server, and where it was in the next attempt."""

import json

import pytest

from gastown_operator.api.core import POD
from gastown_operator.api.polecat import POLECAT
from tests.support.cluster import kubectl
from tests.support.polecats import PolecatHandle
from tests.support.site import RigHandle, Site

WORKING = """\
echo one > one.txt && git add one.txt && git commit --quiet --message One
echo two > two.txt
echo ready
sleep 600
"""
#: Everything that a branch cannot hold, and how git shows it.
DIRTY = """\
set -eu
show() {
  echo shown
  git status --porcelain && git -C lib status --porcelain && git -C lib log --format='%H %s'
  cat lib/lib.txt lib/new.txt nested/inner.txt
  (cd .git/lfs && find objects -type f -exec sha256sum {} +)
  echo ready
}
if [ -e .git/lfs ]; then
  show && echo finished > finished.txt
  exit
fi
export GIT_AUTHOR_NAME=inner GIT_AUTHOR_EMAIL=inner@example.com GIT_COMMITTER_NAME=inner GIT_COMMITTER_EMAIL=inner@example.com
git init --quiet lib && echo lib > lib/lib.txt && git -C lib add . && git -C lib commit --quiet --message Library
printf '[submodule "lib"]\\n\\tpath = lib\\n\\turl = https://git.invalid/lib\\n' > .gitmodules
git add .gitmodules lib 2> /dev/null && git commit --quiet --message 'With a library'
echo committed > lib/lib.txt && git -C lib commit --quiet --all --message Inner
echo changed > lib/lib.txt && echo new > lib/new.txt
git init --quiet nested && echo inner > nested/inner.txt
printf large > large
digest=$(sha256sum large | cut -c 1-64)
store=.git/lfs/objects/$(echo $digest | cut -c 1-2)/$(echo $digest | cut -c 3-4)
mkdir -p $store && mv large $store/$digest
show
sleep 600
"""


@pytest.fixture(scope="module")
def working(site: Site) -> dict[str, tuple[RigHandle, PolecatHandle]]:
    """All polecats of this module at once."""
    scripts = {"deleted": WORKING, "stopped": WORKING, "dirty": DIRTY}
    rigs = {name: site.rig(name) for name in scripts}
    return {name: (rig, rig.sling(name, scripts[name])) for name, rig in rigs.items()}


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


def test_the_attempt_after_an_eviction_sees_all_that_a_branch_cannot_hold(
    site: Site, working: dict[str, tuple[RigHandle, PolecatHandle]]
) -> None:
    rig, polecat = working["dirty"]
    polecat.until_agent_says("ready")
    shown = site.cluster.log(rig.namespace, "polecat-dirty", "agent")
    _evict(rig.namespace, "polecat-dirty")
    status = polecat.until("Done")

    assert [attempt["reason"] for attempt in status["attempts"]] == ["EvictionByEvictionAPI", "Succeeded"]
    assert site.cluster.log(rig.namespace, status["podName"], "agent") == shown
    assert shown.splitlines()[1:5] == [" M lib", "?? nested/", " M lib.txt", "?? new.txt"]


def _evict(namespace: str, pod: str) -> None:
    """As `kubectl drain` does."""
    metadata = {"namespace": namespace, "name": pod}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
    kubectl("create", "--raw", path, "--filename=-", stdin=json.dumps(eviction))
