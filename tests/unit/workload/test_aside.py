"""What a branch cannot hold: contents of git-lfs, and files in submodules."""

import hashlib
from pathlib import Path

from gastown_operator.workload.message import Outcome
from tests.unit.workload.attempts import Attempt, Attempts, RemoteRepository, git

WORK = "refs/heads/polecat/toast"
CHECKPOINT = "refs/gastown/wip/0b7c2f2e-aaaa/1"
ATTRIBUTES = "*.bin filter=lfs diff=lfs merge=lfs -text\n"


def _pointer(content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"


def _keep(attempt: Attempt, content: bytes) -> Path:
    """As `git lfs` does on `git add` or `git lfs pull`."""
    digest = hashlib.sha256(content).hexdigest()
    file = attempt.repository / ".git/lfs/objects" / digest[:2] / digest[2:4] / digest
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def _beside(remote: RemoteRepository) -> dict[str, dict[str, str]]:
    """Files of the checkpoint's other parents, by subject."""
    parents = git(remote.path, "rev-parse", f"{CHECKPOINT}^@").split()[1:]
    return {git(remote.path, "show", "-s", "--format=%s", it): remote.files(it) for it in parents}


def test_pointers_are_kept_as_pointers_and_contents_that_were_pulled_are_no_change(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    remote_repository.commit("main", {".gitattributes": ATTRIBUTES, "a.bin": _pointer(b"large")}, "With lfs")
    attempt = attempts()
    attempt.clone()
    _keep(attempt, b"large")
    (attempt.repository / "a.bin").write_bytes(b"large")

    message = attempt.end(0)

    assert (message.outcome, message.commits) == (Outcome.NO_CHANGES, 0)


def test_new_contents_are_beside_the_branch_which_has_their_pointers(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    remote_repository.commit("main", {".gitattributes": ATTRIBUTES, "a.bin": _pointer(b"large")}, "With lfs")
    attempt = attempts()
    attempt.clone()
    kept = _keep(attempt, b"made here")
    (attempt.repository / "b.bin").write_bytes(b"made here")
    _keep(attempt, b"large")

    message = attempt.end(0)

    assert remote_repository.files(WORK)["b.bin"] == _pointer(b"made here").strip()
    assert "1 objects of git-lfs is not on the branch and is kept under refs/gastown/wip" in message.message
    name = kept.relative_to(attempt.repository / ".git/lfs").as_posix()
    assert _beside(remote_repository)["Contents of git-lfs"] == {name: "made here"}


def test_what_git_lfs_never_saw_is_committed_as_it_is(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    remote_repository.commit("main", {".gitattributes": ATTRIBUTES}, "With lfs")
    attempt = attempts()
    attempt.clone()
    attempt.agent({"c.bin": "content without git-lfs\n"})

    attempt.end(0)

    assert remote_repository.files(WORK)["c.bin"] == "content without git-lfs"


def _with_submodule(attempts: Attempts, remote: RemoteRepository, tmp_path: Path) -> Attempt:
    """A clone whose agent has checked its submodule out."""
    library = tmp_path / "library"
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(library))
    (library / "lib.txt").write_text("lib\n")
    (library / ".gitignore").write_text("build/\n")
    git(library, "add", "--all")
    git(library, "commit", "--quiet", "--message", "Library")
    remote.commit("main", {"x.txt": "x\n"}, "Before the library")
    somebody = tmp_path / "somebody"
    git(somebody, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib")
    git(somebody, "commit", "--quiet", "--message", "With a library")
    git(somebody, "push", "--quiet", "origin", "main")
    attempt = attempts()
    attempt.clone()
    assert list((attempt.repository / "lib").iterdir()) == []
    git(attempt.repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init")
    return attempt


def test_a_submodule_that_was_only_checked_out_is_no_change(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path
) -> None:
    attempt = _with_submodule(attempts, remote_repository, tmp_path)
    attempt.agent({"lib/build/output": "ignored there\n"})

    assert attempt.end(0).outcome is Outcome.NO_CHANGES


def test_changes_in_a_submodule_are_beside_the_branch_which_keeps_its_commit(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path
) -> None:
    attempt = _with_submodule(attempts, remote_repository, tmp_path)
    attempt.agent({"lib/lib.txt": "changed\n", "lib/new.txt": "new\n", "own.txt": "own\n"})

    message = attempt.end(0)

    assert message.outcome is Outcome.SUCCEEDED
    assert "the submodule 'lib' is not on the branch and is kept" in message.message
    recorded = git(remote_repository.path, "rev-parse", "main:lib", f"{WORK}:lib").split()
    assert recorded[0] == recorded[1]
    saved = _beside(remote_repository)["Files of the submodule 'lib'"]
    assert saved == {".gitignore": "build/", "lib.txt": "changed", "new.txt": "new"}


def test_commits_in_a_submodule_are_saved_as_files(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path
) -> None:
    attempt = _with_submodule(attempts, remote_repository, tmp_path)
    attempt.agent({"lib/lib.txt": "changed\n"})
    git(attempt.repository / "lib", "commit", "--quiet", "--all", "--message", "Inner")
    attempt.agent({}, "Move the library on")

    message = attempt.end(0)

    assert (message.outcome, message.commits) == (Outcome.SUCCEEDED, 1)
    assert _beside(remote_repository)["Files of the submodule 'lib'"]["lib.txt"] == "changed"
