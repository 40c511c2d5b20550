"""An agent that looks for everything that is not its own: in a polecat's pod it finds nothing, in a careless pod all of it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest
from attrs import frozen

from gastown_operator.api.core import NAMESPACE, POD
from gastown_operator.controllers.polecat.containers import KEEPER
from tests.apiserver.client import JSON
from tests.escape import pods
from tests.escape.attempts import REACH
from tests.support.site import RigHandle, Site

PROGRAM = (Path(__file__).parent / "hostile_agent.py").read_text()
MODEL_SECRET = {"name": "claude-credentials", "key": "api-key"}


@frozen
class Won:
    """What each attempt won, in a polecat's pod and in the careless one, and what the remote had after each."""

    namespace: str
    log: str
    protected: Mapping[str, str]
    unprotected: Mapping[str, str]
    branches: frozenset[str]
    branches_after: frozenset[str]


def read(log: str) -> Mapping[str, str]:
    line = next(line for line in log.splitlines() if line.startswith("escape: "))
    won: Mapping[str, str] = json.loads(line.removeprefix("escape: "))
    return won


def careless(spec: JSON) -> None:
    """Everything beside the agent that ours keeps apart, where the operator has it."""
    spec["shareProcessNamespace"] = True
    spec["automountServiceAccountToken"] = True
    agent = pods.agent_of(spec)
    agent |= {"command": ["python3", "-c", PROGRAM], "args": []}
    kept = [mount for mount in agent["volumeMounts"] if mount["name"] != "workspace"]
    for mount in kept:
        mount.pop("readOnly", None)
    keeper = next(each for each in spec["initContainers"] if each["name"] == KEEPER)
    beside = [mount for mount in keeper["volumeMounts"] if mount["name"] in ("workspace", "git-credentials")]
    agent["volumeMounts"] = [*kept, *beside]
    key = {"name": "ANTHROPIC_API_KEY", "valueFrom": {"secretKeyRef": MODEL_SECRET}}
    agent["env"] = [key, *(entry for entry in agent["env"] if entry["name"] != key["name"])]


def as_root(namespace: str) -> JSON:
    """The same program as the user that PodSecurity `restricted` refuses, in a namespace that enforces nothing."""
    container = {
        **pods.container("agent", "python3", "-c", PROGRAM, "root"),
        "securityContext": {"runAsUser": 0},
    }
    return {
        "metadata": {"namespace": namespace, "name": "root"},
        "spec": {"containers": [container], "restartPolicy": "Never"},
    }


@pytest.fixture
def lax(site: Site) -> Iterator[str]:
    """A namespace without PodSecurity."""
    name = f"lax-{uuid4().hex[:6]}"
    site.cluster.create(NAMESPACE, {"metadata": {"name": name}})
    yield name
    site.cluster.delete(NAMESPACE, "", name)


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
    branches = branches_of(rig)
    (pod,) = polecat.pods()
    assert "gateway" in {container["name"] for container in pod["spec"]["initContainers"]}
    protected = site.cluster.log(rig.namespace, "polecat-reach", "agent")
    unprotected = pods.printed(site, pods.copy_of(pod, "careless", careless), "agent", until="escape: ")
    return Won(rig.namespace, protected, read(protected), read(unprotected), branches, branches_of(rig))


def branches_of(rig: RigHandle) -> frozenset[str]:
    return frozenset(name for name in rig.refs if name.startswith("refs/heads/"))


@pytest.mark.parametrize("name", [attempt.name for attempt in REACH if attempt.name != "root"])
def test_an_agent_reaches_nothing_that_is_not_its_own(won: Won, name: str) -> None:
    assert won.protected[name] == ""
    assert won.unprotected[name], f"{name} won nothing where nothing protects"


def test_a_push_without_the_credential_is_refused_by_the_git_server(won: Won) -> None:
    # It is the missing key that stops the push, not a server out of reach.
    assert "Permission denied (publickey" in won.log
    assert won.branches == {"refs/heads/main"}
    assert won.branches_after == {"refs/heads/main", "refs/heads/stolen"}


def test_an_agent_is_not_root_where_podsecurity_is_enforced(site: Site, won: Won, lax: str) -> None:
    assert won.protected["root"] == ""
    refused = site.cluster.client.create(POD, as_root(won.namespace))
    assert (refused.status, "PodSecurity" in refused.message) == (403, True), refused.message
    assert read(pods.printed(site, as_root(lax), "agent", until="escape: "))["root"]
