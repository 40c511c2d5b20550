"""Work that is easily lost: beside HEAD, too large for the server, from two pods at once, or at a push whose answer was lost."""

import contextlib
import os
import shutil
import signal
import time

import attrs
import pytest

from gastown_operator.workload.message import Outcome
from gastown_operator.workload.signals import EndComesError, Wakeups
from tests.unit.workload.attempts import Attempt, Attempts, RemoteRepository, git

WORK = "refs/heads/polecat/toast"
CHECKPOINT = "refs/gastown/wip/0b7c2f2e-aaaa/1"
DONE = "refs/gastown/done/0b7c2f2e-aaaa/1"
NO_LARGE_FILES = """while read old new ref; do
git rev-list --objects $new --not --all | cut -d' ' -f1 | git cat-file --batch-check='%(objectsize)' \
| awk '$1 > 200000 {exit 1}' || { echo 'File exceeds the limit' >&2; exit 1; }; done"""


def test_leftovers_that_the_server_refuses_cost_no_commit(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    remote_repository.hook("pre-receive", NO_LARGE_FILES)
    attempt = attempts()
    attempt.clone()
    head = attempt.agent({"a.txt": "a\n"}, "Work")
    (attempt.repository / "core.1234").write_bytes(os.urandom(300_000))

    message = attempt.end(0)

    assert (message.outcome, message.reason) == (Outcome.CONFIG_ERROR, "LeftoversRejected")
    assert (message.pushed, message.branch, message.head) == (True, "polecat/toast", head)
    assert remote_repository.refs()[WORK] == head
    assert DONE not in remote_repository.refs()
    assert "kubectl logs POD -c keeper" in message.message


def test_leftovers_that_cannot_be_read_cost_no_commit(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts()
    attempt.clone()
    head = attempt.agent({"a.txt": "a\n"}, "Work")
    keeper = attempt.keeper()
    shutil.rmtree(attempt.root / "scratch")
    (attempt.root / "scratch").write_text("no directory\n")
    (attempt.repository / "b.txt").write_text("b\n")
    (attempt.hints / "exit").write_text("code=0 stopped=no\n")

    with Ended(()) as wakeups:
        message = keeper.run(wakeups)

    assert (message.outcome, message.reason) == (Outcome.CONFIG_ERROR, "LeftoversNotSaved")
    assert (message.pushed, message.head) == (True, head)
    assert remote_repository.refs()[WORK] == head
    assert DONE not in remote_repository.refs()


def test_commits_are_kept_where_neither_the_branch_is_taken_nor_the_leftovers_can_be_read(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    remote_repository.hook("update", 'case "$1" in refs/heads/*) echo closed >&2; exit 1;; esac')
    attempt = attempts()
    attempt.clone()
    head = attempt.agent({"a.txt": "a\n"}, "Work")
    keeper = attempt.keeper()
    (attempt.root / "scratch").rmdir()
    (attempt.root / "scratch").write_text("no directory\n")
    (attempt.repository / "b.txt").write_text("b\n")
    (attempt.hints / "exit").write_text("code=0 stopped=no\n")

    with Ended(()) as wakeups:
        message = keeper.run(wakeups)

    assert (message.reason, message.pushed, message.checkpoint) == ("PushRejected", False, head)
    assert remote_repository.refs()[CHECKPOINT] == head


class Ended(Wakeups):
    """The container is told to end."""

    def wait(self, seconds: float) -> set[signal.Signals]:
        """SIGTERM, at once."""
        del seconds
        return {signal.SIGTERM}


def test_a_push_whose_answer_was_lost_is_not_taken_for_somebody_elses(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    """The keeper was killed between its push and the answer, and starts again."""
    attempt = attempts()
    attempt.clone()
    attempt.agent({"b.txt": "b\n"})
    delivery = attempt.keeper()._delivery(lambda: 60.0)
    head = delivery._head(delivery.work.look())
    delivery.branch.put(head, {})

    message = attempt.end(0)

    refs = remote_repository.refs()
    assert (message.outcome, message.branch, refs[WORK]) == (Outcome.SUCCEEDED, "polecat/toast", head)
    assert refs[DONE] == head
    assert WORK + "-1" not in refs


def stash(attempt: Attempt) -> None:
    """The agent stashes its work."""
    attempt.agent({"src/app.py": "fixed\n"})
    git(attempt.repository, "stash")


def other_branch(attempt: Attempt) -> None:
    """The agent commits on a branch of its own and goes back."""
    git(attempt.repository, "checkout", "--quiet", "-b", "fix")
    attempt.agent({"src/app.py": "fixed\n"}, "Fix")
    git(attempt.repository, "checkout", "--quiet", "polecat/toast")


def worktree(attempt: Attempt) -> None:
    """The agent commits in a linked worktree, on no branch."""
    beside = attempt.root / "beside"
    git(attempt.repository, "worktree", "add", "--quiet", "--detach", str(beside))
    (beside / "src" / "app.py").write_text("fixed\n")
    git(beside, "commit", "--quiet", "--all", "--message", "Fix")


@pytest.mark.parametrize(
    ("work", "where"),
    [(stash, "the stash"), (other_branch, "branch fix"), (worktree, "worktree beside")],
    ids=["stash", "branch", "worktree"],
)
def test_work_beside_the_branch_is_kept_and_named(
    attempts: Attempts, remote_repository: RemoteRepository, work: object, where: str
) -> None:
    attempt = attempts()
    attempt.clone()
    assert callable(work)
    work(attempt)

    message = attempt.end(0)

    assert (message.outcome, message.reason) == (Outcome.CONFIG_ERROR, "WorkElsewhere")
    assert where in message.message
    refs = remote_repository.refs()
    assert DONE not in refs
    parents = git(remote_repository.path, "show", "-s", "--format=%P", refs[CHECKPOINT]).split()
    assert any(remote_repository.files(parent)["src/app.py"] == "fixed" for parent in parents[1:])
    again = attempts()
    assert again.clone().start == parents[0]


def test_commits_once_saved_stay_saved(attempts: Attempts, remote_repository: RemoteRepository) -> None:
    attempt = attempts()
    attempt.clone()
    keeper = attempt.keeper()
    head = attempt.agent({"a.txt": "a\n"}, "Work")
    keeper._checkpoint()
    git(attempt.repository, "reset", "--quiet", "--hard", "HEAD^")
    attempt.agent({"b.txt": "b\n"})

    keeper._checkpoint()

    checkpoint = remote_repository.refs()[CHECKPOINT]
    assert head in git(remote_repository.path, "rev-list", checkpoint).split()


def test_an_attempt_that_was_cut_off_does_not_overwrite_its_successors_checkpoint(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    old = attempts()
    old.clone()
    old.agent({"old.txt": "old\n"})
    old_keeper = old.keeper()
    old_keeper._checkpoint()
    new = attempts()
    new.clone()
    new.agent({"new.txt": "two hours of work\n"})
    new.keeper()._checkpoint()
    old.agent({"old.txt": "older\n"})

    old_keeper._checkpoint()

    assert "new.txt" in remote_repository.files(CHECKPOINT)
    assert remote_repository.files(f"{CHECKPOINT}-1-late")["old.txt"] == "older"
    third = attempts()
    third.clone()
    assert (third.repository / "new.txt").exists()


def test_an_attempt_goes_beside_a_predecessor_that_still_saves(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    old = attempts()
    old.clone()
    old.agent({"old.txt": "old\n"})
    old_keeper = old.keeper()
    old_keeper._checkpoint()
    new = attempts()
    new.clone()
    new.agent({"new.txt": "new\n"})
    old.agent({"old.txt": "older\n"})
    old_keeper._checkpoint()

    new.keeper()._checkpoint()

    assert "new.txt" in remote_repository.files(f"{CHECKPOINT}-2")
    third = attempts()
    third.clone()
    assert (third.repository / "new.txt").exists()


def test_somebody_elses_branch_is_no_success_of_an_agent_that_did_nothing(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    remote_repository.commit("polecat/toast", {"theirs.txt": "theirs\n"}, "Theirs")
    attempt = attempts()
    attempt.clone()

    message = attempt.end(0)

    assert message.outcome is Outcome.NO_CHANGES
    assert "had 1 commits before" in message.message
    again = attempts()
    again.clone()
    assert again.end(0).outcome is Outcome.NO_CHANGES


def test_work_of_an_earlier_attempt_is_a_success_of_the_next(attempts: Attempts) -> None:
    first = attempts()
    first.clone()
    head = first.agent({"a.txt": "a\n"}, "All of it")
    first.end(1)
    second = attempts()
    second.clone()

    message = second.end(0)

    assert (message.outcome, message.head, message.commits) == (Outcome.SUCCEEDED, head, 1)


def test_a_clone_that_was_moved_away_is_reported(attempts: Attempts) -> None:
    attempt = attempts()
    attempt.clone()
    attempt.agent({"a.txt": "a\n"}, "Work")
    keeper = attempt.keeper()
    keeper._checkpoint()
    attempt.repository.rename(attempt.root / "elsewhere")

    keeper._checkpoint()
    with Ended(()) as wakeups:
        message = keeper.run(wakeups)

    assert (message.pushed, message.branch) == (True, "polecat/toast")
    assert "could not be read" in message.message


def test_the_deadline_counts_from_the_clone(attempts: Attempts) -> None:
    attempt = attempts(deadline=600)
    attempt.record = attrs.evolve(attempt.clone(), cloned_at=1000.0)
    keeper = attempt.keeper(lambda: 50.0)
    keeper = attrs.evolve(keeper, wall=lambda: 1500.0)

    assert keeper._deadline() == 150.0


def test_the_time_of_the_signal_counts_and_breaks_off_what_may_be_broken_off() -> None:
    with Wakeups((signal.SIGTERM,)) as wakeups:
        before = time.monotonic()
        with pytest.raises(EndComesError), wakeups.breaking_off():
            os.kill(os.getpid(), signal.SIGTERM)
        assert wakeups.end_came_at is not None
        assert wakeups.end_came_at >= before
        assert wakeups.wait(0) == {signal.SIGTERM}
        with pytest.raises(EndComesError), wakeups.breaking_off(), contextlib.nullcontext():
            pass


def test_more_branches_than_a_checkpoint_keeps_are_told(attempts: Attempts) -> None:
    attempt = attempts()
    attempt.clone()
    for number in range(18):
        git(attempt.repository, "checkout", "--quiet", "-b", f"try-{number}", "origin/main")
        attempt.agent({"x.txt": f"{number}\n"}, "Try")
    git(attempt.repository, "checkout", "--quiet", "polecat/toast")

    message = attempt.end(1)

    assert "; the newest of 2 other branches or submodules could not all be saved" in message.message
