"""What a checkpoint has beside the branch is where it was again in the next attempt's clone."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from gastown_operator.workload import submodules
from gastown_operator.workload.message import Outcome
from tests.unit.workload.attempts import Attempt, Attempts, RemoteRepository, git
from tests.unit.workload.beside import ATTRIBUTES, CHECKPOINT, beside, keep, pointer, with_submodule

LIBRARY = "Files of the submodule 'lib'"


def status(attempt: Attempt) -> tuple[str, ...]:
    """What git says of the work tree, and of the submodule in it."""
    repository = attempt.repository
    inner = repository / "lib"
    call = ("status", "--porcelain")
    within = (git(inner, *call), git(inner, "log", "--format=%H %s")) if (inner / ".git").exists() else ()
    return (git(repository, *call), *within)


def prompt(attempt: Attempt) -> str:
    """What the agent is told."""
    return (attempt.control / "prompt.md").read_text()


def commit_of(remote: RemoteRepository, tree: str, message: str, *parents: str) -> str:
    """A commit that the agent, or somebody else, might have made."""
    options = [part for parent in parents for part in ("-p", parent)]
    return git(remote.path, "commit-tree", tree, *options, stdin=message.encode())


def message_of(remote: RemoteRepository, commit: str) -> str:
    """What a commit says of itself."""
    return git(remote.path, "show", "-s", "--format=%B", commit)


def replace_checkpoint(remote: RemoteRepository, beside_it: str, place: str) -> str:
    """A checkpoint of main's files with a commit beside it that says it belongs to a place, in JSON."""
    message = f"Beside\n\nGastown-Place: {place}\n"
    other = commit_of(remote, beside_it, message)
    text = f"C\n\nGastown-Checkpoint: unfinished work\nGastown-Beside: {other}\n"
    commit = commit_of(remote, "main^{tree}", text, "main", other)
    git(remote.path, "update-ref", CHECKPOINT, commit)
    return other


def tree_of(remote: RemoteRepository, name: str, content: bytes, mode: str = "100644") -> str:
    """A tree with one file, below directories."""
    made = git(remote.path, "hash-object", "-w", "--stdin", stdin=content)
    kind = f"{mode} blob"
    for part in reversed(name.split("/")):
        made = git(remote.path, "mktree", stdin=f"{kind} {made}\t{part}\n".encode())
        kind = "040000 tree"
    return made


def test_a_submodule_shows_the_changes_and_commits_that_it_had(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path
) -> None:
    first = with_submodule(attempts, remote_repository, tmp_path)
    first.agent({"lib/lib.txt": "committed\n", "lib/build/output": "ignored there\n"})
    git(first.repository / "lib", "commit", "--quiet", "--all", "--message", "Inner")
    first.agent({"lib/lib.txt": "changed\n", "lib/new.txt": "new\n", "own.txt": "own\n"})
    (first.repository / "lib" / "link").symlink_to("/etc/passwd")
    (first.repository / "lib" / ".gitignore").unlink()
    before = status(first)
    first.end(1)
    second = attempts()
    second.clone()

    assert status(second) == before
    assert "Inner" in before[-1]
    assert "D .gitignore" in before[1]
    assert git(second.repository / "lib", "show", "HEAD:lib.txt") == "committed"
    assert (second.repository / "lib" / "link").readlink() == Path("/etc/passwd")
    assert "Back in place as well: the submodule 'lib'" in prompt(second)
    assert git(second.repository / "lib", "fsck", "--no-dangling") == ""


def test_what_was_put_back_is_saved_again_and_only_as_it_is_now(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path
) -> None:
    first = with_submodule(attempts, remote_repository, tmp_path)
    first.agent({"lib/lib.txt": "changed\n"})
    first.end(1)
    second = attempts()
    second.clone()
    second.agent({"lib/new.txt": "new\n"})
    second.end(1)
    third = attempts()
    third.clone()

    assert status(third)[:2] == ("M lib", "M lib.txt\n?? new.txt")
    git(third.repository / "lib", "checkout", "--quiet", "--", "lib.txt")
    (third.repository / "lib" / "new.txt").unlink()
    third.agent({"own.txt": "own\n"})
    third.end(1)
    fourth = attempts()
    fourth.clone()

    assert beside(remote_repository) == {}
    assert status(fourth) == ("?? own.txt",)


def test_files_of_a_submodule_without_a_repository_come_back_as_files(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path
) -> None:
    first = with_submodule(attempts, remote_repository, tmp_path)
    (first.repository / "lib" / ".git").unlink()
    first.agent({"lib/new.txt": "new\n"})
    first.end(1)
    second = attempts()
    second.clone()

    assert sorted(path.name for path in (second.repository / "lib").iterdir()) == [
        ".gitignore",
        "lib.txt",
        "new.txt",
    ]


