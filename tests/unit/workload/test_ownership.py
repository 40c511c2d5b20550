"""What says whose recovery refs are: there with the first of them, moved by nobody, and never a reason for a push to fail."""

import attrs
import pytest

from gastown_operator.workload.message import Outcome
from gastown_operator.workload.refs import RecoveryRefs
from tests.unit.workload.attempts import Attempt, Attempts, RemoteRepository

REFS = RecoveryRefs("refs/gastown", "workers/key", 1)
OWNER = "refs/gastown/rig/rig-uid/workers/key"
WORK = "refs/heads/polecat/toast"
NO_OWNERS = 'case "$1" in refs/gastown/rig/*) echo "what is this" >&2; exit 1;; esac'
NO_OWNERS_AT_ALL = "while read -r old new ref; do case $ref in refs/gastown/rig/*) exit 1;; esac; done"


def of_rig(attempts: Attempts, **changes: object) -> Attempt:
    """An attempt in the repository of a rig that keeps house there."""
    attempt = attempts(refs=REFS, rig="rig-uid", **changes)
    attempt.clone()
    return attempt


def test_the_owner_comes_with_the_done_ref_in_one_push(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    pushes = remote_repository.path / "pushes"
    remote_repository.hook("post-receive", f"cat >> {pushes}; echo end >> {pushes}")
    attempt = of_rig(attempts)
    head = attempt.agent({"a.txt": "a\n"}, "All of it")

    assert attempt.end(0).outcome is Outcome.SUCCEEDED

    assert remote_repository.refs()[OWNER] == head
    assert pushes.read_text().count("end") == 1
    assert {line.split()[2] for line in pushes.read_text().splitlines() if line != "end"} == {
        OWNER,
        REFS.done,
        WORK,
    }


def test_the_owner_comes_with_the_first_checkpoint_and_stays_as_it_is(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = of_rig(attempts)
    (attempt.repository / "a.txt").write_text("a\n")
    attempt.end(1)
    first = remote_repository.refs()
    assert first[OWNER] == first[REFS.checkpoint]

    again = of_rig(attempts)
    assert again.record is not None
    assert again.record.owned
    again.agent({"b.txt": "b\n"}, "The rest")
    assert again.end(0).outcome is Outcome.SUCCEEDED
    assert remote_repository.refs()[OWNER] == first[OWNER]


def test_the_mark_of_a_run_without_changes_has_an_owner_too(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    assert of_rig(attempts).end(0).outcome is Outcome.NO_CHANGES
    assert {OWNER, REFS.done} <= remote_repository.refs().keys()


def test_there_is_none_in_a_repository_that_is_not_the_rigs(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = of_rig(attempts, round=1)
    attempt.settings = attrs.evolve(attempt.settings, rig="")
    attempt.agent({"a.txt": "a\n"}, "All of it")
    assert attempt.end(0).outcome is Outcome.SUCCEEDED
    assert REFS.done in remote_repository.refs()
    assert not any("/rig/" in name for name in remote_repository.refs())


@pytest.mark.parametrize(("hook", "text"), [("update", NO_OWNERS), ("pre-receive", NO_OWNERS_AT_ALL)])
def test_a_server_that_refuses_the_owner_gets_checkpoint_branch_and_done_ref_all_the_same(
    attempts: Attempts, remote_repository: RemoteRepository, hook: str, text: str
) -> None:
    remote_repository.hook(hook, text)
    failed = of_rig(attempts)
    (failed.repository / "a.txt").write_text("half\n")
    message = failed.end(1)
    assert message.outcome is Outcome.AGENT_ERROR
    assert remote_repository.refs()[REFS.checkpoint] == message.checkpoint

    done = of_rig(attempts)
    head = done.agent({"b.txt": "all\n"}, "All of it")
    assert done.end(0).outcome is Outcome.SUCCEEDED
    found = remote_repository.refs()
    assert (found[WORK], found[REFS.done]) == (head, head)
    assert OWNER not in found
