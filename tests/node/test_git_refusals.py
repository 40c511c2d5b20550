"""What the git server, or the way to it, refuses: the polecat is stuck, and says what to change."""

from collections.abc import Callable, Mapping

import pytest
from attrs import field, frozen

from hack.git_server.ssh import generate_key
from tests.apiserver.client import JSON
from tests.support.polecats import PolecatHandle
from tests.support.site import SECRET_NAME, WORK, RigHandle, Site


@frozen
class Case:
    """One way to be refused.

    Attributes:
        rig: makes the rig; the polecat on it only works.
        reason: of the conditions and of the Event.
        words: what the message must contain.
        spec: of the polecat.
    """

    rig: Callable[[Site], RigHandle]
    reason: str
    words: tuple[str, ...]
    spec: JSON = field(factory=dict)


def _another_key(site: Site, name: str) -> tuple[str, str]:
    pair = generate_key(site.directory / name)
    return pair.private.read_text(), " ".join(pair.public.split()[:2])


def _stranger(site: Site) -> RigHandle:
    return site.rig("stranger", secret={"ssh-privatekey": _another_key(site, "stranger")[0]})


def _impostor(site: Site) -> RigHandle:
    host = site.git.known_hosts_line().split()[0]
    return site.rig("impostor", known_hosts=f"{host} {_another_key(site, 'impostor')[1]}")


def _over_https(site: Site, password: str) -> RigHandle:
    site.git.authorize_user("mayor", "right")
    secret = {"username": "mayor", "password": password, "ca.crt": site.git.certificate_authority()}
    return site.rig("wrong-password", over_https=True, secret=secret)


CASES: Mapping[str, Case] = {
    "no-repository": Case(
        lambda site: site.rig("no-repository", url=site.git.ssh_url("nothing-here")),
        "RepositoryNotFound",
        ("nothing-here", "gitURL"),
    ),
    "no-key": Case(
        lambda site: site.rig("no-key", secret={"token": "x"}),
        "GitCredentialMissing",
        (SECRET_NAME, "ssh-privatekey", "has only token", "create secret"),
    ),
    "no-secret": Case(
        lambda site: site.rig("no-secret", secret={}),
        "GitCredentialMissing",
        (SECRET_NAME, "does not exist", "create secret"),
    ),
    "stranger": Case(_stranger, "GitAuthenticationFailed", ("Permission denied", "Secret")),
    "impostor": Case(_impostor, "HostKeyMismatch", ("sshKnownHostsConfigMapRef", "host key")),
    "unknown-host": Case(
        lambda site: site.rig("unknown-host", known_hosts=""),
        "KnownHostsMissing",
        ("sshKnownHostsConfigMapRef", "create configmap"),
    ),
    "no-base": Case(
        lambda site: site.rig("no-base"),
        "BaseBranchMissing",
        ('"develop"', "spec.kubernetes.gitBranch"),
        {"kubernetes": {"gitBranch": "develop"}},
    ),
    "wrong-password": Case(
        lambda site: _over_https(site, "wrong"), "GitAuthenticationFailed", ("Secret", "https://")
    ),
}


@pytest.fixture(scope="module")
def refused(site: Site) -> Mapping[str, PolecatHandle]:
    """All polecats of the table at once: the node works on them side by side."""
    return {name: case.rig(site).sling(name, WORK, **case.spec) for name, case in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_a_refusal_of_git_is_told_with_what_to_change(
    refused: Mapping[str, PolecatHandle], name: str
) -> None:
    case, polecat = CASES[name], refused[name]
    status = polecat.tells("Stuck", case.reason, *case.words)
    assert status["finishedAt"]
    assert status["attempts"][0]["class"] == "ConfigError"
    assert polecat.cluster.log(polecat.namespace, f"polecat-{name}", "agent") == ""
