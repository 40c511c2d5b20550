"""Clones that leave history out: when they do, and that everything goes on from them as from a complete one."""

import os
import shutil
from pathlib import Path

import pytest

from gastown_operator.workload.credentials import Access
from gastown_operator.workload.message import Outcome
from gastown_operator.workload.refs import RecoveryRefs
from tests.unit.workload.attempts import Attempt, Attempts, RemoteRepository, git

WORK = "refs/heads/polecat/toast"
#: In the place of ssh: stands still once, in the midst of a transfer, so that this does not end before it is looked at.
STANDING_LINE = """\
#!/bin/sh
shift $(($# - 1))
sh -c "$1" | python3 -c 'import os, pathlib, time
stood, passed = pathlib.Path("{stood}"), 0
while chunk := os.read(0, 1 << 16):
    os.write(1, chunk)
    passed += len(chunk)
    if passed > 2_000_000 and not stood.exists():
        stood.touch()
        time.sleep(60)'
"""


@pytest.fixture
def old(remote_repository: RemoteRepository) -> RemoteRepository:
    """A remote with 122 commits on main, and a tag on one of them."""
    remote_repository.grow("main", 120)
    git(remote_repository.path, "tag", "v1", "main~3")
    return remote_repository


def _shallow(attempts: Attempts, **changes: object) -> Attempt:
    attempt = attempts(full_clone_limit=1, **changes)
    attempt.clone(patience=0)
    return attempt


def _is_shallow(attempt: Attempt) -> bool:
    return (attempt.repository / ".git" / "shallow").exists()


def _commits(attempt: Attempt, revision: str = "HEAD") -> int:
    return int(git(attempt.repository, "rev-list", "--count", revision))


@pytest.mark.parametrize("limit", [0, 100])
def test_history_is_complete_without_a_limit_and_below_it(
    attempts: Attempts, old: RemoteRepository, limit: int
) -> None:
    attempt = attempts(full_clone_limit=limit)
    attempt.clone()

    assert (_is_shallow(attempt), _commits(attempt)) == (False, 122)
    assert git(attempt.repository, "describe", "--tags") == "v1-3-g" + git(
        old.path, "rev-parse", "--short=7", "main"
    )


def test_history_is_left_out_above_the_limit(
    attempts: Attempts, old: RemoteRepository, tmp_path: Path
) -> None:
    old.commit("main", {"large.txt": os.urandom(3_000_000).hex()}, "A large file")
    line = tmp_path / "a-line"
    line.write_text(STANDING_LINE.format(stood=tmp_path / "stood"))
    line.chmod(0o755)
    attempts.access = Access({"GIT_SSH_COMMAND": str(line), "GIT_SSH_VARIANT": "simple"}, {})

    attempt = attempts(full_clone_limit=1, repository=f"ssh://git.example.invalid{old.path}")
    attempt.clone()

    assert (_is_shallow(attempt), _commits(attempt)) == (True, 50)
    assert (attempt.repository / "large.txt").stat().st_size == 6_000_000


def test_a_shallow_clone_has_every_content_and_does_what_agents_do_with_history(
    attempts: Attempts, old: RemoteRepository
) -> None:
    del old
    attempt = _shallow(attempts)
    repository = attempt.repository

    assert _is_shallow(attempt)
    assert not git(repository, "rev-list", "--objects", "--missing=print", "--all").count("?")
    assert git(repository, "log", "-p", "-40").count("diff --git") == 40
    assert len(git(repository, "blame", "grown/3.txt").splitlines()) == 1
    assert git(repository, "describe", "--tags").startswith("v1-3-g")
    git(repository, "checkout", "--quiet", "HEAD~2")
    git(repository, "checkout", "--quiet", "-")
    git(repository, "revert", "--no-edit", "HEAD~5..HEAD~3")
    git(repository, "fsck", "--no-dangling")


