"""Repositories that name what git would not write there: nothing of it may end the keeper, or cost what can be saved."""

from pathlib import Path

import pytest

from gastown_operator.workload.message import Outcome
from tests.unit.workload.attempts import Attempt, Attempts, RemoteRepository, git
from tests.unit.workload.beside import CHECKPOINT, beside, with_submodule


def tag(repository: Path) -> str:
    """The id of a tag object for HEAD."""
    git(repository, "tag", "--annotate", "--message", "A tag", "tagged")
    return git(repository, "rev-parse", "refs/tags/tagged")


def name_a_tag(attempt: Attempt) -> None:
    """A HEAD that is no commit, with a new commit below it."""
    inner = attempt.repository / "lib"
    git(inner, "commit", "--quiet", "--all", "--message", "Inner")
    (attempt.repository / ".git/modules/lib/HEAD").write_text(f"{tag(inner)}\n")


def link_to_a_name_with_a_nul(attempt: Attempt) -> None:
    """A link to a git directory that no system call takes."""
    (attempt.repository / "lib" / ".git").write_text("gitdir: ../.git/modules/\0lib\n")


@pytest.mark.parametrize("spoil", [name_a_tag, link_to_a_name_with_a_nul])
def test_a_submodule_that_git_would_not_make_is_saved_as_files(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path, spoil: object
) -> None:
    attempt = with_submodule(attempts, remote_repository, tmp_path)
    attempt.agent({"lib/lib.txt": "changed\n"})
    assert callable(spoil)
    spoil(attempt)

    assert attempt.end(1).outcome is Outcome.AGENT_ERROR
    assert beside(remote_repository)["Files of the submodule 'lib'"]["lib.txt"] == "changed"


def test_a_head_that_is_a_tag_costs_no_files(attempts: Attempts, remote_repository: RemoteRepository) -> None:
    attempt = attempts()
    attempt.clone()
    attempt.agent({"a.txt": "a\n"}, "Work")
    (attempt.repository / ".git" / "HEAD").write_text(f"{tag(attempt.repository)}\n")
    (attempt.repository / "b.txt").write_text("b\n")

    message = attempt.end(0)

    assert message.outcome is Outcome.SUCCEEDED
    assert remote_repository.files("refs/heads/polecat/toast")["a.txt"] == "a"
    assert remote_repository.files(CHECKPOINT)["b.txt"] == "b"


def test_commits_of_a_submodule_in_the_place_of_a_directory_are_kept(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path
) -> None:
    remote_repository.commit("main", {"vendor/old.txt": "old\n"}, "A directory")
    first = with_submodule(attempts, remote_repository, tmp_path)
    git(first.repository, "rm", "-r", "--quiet", "vendor")
    library = str(tmp_path / "library")
    git(
        first.repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", library, "vendor"
    )
    (first.repository / "vendor" / "lib.txt").write_text("changed\n")
    git(first.repository / "vendor", "commit", "--quiet", "--all", "--message", "Inner")
    first.agent({}, "A submodule in its place")
    head = git(first.repository / "vendor", "rev-parse", "HEAD")
    first.end(1)
    second = attempts()
    second.clone()

    assert git(second.repository / "vendor", "rev-parse", "HEAD") == head
    assert git(second.repository / "vendor", "rev-parse", "--is-shallow-repository") == "false"
    assert git(second.repository / "vendor", "log", "--format=%s").splitlines() == ["Inner", "Library"]


def test_files_of_a_repository_inside_of_a_submodule_are_kept(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path
) -> None:
    attempt = with_submodule(attempts, remote_repository, tmp_path)
    git(attempt.repository / "lib", "init", "--quiet", "nested")
    attempt.agent({"lib/nested/inner.txt": "inner\n"})
    attempt.end(1)

    assert beside(remote_repository)["Files of the submodule 'lib'"]["nested/inner.txt"] == "inner"


def test_a_file_of_a_submodule_that_cannot_be_stored_costs_itself_alone_and_is_told(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path
) -> None:
    attempt = with_submodule(attempts, remote_repository, tmp_path)
    (attempt.repository / "lib" / ".gitattributes").write_text("odd.txt working-tree-encoding=UTF-16\n")
    attempt.agent({"lib/odd.txt": "odd", "lib/new.txt": "new\n"})

    message = attempt.end(1)

    assert set(beside(remote_repository)["Files of the submodule 'lib'"]) == {
        ".gitattributes",
        ".gitignore",
        "lib.txt",
        "new.txt",
    }
    assert "; the newest of the submodule 'lib' could not all be saved" in message.message


@pytest.mark.parametrize("committer", ["", "committer A <a@example.invalid> 99999999999999999999 +0000\n"])
def test_a_commit_that_says_no_time_costs_no_files(
    attempts: Attempts, remote_repository: RemoteRepository, committer: str
) -> None:
    attempt = attempts()
    attempt.clone()
    tree, parent = git(attempt.repository, "rev-parse", "HEAD^{tree}", "HEAD").split()
    text = f"tree {tree}\nparent {parent}\nauthor A <a@example.invalid> 1 +0000\n{committer}\nOdd\n".encode()
    odd = git(attempt.repository, "hash-object", "-t", "commit", "--literally", "-w", "--stdin", stdin=text)
    (attempt.repository / ".git" / "HEAD").write_text(f"{odd}\n")
    attempt.agent({"b.txt": "b\n"})

    attempt.end(1)

    assert remote_repository.files(CHECKPOINT)["b.txt"] == "b"
