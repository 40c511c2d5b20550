"""Servers that take some refs and not others: what can be saved is saved, and what is lost is said."""

import os
import subprocess

from gastown_operator.workload.message import Outcome
from gastown_operator.workload.salvage import MAXIMUM_BYTES
from tests.unit.workload.attempts import Attempt, Attempts, RemoteRepository, git

WORK = "refs/heads/polecat/toast"
ONLY_BRANCHES = 'case "$1" in refs/heads/*) ;; *) echo "branches only" >&2; exit 1;; esac'
NOTHING = 'echo "closed" >&2; exit 1'


def test_a_server_that_takes_branches_alone_gets_the_branch(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    remote_repository.hook("update", ONLY_BRANCHES)
    attempt = attempts()
    attempt.clone()
    head = attempt.agent({"a.txt": "a\n"}, "All of it")

    message = attempt.end(0)

    assert (message.outcome, message.pushed, message.branch) == (Outcome.SUCCEEDED, True, "polecat/toast")
    assert remote_repository.refs()[WORK] == head


def test_commits_of_a_failed_agent_reach_a_server_that_takes_no_checkpoints(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    remote_repository.hook("update", ONLY_BRANCHES)
    attempt = attempts()
    attempt.clone()
    head = attempt.agent({"a.txt": "a\n"}, "Half of it")
    (attempt.repository / "b.txt").write_text("the other half\n")

    message = attempt.end(1)

    assert remote_repository.refs()[WORK] == head
    assert (message.outcome, message.reason) == (Outcome.CONFIG_ERROR, "CheckpointRejected")
    assert (message.pushed, message.branch, message.checkpoint) == (True, "polecat/toast", "")
    assert "not committed" in message.message
    assert "branches only" in message.message


def test_a_failed_agent_without_uncommitted_changes_loses_nothing_by_a_refused_checkpoint(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    remote_repository.hook("update", ONLY_BRANCHES)
    attempt = attempts()
    attempt.clone()
    head = attempt.agent({"a.txt": "a\n"}, "Half of it")

    message = attempt.end(1)

    assert (message.outcome, message.pushed) == (Outcome.AGENT_ERROR, True)
    assert remote_repository.refs()[WORK] == head


def recovered(attempt: Attempt, remote_repository: RemoteRepository) -> dict[str, str]:
    """Files that somebody gets back from the keeper's log, by the commands that its documentation names."""
    somebody = remote_repository.path.parent / "somebody"
    log = remote_repository.path.parent / "keeper.log"
    log.write_text(attempt.log.getvalue())
    sed = "sed -n '/^BEGIN GIT BUNDLE/,/^END GIT BUNDLE/p' | sed '1d;$d' | base64 -d"
    subprocess.run(["/bin/sh", "-c", f"cat {log} | {sed} >work.bundle"], check=True, cwd=somebody)
    git(somebody, "fetch", "--quiet", "work.bundle", "refs/salvaged/work:work")
    names = git(somebody, "ls-tree", "-r", "--name-only", "work").splitlines()
    return {name: git(somebody, "show", f"work:{name}") for name in names}


def test_what_no_ref_can_hold_is_in_the_log_of_the_keeper(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    remote_repository.hook("update", NOTHING)
    attempt = attempts()
    attempt.clone()
    attempt.agent({"a.txt": "a\n"}, "All of it")

    message = attempt.end(0)

    assert (message.outcome, message.reason, message.checkpoint) == (Outcome.CONFIG_ERROR, "PushRejected", "")
    assert "kubectl logs POD -c keeper" in message.message
    assert "refs/gastown" in message.message
    assert recovered(attempt, remote_repository)["a.txt"] == "a"


def test_uncommitted_work_of_a_failed_agent_is_in_the_log_too(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    remote_repository.hook("update", ONLY_BRANCHES)
    attempt = attempts()
    attempt.clone()
    attempt.agent({"a.txt": "a\n"}, "Half of it")
    (attempt.repository / "b.txt").write_text("the other half\n")

    attempt.end(1)

    assert recovered(attempt, remote_repository)["b.txt"] == "the other half"


def test_what_is_too_large_for_a_log_is_called_lost(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    remote_repository.hook("update", NOTHING)
    attempt = attempts()
    attempt.clone()
    (attempt.repository / "large").write_bytes(os.urandom(MAXIMUM_BYTES + 1))

    message = attempt.end(0)

    assert "is lost" in message.message
    assert attempt.log.getvalue() == ""