def test_of_too_many_commits_in_a_submodule_the_newest_is_kept(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submodules, "MAXIMUM_COMMITS", 2)
    first = with_submodule(attempts, remote_repository, tmp_path)
    for number in range(3):
        first.agent({"lib/lib.txt": f"{number}\n"})
        git(first.repository / "lib", "commit", "--quiet", "--all", "--message", f"Inner {number}")
    head = git(first.repository / "lib", "rev-parse", "HEAD")
    first.end(1)
    second = attempts()
    second.clone()

    assert status(second) == ("M lib", "", f"{head} Inner 2")


def test_a_file_that_a_submodule_tracks_and_ignores_is_not_taken_for_deleted(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path
) -> None:
    first = with_submodule(attempts, remote_repository, tmp_path)
    first.agent({"lib/build/kept": "tracked all the same\n"})
    git(first.repository / "lib", "add", "--force", "build/kept")
    git(first.repository / "lib", "commit", "--quiet", "--message", "Inner")
    first.end(1)
    second = attempts()
    second.clone()

    assert status(second)[:2] == ("M lib", "")


def test_contents_of_git_lfs_are_in_its_store_again_and_still_named_at_a_success(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    remote_repository.commit("main", {".gitattributes": ATTRIBUTES}, "With lfs")
    first = attempts()
    first.clone()
    kept = keep(first, b"made here")
    first.agent({"b.bin": pointer(b"made here")}, "A pointer")
    before = status(first)
    first.end(1)
    second = attempts()
    record = second.clone()

    assert status(second) == before
    assert (second.repository / kept.relative_to(first.repository)).read_bytes() == b"made here"
    assert (record.put_back, record.left_aside) == (["contents of git-lfs"], [])
    message = second.end(0)
    assert message.outcome is Outcome.SUCCEEDED
    assert "1 objects of git-lfs is not on the branch" in message.message
    assert "Contents of git-lfs" in beside(remote_repository)


def test_a_content_that_is_not_what_it_is_called_is_not_put_back_but_named_and_kept(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    first = attempts()
    first.clone()
    keep(first, b"whole")
    broken = keep(first, b"broken")
    broken.write_bytes(b"half")
    first.end(1)
    second = attempts()
    record = second.clone()

    assert not (second.repository / broken.relative_to(first.repository)).exists()
    (told,) = record.left_aside
    assert told.startswith("contents of git-lfs (1 of 2 are missing: they are not what they are called)")
    assert f"a parent of {CHECKPOINT}" in told
    assert told in prompt(second)
    second.agent({"x.txt": "x\n"})
    second.end(1)
    contents = git(remote_repository.path, "log", "--no-walk", "--format=%s", f"{CHECKPOINT}^@")
    assert "Contents of git-lfs" in contents


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("objects/../../hooks/post-checkout", "100644"),
        ("hooks/post-checkout", "100755"),
        (f"objects/{'0' * 2}/{'0' * 2}/{'1' * 64}", "100644"),
        ("objects/{0}/{1}/{2}", "120000"),
        ("objects/{0}/{1}/{2}", "100755"),
    ],
)
def test_nothing_but_contents_gets_into_the_store_of_git_lfs(
    attempts: Attempts, remote_repository: RemoteRepository, name: str, mode: str
) -> None:
    digest = hashlib.sha256(b"hostile").hexdigest()
    tree = tree_of(remote_repository, name.format(digest[:2], digest[2:4], digest), b"hostile", mode)
    replace_checkpoint(remote_repository, tree, '".git/lfs"')
    attempt = attempts()
    record = attempt.clone()

    assert len(record.left_aside) == 1
    assert [path for path in (attempt.repository / ".git" / "lfs").rglob("*") if not path.is_dir()] == []
    assert not (attempt.repository / ".git" / "hooks").exists()


_ELSEWHERE = (
    "../outside",
    "/outside",
    ".git/hooks",
    ".git",
    "",
    ".",
    "x/../lib",
    "README.md",
    5,
    None,
    "\ud800",
)


@pytest.mark.parametrize("place", [*map(json.dumps, _ELSEWHERE), "", "[" * 100_000], ids=lambda it: it[:12])
def test_nothing_is_written_where_the_commit_has_no_submodule(
    attempts: Attempts, remote_repository: RemoteRepository, place: str
) -> None:
    tree = tree_of(remote_repository, "post-checkout", b"hostile")
    other = replace_checkpoint(remote_repository, tree, place)
    attempt = attempts()
    record = attempt.clone()

    assert [other in it for it in record.left_aside] == [True]
    assert [path for path in attempt.root.rglob("post-checkout*") if path.is_file()] == []
    assert git(attempt.repository, "status", "--porcelain") == ""


