"""What a branch cannot hold: contents of git-lfs, and files in submodules."""

import os
from pathlib import Path

from gastown_operator.workload.message import Outcome
from tests.unit.workload.attempts import Attempts, EndedAtOnce, RemoteRepository, git
from tests.unit.workload.beside import ATTRIBUTES, CHECKPOINT, beside, keep, pointer, with_submodule

WORK = "refs/heads/polecat/toast"


def test_pointers_are_kept_as_pointers_and_contents_that_were_pulled_are_no_change(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    remote_repository.commit("main", {".gitattributes": ATTRIBUTES, "a.bin": pointer(b"large")}, "With lfs")
    attempt = attempts()
    attempt.clone()
    keep(attempt, b"large")
    (attempt.repository / "a.bin").write_bytes(b"large")

    message = attempt.end(0)

    assert (message.outcome, message.commits) == (Outcome.NO_CHANGES, 0)


def test_new_contents_are_beside_the_branch_which_has_their_pointers(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    remote_repository.commit("main", {".gitattributes": ATTRIBUTES, "a.bin": pointer(b"large")}, "With lfs")
    attempt = attempts()
    attempt.clone()
    kept = keep(attempt, b"made here")
    (attempt.repository / "b.bin").write_bytes(b"made here")
    keep(attempt, b"large")

    message = attempt.end(0)

    assert remote_repository.files(WORK)["b.bin"] == pointer(b"made here").strip()
    assert "1 objects of git-lfs is not on the branch and is kept under refs/gastown/wip" in message.message
    name = kept.relative_to(attempt.repository / ".git/lfs").as_posix()
    assert beside(remote_repository)["Contents of git-lfs"] == {name: "made here"}


def test_what_git_lfs_never_saw_is_committed_as_it_is(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    remote_repository.commit("main", {".gitattributes": ATTRIBUTES}, "With lfs")
    attempt = attempts()
    attempt.clone()
    attempt.agent({"c.bin": "content without git-lfs\n"})

    attempt.end(0)

    assert remote_repository.files(WORK)["c.bin"] == "content without git-lfs"


def test_a_submodule_that_was_only_checked_out_is_no_change(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path
) -> None:
    attempt = with_submodule(attempts, remote_repository, tmp_path)
    attempt.agent({"lib/build/output": "ignored there\n"})

    assert attempt.end(0).outcome is Outcome.NO_CHANGES


def test_changes_in_a_submodule_are_beside_the_branch_which_keeps_its_commit(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path
) -> None:
    attempt = with_submodule(attempts, remote_repository, tmp_path)
    attempt.agent({"lib/lib.txt": "changed\n", "lib/new.txt": "new\n", "own.txt": "own\n"})

    message = attempt.end(0)

    assert message.outcome is Outcome.SUCCEEDED
    assert "the submodule 'lib' is not on the branch and is kept" in message.message
    recorded = git(remote_repository.path, "rev-parse", "main:lib", f"{WORK}:lib").split()
    assert recorded[0] == recorded[1]
    saved = beside(remote_repository)["Files of the submodule 'lib'"]
    assert saved == {".gitignore": "build/", "lib.txt": "changed", "new.txt": "new"}


def test_commits_in_a_submodule_are_saved_as_files(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path
) -> None:
    attempt = with_submodule(attempts, remote_repository, tmp_path)
    attempt.agent({"lib/lib.txt": "changed\n"})
    git(attempt.repository / "lib", "commit", "--quiet", "--all", "--message", "Inner")
    attempt.agent({}, "Move the library on")

    message = attempt.end(0)

    assert (message.outcome, message.commits) == (Outcome.SUCCEEDED, 1)
    assert beside(remote_repository)["Files of the submodule 'lib'"]["lib.txt"] == "changed"


def test_a_submodule_that_cannot_be_looked_into_costs_itself_alone_and_is_named(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path
) -> None:
    attempt = with_submodule(attempts, remote_repository, tmp_path)
    attempt.agent({"lib/new.txt": "older\n"})
    keeper = attempt.keeper()
    keeper._checkpoint()
    attempt.agent({"lib/new.txt": "new\n"})
    keep(attempt, b"made here")
    git(attempt.repository / "lib", "init", "--quiet", "nested")
    trap = attempt.repository / "lib" / "nested" / ".git" / "HEAD"
    trap.unlink()
    os.mkfifo(trap)
    (attempt.hints / "exit").write_text("code=0 stopped=no\n")
    keeper.work.snapshots.list_timeout = 5
    # The agent holds it open, so that git is never released from it.
    with trap.open("r+b", buffering=0), EndedAtOnce(()) as wakeups:
        message = keeper.run(wakeups)

    assert "; the newest of the submodule 'lib' could not all be saved" in message.message
    saved = beside(remote_repository)
    assert set(saved) == {"Contents of git-lfs", "Files of the submodule 'lib'"}
    assert saved["Files of the submodule 'lib'"]["new.txt"] == "older"


def test_a_checkpoint_keeps_one_version_of_what_is_beside_it(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path
) -> None:
    attempt = with_submodule(attempts, remote_repository, tmp_path)
    keeper = attempt.keeper()
    for number in range(3):
        attempt.agent({"lib/new.txt": f"{number}\n"})
        keeper._checkpoint()

    _, *others = git(remote_repository.path, "rev-parse", f"{CHECKPOINT}^@").split()
    assert [git(remote_repository.path, "show", f"{it}:new.txt") for it in others] == ["2"]
