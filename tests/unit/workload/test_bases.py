"""Work that goes on from other polecats' work."""

import shutil

import pytest

from gastown_operator.workload.errors import AttemptError
from gastown_operator.workload.message import Outcome
from tests.unit.workload.attempts import Attempts, RemoteRepository, git

WORK = "refs/heads/polecat/toast"


@pytest.fixture
def heads(remote_repository: RemoteRepository) -> dict[str, str]:
    """Two branches that change different files, and one that changes the same file as the first."""
    made = {}
    for branch, file in (("polecat/a", "a.txt"), ("polecat/b", "b.txt"), ("polecat/c", "a.txt")):
        git(remote_repository.path, "branch", branch, "main")
        made[branch] = remote_repository.commit(branch, {file: f"by {branch}\n"}, f"Work on {branch}")
    return made


def test_one_dependency_is_the_base(
    attempts: Attempts, remote_repository: RemoteRepository, heads: dict[str, str]
) -> None:
    attempt = attempts(bases=(("polecat/a", heads["polecat/a"]),))
    record = attempt.clone()
    attempt.agent({"d.txt": "d\n"}, "On top")

    message = attempt.end(0)

    assert record.base == record.start == message.base == heads["polecat/a"]
    assert message.commits == 1
    assert remote_repository.files(WORK)["a.txt"] == "by polecat/a"


@pytest.mark.parametrize("patience", [60, 0], ids=["complete", "shallow"])
def test_several_are_merged_the_same_way_every_time(
    attempts: Attempts, remote_repository: RemoteRepository, heads: dict[str, str], patience: float
) -> None:
    remote_repository.grow("main", 70)
    bases = tuple((name, heads[name]) for name in ("polecat/a", "polecat/b"))
    first, second = (attempts(bases=bases, full_clone_limit=1) for _ in range(2))

    record = first.clone(patience)

    assert second.clone(patience).base == record.base
    assert git(first.repository, "rev-parse", f"{record.base}^@").split() == [commit for _, commit in bases]
    first.agent({"d.txt": "d\n"}, "On top")
    message = first.end(0)
    assert (message.outcome, message.base, message.commits) == (Outcome.SUCCEEDED, record.base, 1)
    assert {"a.txt", "b.txt", "d.txt"} <= remote_repository.files(WORK).keys()
    assert attempts(bases=bases).clone().done == message.head


def test_a_dependency_that_another_contains_needs_no_merge(
    attempts: Attempts, remote_repository: RemoteRepository, heads: dict[str, str]
) -> None:
    git(remote_repository.path, "branch", "polecat/e", "polecat/a")
    later = remote_repository.commit("polecat/e", {"e.txt": "e\n"}, "On top of a")

    record = attempts(bases=(("polecat/a", heads["polecat/a"]), ("polecat/e", later))).clone()

    assert record.base == later


def test_a_conflict_names_branches_and_files_and_what_to_do(
    attempts: Attempts, heads: dict[str, str]
) -> None:
    with pytest.raises(AttemptError) as raised:
        attempts(bases=tuple(heads.items())).clone()

    assert (raised.value.outcome, raised.value.reason) == (Outcome.CONFIG_ERROR, "DependencyConflict")
    for told in ("polecat/a", "polecat/c", "a.txt", "merge one into the other"):
        assert told in raised.value.message


def test_a_head_that_its_branch_has_left_behind_is_still_the_base(
    attempts: Attempts, remote_repository: RemoteRepository, heads: dict[str, str]
) -> None:
    remote_repository.commit("polecat/a", {"a.txt": "went on\n"}, "Later")
    git(remote_repository.path, "config", "uploadpack.allowAnySHA1InWant", "true")

    assert attempts(bases=(("polecat/a", heads["polecat/a"]),)).clone().base == heads["polecat/a"]


def test_a_head_that_the_server_has_lost_is_said_to_be_missing(attempts: Attempts) -> None:
    with pytest.raises(AttemptError) as raised:
        attempts(bases=(("polecat/gone", "1" * 40),)).clone()

    assert (raised.value.outcome, raised.value.reason) == (Outcome.CONFIG_ERROR, "DependencyMissing")
    assert "polecat/gone" in raised.value.message


@pytest.mark.parametrize("number", [1, 2])
def test_the_base_outlives_the_agents_git_directory(
    attempts: Attempts, remote_repository: RemoteRepository, heads: dict[str, str], number: int
) -> None:
    attempt = attempts(bases=tuple(heads.items())[:number])
    record = attempt.clone()
    attempt.agent({"d.txt": "d\n"})
    shutil.rmtree(attempt.repository / ".git")

    message = attempt.end(0)

    assert (message.outcome, message.base, message.commits) == (Outcome.SUCCEEDED, record.base, 1)
    assert {"a.txt", "d.txt"} <= remote_repository.files(WORK).keys()