def test_a_submodule_is_not_written_through_a_link_nor_over_files(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path
) -> None:
    """The agent puts a link, then a file, in the place of a submodule whose changes were saved."""
    first = with_submodule(attempts, remote_repository, tmp_path)
    first.agent({"lib/new.txt": "new\n"})
    first.end(1)
    (tmp_path / "elsewhere").mkdir()
    checkpoint = git(remote_repository.path, "rev-parse", CHECKPOINT)
    link = git(
        remote_repository.path, "hash-object", "-w", "--stdin", stdin=os.fsencode(tmp_path / "elsewhere")
    )
    listed = git(remote_repository.path, "ls-tree", checkpoint).splitlines()
    lines = [it for it in listed if not it.endswith("\tlib")] + [f"120000 blob {link}\tlib"]
    tree = git(remote_repository.path, "mktree", stdin="\n".join(lines).encode())
    parents = git(remote_repository.path, "rev-parse", f"{checkpoint}^@").split()
    forged = commit_of(remote_repository, tree, message_of(remote_repository, checkpoint), *parents)
    git(remote_repository.path, "update-ref", CHECKPOINT, forged)
    second = attempts()
    record = second.clone()

    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert "the submodule 'lib'" in record.left_aside[0]
    assert (second.repository / "lib").is_symlink()


def test_a_submodule_whose_commits_are_damaged_leaves_its_place_empty(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path
) -> None:
    first = with_submodule(attempts, remote_repository, tmp_path)
    first.agent({"lib/new.txt": "new\n"})
    first.end(1)
    saved = git(remote_repository.path, "rev-parse", f"{CHECKPOINT}^2")
    odd = commit_of(remote_repository, "main^{tree}", "No commit\n\nis here\n")
    forged = commit_of(remote_repository, f"{saved}^{{tree}}", message_of(remote_repository, saved), odd)
    message = message_of(remote_repository, CHECKPOINT).replace(saved, forged)
    again = commit_of(remote_repository, f"{CHECKPOINT}^{{tree}}", message, f"{CHECKPOINT}^1", forged)
    git(remote_repository.path, "update-ref", CHECKPOINT, again)
    second = attempts()
    record = second.clone()

    assert forged in record.left_aside[0]
    assert list((second.repository / "lib").iterdir()) == []
    assert not (second.repository / ".git" / "modules" / "lib").exists()


def test_a_git_directory_outside_of_the_clone_is_not_looked_into(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path
) -> None:
    attempt = with_submodule(attempts, remote_repository, tmp_path)
    git(tmp_path, "clone", "--quiet", str(tmp_path / "library"), "stranger")
    attempt.agent({"lib/new.txt": "new\n"})
    names = [
        str(tmp_path / "stranger/.git"),
        "../../../stranger/.git",
        "../.git/modules/../../../../stranger/.git",
    ]
    (attempt.repository / ".git" / "modules" / "far").symlink_to(tmp_path / "stranger" / ".git")
    for name in [*names, "../.git/modules/far", "../.git/modules/lib:x", "", "\0"]:
        (attempt.repository / "lib" / ".git").write_text(f"gitdir: {name}\n")
        assert submodules.find(attempt.local_git(), attempt.repository, b"lib") is None
    (attempt.repository / "lib" / ".git").write_text("gitdir: ../.git/modules/lib\n")
    assert submodules.find(attempt.local_git(), attempt.repository, b"lib") is not None


def test_files_of_a_nested_repository_are_where_they_were(attempts: Attempts) -> None:
    first = attempts()
    first.clone()
    git(first.repository, "init", "--quiet", "nested")
    first.agent({"nested/inner.txt": "inner\n"})
    before = status(first)
    first.end(1)
    second = attempts()
    second.clone()

    assert status(second) == before == ("?? nested/",)
    assert (second.repository / "nested" / "inner.txt").read_text() == "inner\n"


def test_a_commit_without_a_parent_that_calls_itself_a_checkpoint_is_the_agents_own(
    attempts: Attempts,
) -> None:
    first = attempts()
    first.clone()
    git(first.repository, "checkout", "--quiet", "--orphan", "other")
    head = first.agent({"x.txt": "x\n"}, "X\n\nGastown-Checkpoint: unfinished work")
    first.end(1)

    assert attempts().clone().start == head


def test_more_commits_of_a_submodule_than_were_ever_kept_are_not_made(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = with_submodule(attempts, remote_repository, tmp_path)
    for number in range(3):
        first.agent({"lib/lib.txt": f"{number}\n"})
        git(first.repository / "lib", "commit", "--quiet", "--all", "--message", f"Inner {number}")
    first.end(1)
    monkeypatch.setattr(submodules, "MAXIMUM_COMMITS", 2)

    (told,) = attempts().clone().left_aside
    assert "more commits" in told
