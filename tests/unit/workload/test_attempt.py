"""What becomes of an agent's work, from clone to the keeper's last message, on a real git remote."""

import os
import shutil
from pathlib import Path

import pytest

from gastown_operator.workload.errors import AttemptError
from gastown_operator.workload.message import Outcome
from gastown_operator.workload.refs import RecoveryRefs
from tests.unit.workload.attempts import Attempts, RemoteRepository, git

WORK = "refs/heads/polecat/toast"
CHECKPOINT = "refs/gastown/wip/0b7c2f2e-aaaa/1"
DONE = "refs/gastown/done/0b7c2f2e-aaaa/1"


def test_commits_of_the_agent_are_pushed_and_proven(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts()
    record = attempt.clone()
    head = attempt.agent({"src/app.py": "print('hello')\n"}, "Say hello")

    message = attempt.end(0)

    assert (message.outcome, message.pushed, message.branch) == (Outcome.SUCCEEDED, True, "polecat/toast")
    assert (message.base, message.head, message.commits) == (record.base, head, 1)
    refs = remote_repository.refs()
    assert refs[WORK] == head
    assert refs[DONE] == head


def test_what_the_agent_left_uncommitted_is_committed_for_it(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts()
    attempt.clone()
    attempt.agent({"src/app.py": "print('hello')\n", "new/file.txt": "new\n", "debug.log": "ignored\n"})
    (attempt.repository / "README.md").unlink()

    message = attempt.end(0)

    assert (message.outcome, message.pushed, message.commits) == (Outcome.SUCCEEDED, True, 1)
    assert sorted(remote_repository.files(WORK)) == [".gitignore", "new/file.txt", "src/app.py"]
    assert git(remote_repository.path, "show", "-s", "--format=%B", WORK).splitlines() == [
        "Fix the greeting",
        "",
        "Polecat: gastown-workers/toast",
        "Bead: gt-1",
    ]


def test_an_agent_that_changed_nothing_is_no_changes(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts()
    attempt.clone()

    message = attempt.end(0)

    assert (message.outcome, message.pushed, message.commits) == (Outcome.NO_CHANGES, False, 0)
    assert WORK not in remote_repository.refs()


def test_a_failed_agent_keeps_its_commits_on_the_branch_and_the_rest_in_the_checkpoint(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts()
    attempt.clone()
    head = attempt.agent({"a.txt": "a\n"}, "Half of it")
    attempt.agent({"b.txt": "b\n"})

    message = attempt.end(1)

    assert (message.outcome, message.reason) == (Outcome.AGENT_ERROR, "AgentExitCode")
    refs = remote_repository.refs()
    assert refs[WORK] == head
    assert DONE not in refs
    assert remote_repository.files(CHECKPOINT)["b.txt"] == "b"


def test_the_next_attempt_starts_where_the_failed_one_ended(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    first = attempts()
    first.clone()
    head = first.agent({"a.txt": "a\n"}, "Half of it")
    first.agent({"b.txt": "b\n"})
    first.end(1)

    second = attempts()
    record = second.clone()

    assert (record.resumed, record.start) == ("checkpoint", head)
    assert git(second.repository, "rev-parse", "HEAD") == head
    assert git(second.repository, "status", "--porcelain") == "?? b.txt"
    second.agent({}, "The other half")
    message = second.end(0)
    assert (message.outcome, message.commits, message.branch) == (Outcome.SUCCEEDED, 2, "polecat/toast")
    assert remote_repository.files(WORK)["b.txt"] == "b"


def test_a_retry_in_a_new_round_starts_from_the_last_rounds_checkpoint(attempts: Attempts) -> None:
    first = attempts()
    first.clone()
    first.agent({"b.txt": "b\n"})
    first.end(1)

    second = attempts(round=2)

    assert second.clone().resumed == "checkpoint"
    assert (second.repository / "b.txt").read_text() == "b\n"


def test_an_older_checkpoint_never_wins_over_newer_commits(attempts: Attempts) -> None:
    first = attempts()
    first.clone()
    first.agent({"a.txt": "draft\n"})
    first.keeper()._checkpoint()
    head = first.agent({"a.txt": "final\n"}, "All of it")
    first.end(1)

    second = attempts()
    record = second.clone()

    assert record.start == head
    assert (second.repository / "a.txt").read_text() == "final\n"


def test_a_round_that_is_done_already_is_reported_without_running_the_agent(attempts: Attempts) -> None:
    first = attempts()
    first.clone()
    head = first.agent({"a.txt": "a\n"}, "All of it")
    first.end(0)

    second = attempts()
    record = second.clone()

    assert record.done == head
    assert (second.control / "finished").exists()
    message = second.end(0)
    assert (message.outcome, message.head, message.branch, message.commits, message.pushed) == (
        Outcome.SUCCEEDED,
        head,
        "polecat/toast",
        1,
        True,
    )


def test_a_round_that_ended_without_changes_is_not_run_again_either(attempts: Attempts) -> None:
    first = attempts()
    first.clone()
    first.end(0)

    second = attempts()
    second.clone()

    assert second.end(0).outcome is Outcome.NO_CHANGES


def test_a_work_branch_that_exists_is_continued(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    theirs = remote_repository.commit("polecat/toast", {"theirs.txt": "theirs\n"}, "Theirs")
    attempt = attempts()

    record = attempt.clone()
    head = attempt.agent({"ours.txt": "ours\n"}, "Ours")
    message = attempt.end(0)

    assert (record.resumed, record.start) == ("branch", theirs)
    assert (message.branch, message.commits) == ("polecat/toast", 2)
    assert git(remote_repository.path, "rev-list", "--parents", "-n1", head).split()[1] == theirs


def test_a_branch_that_somebody_moved_meanwhile_is_left_alone(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts()
    attempt.clone()
    head = attempt.agent({"ours.txt": "ours\n"}, "Ours")
    theirs = remote_repository.commit("polecat/toast", {"theirs.txt": "theirs\n"}, "Theirs")

    message = attempt.end(0)

    refs = remote_repository.refs()
    assert refs[WORK] == theirs
    assert refs[WORK + "-1"] == head
    assert (message.outcome, message.branch, message.pushed) == (Outcome.SUCCEEDED, "polecat/toast-1", True)
    assert "moved by somebody else" in message.message


def test_names_beside_the_branch_are_told_apart_by_the_polecat_and_not_by_its_namespace(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts(refs=RecoveryRefs("refs/gastown", "ops/0b7c2f2e-aaaa", 1))
    attempt.clone()
    attempt.agent({"ours.txt": "ours\n"}, "Ours")
    for branch in ("polecat/toast", "polecat/toast-1"):
        remote_repository.commit(branch, {f"{branch[-1]}.txt": "theirs\n"}, "Theirs")

    assert attempt.end(0).branch == "polecat/toast-1-0b7c"


def test_an_agent_that_rewrote_a_continued_branch_does_not_overwrite_it(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    theirs = remote_repository.commit("polecat/toast", {"theirs.txt": "theirs\n"}, "Theirs")
    attempt = attempts()
    attempt.clone()
    git(attempt.repository, "reset", "--quiet", "--hard", "origin/main")
    attempt.agent({"ours.txt": "ours\n"}, "Ours")

    message = attempt.end(0)

    assert remote_repository.refs()[WORK] == theirs
    assert message.branch == "polecat/toast-1"


def test_a_push_that_the_server_refuses_keeps_the_work_under_the_checkpoint_ref(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    remote_repository.hook(
        "update", 'case "$1" in refs/heads/*) echo "branches are closed" >&2; exit 1;; esac'
    )
    attempt = attempts()
    attempt.clone()
    head = attempt.agent({"a.txt": "a\n"}, "All of it")

    message = attempt.end(0)

    assert (message.outcome, message.reason, message.pushed) == (Outcome.CONFIG_ERROR, "PushRejected", False)
    assert "branches are closed" in message.message
    assert remote_repository.refs()[CHECKPOINT] == head


def test_work_on_another_branch_or_a_detached_head_is_delivered(attempts: Attempts) -> None:
    attempt = attempts()
    attempt.clone()
    git(attempt.repository, "checkout", "--quiet", "--detach")
    head = attempt.agent({"a.txt": "a\n"}, "Detached")

    assert attempt.end(0).head == head


def test_commits_stay_delivered_when_the_agent_goes_back_to_the_base_branch(attempts: Attempts) -> None:
    attempt = attempts()
    attempt.clone()
    head = attempt.agent({"a.txt": "a\n"}, "Work")
    git(attempt.repository, "checkout", "--quiet", "main")

    message = attempt.end(0)

    assert (message.outcome, message.head) == (Outcome.SUCCEEDED, head)


def test_refs_that_git_packed_are_read(attempts: Attempts) -> None:
    attempt = attempts()
    attempt.clone()
    head = attempt.agent({"a.txt": "a\n"}, "Work")
    git(attempt.repository, "pack-refs", "--all")
    git(attempt.repository, "gc", "--quiet", "--prune=now")

    assert attempt.end(0).head == head


def test_the_work_survives_an_agent_that_deletes_its_git_directory(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts()
    attempt.clone()
    attempt.agent({"a.txt": "a\n"})
    shutil.rmtree(attempt.repository / ".git")

    message = attempt.end(0)

    assert (message.outcome, message.pushed) == (Outcome.SUCCEEDED, True)
    assert remote_repository.files(WORK)["a.txt"] == "a"
    assert remote_repository.files(WORK)["src/app.py"] == "print('hi')"


def test_nothing_that_the_agent_plants_in_its_configuration_is_run(
    attempts: Attempts, tmp_path: Path
) -> None:
    attempt = attempts()
    attempt.clone()
    trap = tmp_path / "trap"
    program = tmp_path / "trap.sh"
    program.write_text(f'#!/bin/sh\necho "$0 $*" >>{trap}\ncat\n')
    program.chmod(0o755)
    hooks = attempt.repository / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("pre-push", "pre-commit", "post-index-change", "reference-transaction", "post-checkout"):
        shutil.copy(program, hooks / hook)
    head = attempt.agent({".gitattributes": "* filter=trap diff=trap merge=trap\n", "a.txt": "a\n"})
    for key, value in {
        "core.sshCommand": str(program),
        "core.fsmonitor": str(program),
        "filter.trap.clean": str(program),
        "filter.trap.smudge": str(program),
        "filter.trap.process": str(program),
        "filter.trap.required": "true",
        "credential.helper": str(program),
        "core.hooksPath": str(hooks),
        "gpg.program": str(program),
        "commit.gpgSign": "true",
        f"url.{tmp_path}/elsewhere.git.insteadOf": attempt.settings.repository,
    }.items():
        git(attempt.repository, "config", key, value)

    message = attempt.end(0)

    assert not trap.exists(), trap.read_text()
    assert (message.outcome, message.pushed) == (Outcome.SUCCEEDED, True)
    assert message.head != head


def test_the_same_configuration_does_run_in_the_agents_own_git(attempts: Attempts, tmp_path: Path) -> None:
    """The positive control of the test above: the trap works where the configuration is honoured."""
    attempt = attempts()
    attempt.clone()
    trap = tmp_path / "trap"
    program = tmp_path / "trap.sh"
    program.write_text(f'#!/bin/sh\necho "$0" >>{trap}\ncat\n')
    program.chmod(0o755)
    attempt.agent({".gitattributes": "* filter=trap\n", "a.txt": "a\n"})
    git(attempt.repository, "config", "filter.trap.clean", str(program))

    git(attempt.repository, "add", "--all")

    assert trap.exists()


@pytest.mark.parametrize("committed", [False, True], ids=["untracked", "added as a gitlink"])
def test_a_nested_repository_is_saved_file_by_file(
    attempts: Attempts, remote_repository: RemoteRepository, committed: bool
) -> None:
    attempt = attempts()
    attempt.clone()
    attempt.agent({"nested/deep/file.txt": "inside\n", "beside.txt": "beside\n"})
    nested = attempt.repository / "nested"
    git(nested, "init", "--quiet")
    git(nested, "add", "--all")
    git(nested, "commit", "--quiet", "--message", "inner")
    if committed:
        attempt.agent({}, "With a repository inside")

    message = attempt.end(0)

    assert message.outcome is Outcome.SUCCEEDED
    files = remote_repository.files(WORK)
    assert (files["nested/deep/file.txt"], files["beside.txt"]) == ("inside", "beside")


def test_odd_files_do_not_stop_a_checkpoint(attempts: Attempts, remote_repository: RemoteRepository) -> None:
    attempt = attempts()
    attempt.clone()
    (attempt.repository / "README.md").unlink()
    (attempt.repository / "README.md").mkdir()
    (attempt.repository / "README.md" / "inner").write_text("a file became a directory\n")
    shutil.rmtree(attempt.repository / "src")
    (attempt.repository / "src").symlink_to("/etc")
    os.mkfifo(attempt.repository / "pipe")
    (attempt.repository / "line\nbreak \u2028 'quote\"").write_text("odd name\n")
    (attempt.repository / "dangling").symlink_to("/nowhere")

    message = attempt.end(0)

    assert message.outcome is Outcome.SUCCEEDED
    listed = git(
        remote_repository.path, "-c", "core.quotePath=false", "ls-tree", "-r", "-z", "--name-only", WORK
    )
    assert sorted(filter(None, listed.split("\0"))) == sorted(
        [".gitignore", "README.md/inner", "dangling", "line\nbreak \u2028 'quote\"", "src"]
    )


def test_a_missing_base_branch_names_the_branch(attempts: Attempts) -> None:
    with pytest.raises(AttemptError) as raised:
        attempts(base_branch="trunk").clone()

    assert (raised.value.outcome, raised.value.reason) == (Outcome.CONFIG_ERROR, "BaseBranchMissing")
    for named in ('"trunk"', "spec.kubernetes.gitBranch", "spec.defaults.kubernetes.gitBranch of the Rig"):
        assert named in raised.value.message


def test_a_missing_repository_is_said_to_be_missing(attempts: Attempts, tmp_path: Path) -> None:
    attempt = attempts(repository=str(tmp_path / "absent.git"))

    with pytest.raises(AttemptError) as raised:
        attempt.clone()

    assert raised.value.reason == "RepositoryNotFound"


def test_an_interrupted_agent_is_not_taken_for_a_success(attempts: Attempts) -> None:
    attempt = attempts()
    attempt.clone()
    attempt.agent({"a.txt": "a\n"}, "Some")

    message = attempt.end(143, stopped=True)

    assert message.outcome is Outcome.INTERRUPTED


def test_an_exit_report_that_is_a_link_or_nonsense_counts_as_none(attempts: Attempts, tmp_path: Path) -> None:
    attempt = attempts()
    attempt.clone()
    (tmp_path / "forged").write_text("code=0 stopped=no\n")
    (attempt.hints / "exit").symlink_to(tmp_path / "forged")

    assert attempt.end(None).reason == "AgentEndUnknown"


def test_the_clone_for_the_agent_holds_prompt_identity_and_wrapper(attempts: Attempts) -> None:
    attempt = attempts(committer_name="Toast", committer_email="toast@example.invalid")
    attempt.clone()

    assert (attempt.control / "prompt.md").read_text() == "Please fix it.\n"
    assert os.access(attempt.control / "agent-wrapper", os.X_OK)
    assert git(attempt.repository, "config", "--local", "user.name") == "Toast"
    assert git(attempt.repository, "rev-parse", "--abbrev-ref", "HEAD") == "polecat/toast"


def test_a_repository_of_sha256_objects_is_worked_on(tmp_path: Path) -> None:
    path = tmp_path / "remote.git"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", "--object-format=sha256", str(path))
    somebody = tmp_path / "somebody"
    git(tmp_path, "init", "--quiet", "--initial-branch=main", "--object-format=sha256", str(somebody))
    git(somebody, "remote", "add", "origin", str(path))
    remote = RemoteRepository(path)
    git(somebody, "commit", "--quiet", "--allow-empty", "--message", "first")
    git(somebody, "push", "--quiet", "origin", "main")
    attempt = Attempts(remote, tmp_path)()
    attempt.clone()
    attempt.agent({"a.txt": "a\n"}, "Work")
    attempt.agent({"b.txt": "b\n"})

    message = attempt.end(0)

    assert (message.outcome, message.commits, len(message.head)) == (Outcome.SUCCEEDED, 2, 64)
    assert remote.refs()[WORK] == message.head
