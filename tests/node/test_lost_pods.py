"""Pods that are lost while work is not pushed: the next attempt starts from what is on the git server, and ends the work."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import pytest

from gastown_operator.api.core import POD
from hack.lab.layout import Layout
from tests.apiserver.client import JSON
from tests.support import pod_processes
from tests.support.audit import AuditLog
from tests.support.cluster import environment, kubectl
from tests.support.lab import Lab
from tests.support.polecats import PolecatHandle
from tests.support.site import RigHandle, Site
from tests.support.waiting import eventually

HOW = "hack/cluster exec --name node -- .venv/bin/pytest tests/node"
#: The shortest that a Rig may have.
INTERVAL = 10
#: A checkpoint is of the moment at which it begins, and the interval is counted from the end of the last one.
CHECKPOINT_SECONDS = 5
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
DRAINED = """\
if [ -e one.txt ]; then
  cat two.txt && git add . && git commit --quiet --message Finished
  exit
fi
echo one > one.txt && git add one.txt && git commit --quiet --message One
echo two > two.txt
echo ready
sleep 600
"""
#: A line a second; every fourth time they are committed.
COUNTING = """\
if [ -e lines.txt ]; then
  echo "found $(wc -l < lines.txt)" && git log --format=%s && echo finished > finished.txt
  exit
fi
number=0
while :; do
  number=$((number + 1))
  echo $number >> lines.txt && echo $number
  [ $((number % 4)) -ne 0 ] || { git add lines.txt && git commit --quiet --message "Lines to $number"; }
  sleep 1
done
"""
ENOUGH = "/gastown/home/enough"
UNTIL_ENOUGH = f"""\
number=0
until [ -e {ENOUGH} ]; do
  number=$((number + 1))
  echo $number >> lines.txt && echo $number
  sleep 1
