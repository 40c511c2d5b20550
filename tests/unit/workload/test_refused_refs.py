"""Servers that take some refs and not others: what can be saved is saved, and what is lost is said."""

from gastown_operator.workload.message import Outcome
from tests.unit.workload.attempts import Attempts, RemoteRepository

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


def test_what_no_ref_can_hold_is_called_lost(attempts: Attempts, remote_repository: RemoteRepository) -> None:
    remote_repository.hook("update", NOTHING)
    attempt = attempts()
    attempt.clone()
    attempt.agent({"a.txt": "a\n"}, "All of it")

    message = attempt.end(0)

    assert (message.outcome, message.reason, message.checkpoint) == (Outcome.CONFIG_ERROR, "PushRejected", "")
    assert "is lost" in message.message
    assert "refs/gastown" in message.message
