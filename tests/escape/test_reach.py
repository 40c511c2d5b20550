"""An agent that looks for everything that is not its own: in a polecat's pod it finds nothing, in a careless pod all of it."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import frozen

from tests.escape import pods
from tests.escape.attempts import REACH
from tests.support.site import SECRET_NAME, RigHandle, Site

PROGRAM = (Path(__file__).parent / "hostile_agent.py").read_text()
MODEL_SECRET = {"name": "claude-credentials", "key": "api-key"}
#: Under PodSecurity `restricted` nobody is root, so nothing that the tests may build is beaten by this.
NEVER = {"root"}


@frozen
class Won:
    """What each attempt won, in a polecat's pod and in the careless one, and what the remote had after the first."""

    protected: Mapping[str, str]
    unprotected: Mapping[str, str]
    branches: frozenset[str]


def read(log: str) -> Mapping[str, str]:
    line = next(line for line in log.splitlines() if line.startswith("escape: "))
    won: Mapping[str, str] = json.loads(line.removeprefix("escape: "))
    return won


def careless(rig: RigHandle, target: str) -> str:
    """The same program in a pod with everything beside it that ours keeps apart."""
    volumes = [pods.KEY_VOLUME, *({"name": name, "emptyDir": {}} for name in ("control", "workspace", "tmp"))]
    tmp = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 - a volume
    mounts = [
        pods.KEY_MOUNT,
        {"name": "control", "mountPath": "/gastown/control"},
        {"name": "workspace", "mountPath": "/workspace"},
        tmp,
    ]
    environment = [
        {"name": "TARGET", "value": target},
        {"name": "ANTHROPIC_API_KEY", "valueFrom": {"secretKeyRef": MODEL_SECRET}},
    ]
    keeper = pods.container(
        "keeper",
        "sleep",
        "60",
        env=[{"name": "GASTOWN_REPOSITORY", "value": target}],
        volumeMounts=mounts[:1],
    )
    agent = pods.container("agent", "python3", "-c", PROGRAM, env=environment, volumeMounts=mounts)
    spec = {
        "shareProcessNamespace": True,
        "automountServiceAccountToken": True,
        "volumes": volumes,
        "containers": [keeper, agent],
    }
    return pods.run(rig, "careless", spec, "agent", until="escape: ")


@pytest.fixture(scope="module")
def won(site: Site) -> Won:
    """Both runs."""
    rig = site.rig("reach")
    rig.secret(MODEL_SECRET["name"], {MODEL_SECRET["key"]: "sk-ant-escape"})
    target = site.git.ssh_url(rig.repository)
    config = {
        "command": ["python3", "-c", PROGRAM],
        "provider": "anthropic",
        "env": [{"name": "TARGET", "value": target}],
    }
    polecat = rig.sling("reach", agentConfig=config)
    polecat.until("Stuck", "NoChanges", seconds=120)
    branches = frozenset(name for name in rig.refs if name.startswith("refs/heads/"))
    pod = polecat.pods()[0]["spec"]
    assert "gateway" in {container["name"] for container in pod["initContainers"]}
    assert SECRET_NAME in {volume.get("secret", {}).get("secretName") for volume in pod["volumes"]}
    protected = read(site.cluster.log(rig.namespace, "polecat-reach", "agent"))
    return Won(protected, read(careless(rig, target)), branches)


@pytest.mark.parametrize("name", [attempt.name for attempt in REACH])
def test_an_agent_reaches_nothing_that_is_not_its_own(won: Won, name: str) -> None:
    assert won.protected[name] == ""
    assert won.branches == {"refs/heads/main"}
    if name not in NEVER:
        assert won.unprotected[name], f"{name} won nothing where nothing protects"
