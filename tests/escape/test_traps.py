"""An agent that turns its `.git` into traps: they catch its own git, and never the keeper, which holds the credential."""

from collections.abc import Mapping

import pytest
from attrs import frozen

from tests.escape import pods, traps
from tests.support.site import Site

IN_AGENT, BESIDE = "in the agent", "beside the credential"


@frozen
class Caught:
    """What the traps reported, and what the keeper delivered meanwhile."""

    protected: frozenset[str]
    unprotected: frozenset[str]
    status: Mapping[str, str]
    files: frozenset[str]
    elsewhere: frozenset[str]


@pytest.fixture(scope="module")
def caught(site: Site, address: str) -> Caught:
    """The traps in a polecat's pod, and then where a naive keeper is."""
    rig, elsewhere = site.rig("traps"), site.rig("elsewhere")
    url = site.git.ssh_url(elsewhere.repository)
    with traps.listening(address) as listener:
        script = traps.setting(address, listener.port, url)
        polecat = rig.sling("traps", f"{script}\n{traps.STEP}\necho left > left.txt")
        status = polecat.tells("Done", "Done", "polecat/traps")
        protected = frozenset(listener.reports)
    with traps.listening(address) as listener:
        pods.naive_keeper(rig, "naive", traps.setting(address, listener.port, url), traps.STEP)
        unprotected = frozenset(listener.reports)
    files = frozenset(rig.files(status["headCommit"]))
    assert rig.refs["refs/heads/polecat/traps"] == status["headCommit"]
    return Caught(protected, unprotected, status, files, frozenset(elsewhere.refs))


@pytest.mark.parametrize("name", traps.NAMES)
def test_a_trap_catches_whoever_runs_git_in_the_agents_repository_but_not_our_keeper(
    caught: Caught, name: str
) -> None:
    assert f"{name} {BESIDE}" not in caught.protected
    assert f"{name} {BESIDE}" in caught.unprotected
    # The agent's own git shows that the traps were set; it looks for no programs in the work tree.
    assert (f"{name} {IN_AGENT}" in caught.protected) == (name != "git")


def test_the_work_is_delivered_whole_and_to_the_rigs_repository_alone(caught: Caught) -> None:
    assert {"mine.txt", "caught.txt", "left.txt", ".gitattributes", ".gitmodules", "git"} <= caught.files
    assert caught.elsewhere == {"refs/heads/main"}
