"""What a branch cannot hold, as agents make it, and as a checkpoint has it."""

import hashlib
from pathlib import Path

from tests.unit.workload.attempts import Attempt, Attempts, RemoteRepository, git

CHECKPOINT = "refs/gastown/wip/0b7c2f2e-aaaa/1"
ATTRIBUTES = "*.bin filter=lfs diff=lfs merge=lfs -text\n"


def pointer(content: bytes) -> str:
    """What git has in the place of a content."""
    digest = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"


def keep(attempt: Attempt, content: bytes) -> Path:
    """As `git lfs` does on `git add` or `git lfs pull`."""
    digest = hashlib.sha256(content).hexdigest()
    file = attempt.repository / ".git/lfs/objects" / digest[:2] / digest[2:4] / digest
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def beside(remote: RemoteRepository) -> dict[str, dict[str, str]]:
    """Files of the checkpoint's other parents, by subject."""
    parents = git(remote.path, "rev-parse", f"{CHECKPOINT}^@").split()[1:]
    return {git(remote.path, "show", "-s", "--format=%s", it): remote.files(it) for it in parents}


def with_submodule(attempts: Attempts, remote: RemoteRepository, tmp_path: Path) -> Attempt:
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