@pytest.mark.parametrize("code", [0, 1])
def test_work_on_a_shallow_clone_is_counted_pushed_and_proven(
    attempts: Attempts, old: RemoteRepository, code: int
) -> None:
    attempt = _shallow(attempts)
    attempt.agent({"a.txt": "a\n"}, "One")
    head = attempt.agent({"a.txt": "b\n"}, "Two")
    attempt.agent({"c.txt": "left\n"})

    message = attempt.end(code)

    assert (message.pushed, message.commits) == (True, 3 if code == 0 else 2)
    assert git(old.path, "rev-parse", f"{WORK}~1" if code == 0 else WORK) == head
    assert git(old.path, "rev-list", "--count", WORK) == str(122 + message.commits)
    git(old.path, "fsck", "--no-dangling", "--connectivity-only")
    assert not (old.path / "shallow").exists()


def test_work_on_a_shallow_clone_goes_on_from_a_checkpoint(attempts: Attempts, old: RemoteRepository) -> None:
    first = _shallow(attempts)
    head = first.agent({"a.txt": "a\n"}, "One")
    first.agent({"b.txt": "unfinished\n"})
    first.end(1)
    old.grow("main", 5)

    second = _shallow(attempts, refs=RecoveryRefs("refs/gastown", "0b7c2f2e-aaaa", 1))

    assert second.record is not None
    assert (second.record.resumed, second.record.start) == ("checkpoint", head)
    assert (second.repository / "b.txt").read_text() == "unfinished\n"
    message = second.end(0)
    assert (message.outcome, message.commits) == (Outcome.SUCCEEDED, 2)


@pytest.mark.parametrize("behind", [60, 121])
def test_as_much_history_comes_as_it_takes_to_count_the_commits_of_a_branch(
    attempts: Attempts, old: RemoteRepository, behind: int
) -> None:
    git(old.path, "branch", "polecat/toast", f"main~{behind}")
    old.commit("polecat/toast", {"early.txt": "early\n"}, "An early commit")
    old.grow("polecat/toast", 55)

    attempt = _shallow(attempts)

    assert git(attempt.repository, "rev-list", "--count", "origin/main..HEAD") == "56"
    attempt.agent({"a.txt": "a\n"}, "One")
    message = attempt.end(0)
    assert (message.branch, message.commits) == ("polecat/toast", 57)


def test_what_an_agent_writes_into_its_own_list_of_ends_is_not_believed(
    attempts: Attempts, old: RemoteRepository
) -> None:
    attempt = _shallow(attempts)
    head = attempt.agent({"a.txt": "a\n"}, "One")
    (attempt.repository / ".git" / "shallow").write_text(f"{head}\n")
    assert _commits(attempt) == 1

    message = attempt.end(0)

    assert (message.outcome, message.commits) == (Outcome.SUCCEEDED, 1)
    assert git(old.path, "rev-list", "--count", WORK) == "123"


def test_an_agent_that_fetches_the_rest_of_history_changes_nothing(
    attempts: Attempts, old: RemoteRepository
) -> None:
    attempt = _shallow(attempts)
    git(attempt.repository, "fetch", "--quiet", "--unshallow", str(old.path))
    attempt.agent({"a.txt": "a\n"}, "One")

    message = attempt.end(0)

    assert (message.outcome, message.commits) == (Outcome.SUCCEEDED, 1)


def test_work_on_a_shallow_clone_survives_the_loss_of_its_git_directory(
    attempts: Attempts, old: RemoteRepository
) -> None:
    attempt = _shallow(attempts)
    attempt.agent({"a.txt": "a\n"})
    shutil.rmtree(attempt.repository / ".git")

    message = attempt.end(0)

    assert (message.outcome, message.commits, message.pushed) == (Outcome.SUCCEEDED, 1, True)
    assert git(old.path, "rev-list", "--count", WORK) == "123"


def test_a_round_that_is_done_is_found_by_a_shallow_clone_too(
    attempts: Attempts, old: RemoteRepository
) -> None:
    del old
    first = _shallow(attempts)
    first.agent({"a.txt": "a\n"}, "One")
    first.end(0)

    message = _shallow(attempts).end(None)

    assert (message.outcome, message.commits) == (Outcome.SUCCEEDED, 1)


def test_other_branches_are_left_out(attempts: Attempts, remote_repository: RemoteRepository) -> None:
    remote_repository.commit("somebody-elses", {"x.txt": "x\n"}, "Not needed")
    attempt = attempts()
    attempt.clone()

    names = git(attempt.repository, "for-each-ref", "--format=%(refname)").splitlines()

    assert names == ["refs/heads/polecat/toast", "refs/remotes/origin/main"]