done
git add lines.txt && git commit --quiet --message Lines
"""
SCRIPTS = {"stubborn": STUBBORN, "drained": DRAINED, "lost": COUNTING, "survivor": UNTIL_ENOUGH}

Working = dict[str, tuple[RigHandle, PolecatHandle]]


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab(environment("GASTOWN_LAB", HOW), AuditLog(Path(environment("GASTOWN_LAB_AUDIT_LOG", HOW))))


@pytest.fixture(scope="module")
def working(site: Site) -> Working:
    """All polecats of this module at once; the pods of two of them are ended as soon as these have something to lose."""
    specs = {"lost": {"checkpoint": {"interval": f"{INTERVAL}s"}}}
    rigs = {name: site.rig(name, spec=specs.get(name)) for name in SCRIPTS}
    working = {name: (rig, rig.sling(name, SCRIPTS[name])) for name, rig in rigs.items()}
    for name in ("stubborn", "drained"):
        rig, polecat = working[name]
        polecat.until_agent_says("ready")
        assert set(rig.refs) == {"refs/heads/main"}, "nothing was pushed before the end"
    site.cluster.delete(POD, rigs["stubborn"].namespace, "polecat-stubborn")
    _drain(rigs["drained"])
    return working


def test_after_an_abrupt_loss_at_most_one_checkpoint_interval_is_missing(
    site: Site, working: Working, lab: Lab
) -> None:
    rig, polecat = working["lost"]
    checkpoint = polecat.ref("wip")
    eventually(lambda: checkpoint in rig.refs, "the first checkpoint", 120)
    layout, uid = Layout(lab.name), polecat.pods()[0]["metadata"]["uid"]
    # Late in the interval, so that there is something to lose.
    eventually(_unchanged(lambda: _lines(site, rig, checkpoint), INTERVAL - 2), "work to lose", 120)
    pod_processes.kill(layout, uid)
    assert pod_processes.processes(layout, uid) == []
    written, pushed = _last_line(polecat), _lines(site, rig, checkpoint)

    status = polecat.until("Done")
    assert _attempts(status) == [("Infrastructure", "PodInterrupted"), ("Succeeded", "Succeeded")]
    found, newest, *_ = site.cluster.log(rig.namespace, status["podName"], "agent").splitlines()
    saved, committed = int(found.removeprefix("found ")), int(newest.removeprefix("Lines to "))
    # A push may have been on the server already when its sender was killed, and a checkpoint may come between a line and its commit.
    assert pushed <= saved < written <= saved + INTERVAL + CHECKPOINT_SECONDS
    assert saved - 8 < committed <= saved
    assert rig.files(status["headCommit"]) == {"README.md", "lines.txt", "finished.txt"}


def test_the_attempt_after_a_drain_starts_with_all_that_was_there(site: Site, working: Working) -> None:
    rig, polecat = working["drained"]
    status = polecat.until("Done")
    assert _attempts(status) == [("Infrastructure", "EvictionByEvictionAPI"), ("Succeeded", "Succeeded")]
    assert rig.files(polecat.ref("wip")) == {"README.md", "one.txt", "two.txt"}
    assert site.cluster.log(rig.namespace, status["podName"], "agent") == "two\n"
    assert rig.files(status["headCommit"]) == {"README.md", "one.txt", "two.txt"}


def test_the_attempt_after_a_stubborn_one_starts_with_all_that_it_had(site: Site, working: Working) -> None:
    rig, polecat = working["stubborn"]
    status = polecat.until("Done")
    assert (status["attempt"], status["round"]) == (2, 1)
    assert _attempts(status) == [("Infrastructure", "PodDeleted"), ("Succeeded", "Succeeded")]
    (told,) = polecat.until_event("PodDeleted")
    assert "another attempt starts from what is saved" in told["note"]
    assert rig.files(status["headCommit"]) == {"README.md", "big.bin", "unfinished.txt", "finished.txt"}
    size = site.git.git(rig.repository, "cat-file", "-s", f"{status['headCommit']}:big.bin")
    assert int(size) == BIG
    (second,) = (pod["metadata"]["name"] for pod in polecat.pods())
    assert site.cluster.log(rig.namespace, second, "agent") == "unfinished\n"


def test_killed_kubelet_and_containerd_cost_a_run_nothing(site: Site, working: Working, lab: Lab) -> None:
    rig, polecat = working["survivor"]
    for component in ("kubelet", "containerd"):
        before = eventually(lambda: _last_line(polecat), "the agent counts")
        anyio.run(partial(lab.restart, component, kill=True))
        polecat.until_agent_says(f"\n{before + 2}\n")
    enough = ("exec", "polecat-survivor", "-c", "agent", "--", "touch", ENOUGH)
    kubectl("--namespace", rig.namespace, *enough)

    status = polecat.until("Done")
    assert _attempts(status) == [("Succeeded", "Succeeded")]
    lines = site.git.show(rig.repository, status["headCommit"], "lines.txt").splitlines()
    assert lines == [str(number) for number in range(1, len(lines) + 1)]
    assert site.cluster.log(rig.namespace, "polecat-survivor", "agent").splitlines() == lines


def _unchanged(look: Callable[[], int], seconds: float) -> Callable[[], bool]:
    """Whether what it looks at has been the same for so long, as far as was seen."""
    since: dict[int, float] = {}

    def long_enough() -> bool:
        return time.monotonic() - since.setdefault(look(), time.monotonic()) >= seconds

    return long_enough


def _drain(rig: RigHandle) -> None:
    """`kubectl drain` of the rig's pods; the others stay. It returns when they are gone."""
    node = kubectl("get", "nodes", "--output=name").split("/")[1].strip()
    kubectl(
        *("drain", node, "--force", "--ignore-daemonsets", "--delete-emptydir-data"),
        *("--pod-selector", f"gastown.io/rig={rig.name}", "--timeout", "120s"),
    )
    kubectl("uncordon", node)


def _attempts(status: JSON) -> list[tuple[str, str]]:
    return [(attempt["class"], attempt["reason"]) for attempt in status["attempts"]]


def _last_line(polecat: PolecatHandle) -> int:
    """The number that the agent of the first pod printed last."""
    printed = polecat.cluster.log(polecat.namespace, f"polecat-{polecat.name}", "agent").split()
    return int(printed[-1]) if printed else 0


def _lines(site: Site, rig: RigHandle, revision: str) -> int:
    """How many lines the git server has."""
    return len(site.git.show(rig.repository, revision, "lines.txt").splitlines())
