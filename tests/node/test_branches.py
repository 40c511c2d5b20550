"""What is on the remote after a run: never less than before, and everything the agent made."""

import base64
from pathlib import Path

import pytest
from attrs import frozen

from gastown_operator.workload.salvage import BEGIN, END, REF
from hack.git_server.server import GitServer
from tests.support.polecats import PolecatHandle
from tests.support.site import WORK, RigHandle, Site

HALF_DONE = f"{WORK} && echo started > half.txt; exit 1"
NESTED = """\
mkdir vendored && cd vendored && git init --quiet && echo inner > inner.txt
git add inner.txt && git -c user.name=a -c user.email=a@b commit --quiet --message inner
cd .. && echo outer > outer.txt
"""
NO_POLECAT_BRANCH = """\
#!/bin/sh
while read -r old new ref; do
  case $ref in refs/heads/polecat/*) echo "branches of polecats are not welcome" >&2; exit 1;; esac
done
"""
ONLY_BRANCHES = """\
#!/bin/sh
while read -r old new ref; do
  case $ref in refs/heads/*) ;; *) echo "branches only" >&2; exit 1;; esac
done
"""
NOTHING = """\
#!/bin/sh
echo "this repository is closed" >&2
exit 1
"""


@frozen
class Slung:
    """A polecat and the rig that it is on."""

    rig: RigHandle
    polecat: PolecatHandle


@pytest.fixture(scope="module")
def slung(site: Site) -> dict[str, Slung]:
    """All polecats of this module at once."""
    scripts = {
        "continued": "test -f theirs.txt && " + WORK,
        "exit-1": HALF_DONE,
        "no-changes": "true",
        "nothing-to-do": "true",
        "nested": NESTED,
        "unwelcome": WORK,
        "closed": WORK,
        "branches-only": WORK,
        "uncommitted": "echo left > left.txt",
    }
    rigs = {name: site.rig(name) for name in scripts}
    site.git.git(rigs["continued"].repository, "branch", "polecat/continued", "main")
    site.git.commit(
        rigs["continued"].repository, "polecat/continued", {"theirs.txt": "theirs\n"}, message="Theirs"
    )
    site.git.install_hook(rigs["unwelcome"].repository, "pre-receive", NO_POLECAT_BRANCH)
    site.git.install_hook(rigs["branches-only"].repository, "pre-receive", ONLY_BRANCHES)
    site.git.install_hook(rigs["closed"].repository, "pre-receive", NOTHING)
    specs = {"nothing-to-do": {"allowNoChanges": True}}
    return {
        name: Slung(rig, rig.sling(name, scripts[name], **specs.get(name, {}))) for name, rig in rigs.items()
    }


@pytest.fixture
def git(site: Site) -> GitServer:
    return site.git


def test_a_branch_that_exists_is_continued(slung: dict[str, Slung], git: GitServer) -> None:
    rig, polecat = slung["continued"].rig, slung["continued"].polecat
    status = polecat.tells("Done", "Done", "polecat/continued")
    branch = "refs/heads/polecat/continued"
    assert rig.refs[branch] == status["headCommit"]
    subjects = git.git(rig.repository, "log", "--format=%s", branch).splitlines()
    assert subjects == ["Do the work", "Theirs", "Begin"]


def test_an_agent_that_fails_keeps_its_commits_and_the_rest(slung: dict[str, Slung]) -> None:
    rig, polecat = slung["exit-1"].rig, slung["exit-1"].polecat
    polecat.tells("Stuck", "AgentExitCode", "exit status 1", f"logs polecat-{polecat.name} -c agent")
    checkpoint = polecat.ref("wip")
    assert rig.files("refs/heads/polecat/exit-1") == {"README.md", "work.txt"}
    assert rig.files(checkpoint) == {"README.md", "work.txt", "half.txt"}
    assert polecat.ref("done") not in rig.refs


def test_no_commit_is_no_success(slung: dict[str, Slung]) -> None:
    polecat = slung["no-changes"].polecat
    status = polecat.tells("Stuck", "NoChanges", "changed nothing", "spec.allowNoChanges")
    assert "headCommit" not in status


def test_no_commit_is_success_where_it_is_allowed(slung: dict[str, Slung]) -> None:
    slung["nothing-to-do"].polecat.tells("Done", "NoChanges", "spec.allowNoChanges")


def test_what_the_agent_left_uncommitted_is_committed(slung: dict[str, Slung], git: GitServer) -> None:
    rig, polecat = slung["uncommitted"].rig, slung["uncommitted"].polecat
    status = polecat.tells("Done", "Done", "polecat/uncommitted")
    assert status["commits"] == 1
    message = git.git(rig.repository, "log", "-1", "--format=%B", status["headCommit"])
    assert message.startswith("Do what uncommitted is for.")
    assert f"Polecat: {polecat.namespace}/{polecat.name}" in message


def test_files_of_a_nested_repository_are_on_the_branch(slung: dict[str, Slung]) -> None:
    rig, polecat = slung["nested"].rig, slung["nested"].polecat
    status = polecat.tells("Done", "Done", "polecat/nested")
    assert rig.files(status["headCommit"]) == {"README.md", "outer.txt", "vendored/inner.txt"}


def test_a_branch_that_the_server_refuses_is_kept_beside(slung: dict[str, Slung]) -> None:
    rig, polecat = slung["unwelcome"].rig, slung["unwelcome"].polecat
    checkpoint = polecat.ref("wip")
    polecat.tells("Stuck", "PushRejected", "branches of polecats are not welcome", checkpoint, "workBranch")
    assert "refs/heads/polecat/unwelcome" not in rig.refs
    assert rig.files(checkpoint) == {"README.md", "work.txt"}


def test_work_that_the_server_takes_under_no_name_is_in_the_keeper_s_log(
    site: Site, slung: dict[str, Slung], tmp_path: Path
) -> None:
    rig, polecat = slung["closed"].rig, slung["closed"].polecat
    polecat.tells(
        "Stuck",
        "PushRejected",
        "this repository is closed",
        "refs/gastown/wip/",
        "logs polecat-closed -c keeper",
    )
    assert set(rig.refs) == {"refs/heads/main"}
    log = site.cluster.log(rig.namespace, "polecat-closed", "keeper").splitlines()
    begin, end = (
        next(number for number, line in enumerate(log) if line.startswith(mark)) for mark in (BEGIN, END)
    )
    bundle = tmp_path / "work.bundle"
    bundle.write_bytes(base64.b64decode("".join(log[begin + 1 : end])))
    site.git.git(rig.repository, "fetch", "--quiet", str(bundle), f"{REF}:refs/heads/got-back")
    assert rig.files("refs/heads/got-back") == {"README.md", "work.txt"}


def test_a_server_that_takes_branches_alone_gets_the_branch(slung: dict[str, Slung]) -> None:
    rig, polecat = slung["branches-only"].rig, slung["branches-only"].polecat
    status = polecat.tells("Done", "Done", "polecat/branches-only")
    assert rig.refs["refs/heads/polecat/branches-only"] == status["headCommit"]
