"""The keeper's last word is lost after its push: the remote is asked, and the agent does not run again."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from attrs import define, frozen

from gastown_operator.api.core import POD
from gastown_operator.workload.message import decode
from hack.lab.layout import Layout
from tests.apiserver.client import JSON
from tests.support import pod_processes
from tests.support.cluster import environment
from tests.support.polecats import PolecatHandle
from tests.support.site import RigHandle, Site
from tests.support.waiting import eventually

HOW = "hack/cluster exec --name node -- .venv/bin/pytest tests/node"
#: The answer to the push is held back once the done ref is set: the keeper waits for it with its work already delivered.
HOLD_ANSWER = """\
#!/bin/sh
if grep -q refs/gastown/done/; then
  while [ -e {held} ]; do sleep 0.1; done
fi
"""
COUNTED = "echo run >> runs.txt && git add runs.txt && git commit --quiet --message Run"


def _nothing(_: Path) -> None:
    """The message that the keeper wrote before it pushed stays."""


def _cut_short(file: Path) -> None:
    """As by a full disk."""
    whole = file.read_bytes()
    assert decode(whole.decode()) is not None
    file.write_bytes(whole[: len(whole) // 2])


def _kill_keeper(layout: Layout, pod: JSON) -> None:
    """Kill the keeper's process as the kernel's OOM killer would."""
    statuses = pod["status"]["initContainerStatuses"] + pod["status"]["containerStatuses"]
    (keeper,) = (one for one in statuses if one["name"] == "keeper")
    container = keeper["containerID"].removeprefix("containerd://")
    subprocess.run(
        [
            *("ctr", f"--address={layout.containerd_socket}", "--namespace=k8s.io"),
            *("task", "kill", "--signal=SIGKILL", container),
        ],
        check=True,
    )


def _kill_pod(layout: Layout, pod: JSON) -> None:
    """Kill all that is left of the pod, as a power failure would."""
    pod_processes.kill(layout, pod["metadata"]["uid"])


@frozen
class Loss:
    """A way to lose the keeper's last word.

    Attributes:
        spoil: what is done to the message that it wrote before it pushed.
        kill: what is killed then.
        reason: what the polecat is told to have ended of.
    """

    spoil: Callable[[Path], None]
    kill: Callable[[Layout, JSON], None]
    reason: str


LOSSES: Mapping[str, Loss] = {
    "unfinished": Loss(_nothing, _kill_keeper, "PushUnfinished"),
    "cut-short": Loss(_cut_short, _kill_keeper, "KeeperMessageMissing"),
    "whole-pod": Loss(_nothing, _kill_pod, "PushUnfinished"),
}


@define
class Held:
    """A polecat whose push is done and whose keeper waits for the answer until `file` is gone."""

    rig: RigHandle
    polecat: PolecatHandle
    file: Path

    @property
    def done(self) -> str:
        """The ref that says that the round is done."""
        return self.polecat.ref("done")


@pytest.fixture(scope="module")
def held(site: Site) -> dict[str, Held]:
    """One polecat for each way to lose a message, all at once."""
    return {name: _hold(site, site.rig(name)) for name in LOSSES}


def _hold(site: Site, rig: RigHandle) -> Held:
    file = site.directory / f"held-{rig.name}"
    file.touch()
    site.git.install_hook(rig.repository, "post-receive", HOLD_ANSWER.format(held=file))
    return Held(rig, rig.sling("lost", COUNTED), file)


@pytest.mark.parametrize("name", LOSSES)
def test_work_whose_report_was_lost_is_found_on_the_server(
    site: Site, held: dict[str, Held], name: str
) -> None:
    loss = LOSSES[name]
    rig, polecat, done = held[name].rig, held[name].polecat, held[name].done
    eventually(lambda: done in rig.refs, "the done ref is on the server")

    layout = Layout(environment("GASTOWN_LAB", HOW))
    pod = site.cluster.get(POD, rig.namespace, "polecat-lost")
    assert pod is not None
    (message,) = (layout.kubelet / "pods" / pod["metadata"]["uid"] / "containers" / "keeper").iterdir()
    loss.spoil(message)
    loss.kill(layout, pod)
    held[name].file.unlink()

    status = polecat.tells("Done", "Done", "polecat/lost")
    assert status["attempt"] == 2
    assert status["attempts"][0]["reason"] == loss.reason
    (told,) = polecat.until_event(loss.reason)
    assert "another attempt" in told["note"]
    assert status["headCommit"] == rig.refs["refs/heads/polecat/lost"] == rig.refs[done]
    assert site.git.show(rig.repository, status["headCommit"], "runs.txt") == "run\n"
