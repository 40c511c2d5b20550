"""A mirror spares the server work, and can do no harm."""

import shutil
from pathlib import Path

import pytest

from gastown_operator.workload import mirror
from tests.unit.workload.attempts import Attempt, Attempts, RemoteRepository, git


@pytest.fixture
def old(remote_repository: RemoteRepository) -> RemoteRepository:
    """A remote with 122 commits on main."""
    remote_repository.grow("main", 120)
    return remote_repository


def _mirror(remote: RemoteRepository, path: Path) -> Path:
    git(remote.path, "clone", "--quiet", "--mirror", "--no-hardlinks", str(remote.path), str(path))
    return path


def _cloned(attempts: Attempts, patience: float = 60) -> Attempt:
    attempt = attempts(mirror=True, full_clone_limit=100)
    attempt.clone(patience)
    git(attempt.repository, "fsck", "--no-dangling")
    assert not (attempt.repository / ".git" / "objects" / "info" / "alternates").exists()
    assert git(attempt.repository, "for-each-ref", "refs/gastown") == ""
    return attempt


@pytest.mark.parametrize("patience", [60, 0], ids=["complete", "shallow"])
def test_what_a_mirror_has_is_not_asked_of_the_server(
    attempts: Attempts, old: RemoteRepository, tmp_path: Path, patience: float
) -> None:
    _mirror(old, tmp_path / "mirror")
    first = git(old.path, "rev-parse", "main")
    # The server has lost the content that the mirror has: a clone that works has not asked for it.
    newest = old.commit("main", {"new.txt": "new\n"}, "Newer than the mirror")
    lost = git(old.path, "rev-parse", f"{first}:README.md")
    git(old.path, "repack", "-adq")
    for pack in (old.path / "objects" / "pack").glob("*.pack"):
        pack.rename(tmp_path / pack.name)
        git(old.path, "unpack-objects", "-q", stdin=(tmp_path / pack.name).read_bytes())
    (old.path / "objects" / lost[:2] / lost[2:]).unlink()

    attempt = _cloned(attempts, patience)

    assert git(attempt.repository, "rev-parse", "HEAD") == newest
    assert (attempt.repository / "README.md").read_text() == "hello\n"
    assert git(attempt.repository, "rev-list", "--count", "HEAD") == ("123" if patience else "50")


def test_a_clone_does_not_need_the_mirror_any_more(
    attempts: Attempts, old: RemoteRepository, tmp_path: Path
) -> None:
    _mirror(old, tmp_path / "mirror")
    attempt = _cloned(attempts)
    shutil.rmtree(tmp_path / "mirror")
    attempt.agent({"a.txt": "a\n"}, "One")

    assert attempt.end(0).pushed
    git(attempt.repository, "fsck", "--no-dangling")


def _nothing(path: Path) -> None:
    del path


def _corrupt(path: Path) -> None:
    for pack in (path / "objects" / "pack").glob("*.pack"):
        content = bytearray(pack.read_bytes())
        content[len(content) // 2] ^= 0xFF
        pack.chmod(0o644)
        pack.write_bytes(content)


def _incomplete(path: Path) -> None:
    for pack in (path / "objects" / "pack").glob("*"):
        pack.unlink()


def _empty(path: Path) -> None:
    for ref in ("packed-refs", "HEAD"):
        (path / ref).unlink()
    (path / "HEAD").write_text("ref: refs/heads/main\n")


def _shallow(path: Path) -> None:
    tip = git(path, "rev-parse", "main~2")
    (path / "shallow").write_text(f"{tip}\n")


def _hostile(path: Path) -> None:
    trap = path.parent / "trap"
    program = path / "program"
    program.write_text(f"#!/bin/sh\ntouch {trap}\n")
    program.chmod(0o755)
    hook, helper = "uploadpack.packObjectsHook", "core.sshCommand"
    for key in (hook, helper, "core.fsmonitor", "core.alternateRefsCommand", "core.gitProxy"):
        git(path, "config", key, str(program))


@pytest.mark.parametrize("harm", [_nothing, _corrupt, _incomplete, _empty, _shallow, _hostile])
def test_no_mirror_makes_a_clone_fail_or_go_wrong(
    attempts: Attempts, old: RemoteRepository, tmp_path: Path, harm: object
) -> None:
    assert callable(harm)
    harm(_mirror(old, tmp_path / "mirror"))

    for patience in (60, 0):
        attempt = _cloned(attempts, patience)
        assert git(attempt.repository, "rev-parse", "HEAD") == git(old.path, "rev-parse", "main")
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("volume", ["missing", "empty", "a file"])
def test_a_volume_without_a_mirror_is_no_matter(
    attempts: Attempts, old: RemoteRepository, tmp_path: Path, volume: str
) -> None:
    if volume == "empty":
        (tmp_path / "mirror").mkdir()
    if volume == "a file":
        (tmp_path / "mirror").write_text("what is this")

    attempt = _cloned(attempts)

    assert git(attempt.repository, "rev-parse", "HEAD") == git(old.path, "rev-parse", "main")


def test_nothing_of_a_foreign_repository_stays(
    attempts: Attempts, old: RemoteRepository, tmp_path: Path
) -> None:
    foreign = tmp_path / "mirror"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(foreign))
    other = tmp_path / "other"
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(other))
    (other / "secret.txt").write_text("somebody else's\n")
    git(other, "add", ".")
    git(other, "commit", "--quiet", "-m", "Foreign")
    git(other, "push", "--quiet", str(foreign), "main")

    attempt = _cloned(attempts)

    assert git(attempt.repository, "rev-list", "--count", "HEAD") == "122"
    objects = git(attempt.repository, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    assert git(other, "rev-parse", "HEAD") not in objects.splitlines()
    del old


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("ssh://git@git.example.invalid:22/team/app.git", "team/app.git"),
        ("ssh://git@git.example.invalid/team/app", "app.git"),
        ("git@git.example.invalid:team/app.git", "app.git"),
        ("https://git.example.invalid/group/team/app.git", "team/app.git"),
        ("https://git.example.invalid/team/app.git", ""),
    ],
)
def test_the_mirror_is_the_volume_or_has_the_name_of_the_repository(
    tmp_path: Path, url: str, name: str
) -> None:
    path = tmp_path / name if name else tmp_path
    git(tmp_path, "init", "--quiet", "--bare", str(path))

    assert mirror.find(tmp_path, url) == path


@pytest.mark.parametrize("url", ["https://git.example.invalid/../../app.git", "https://git.example.invalid/"])
def test_no_url_leads_out_of_the_volume(tmp_path: Path, url: str) -> None:
    (tmp_path / "volume").mkdir()
    git(tmp_path, "init", "--quiet", "--bare", str(tmp_path / "app.git"))

    assert mirror.find(tmp_path / "volume", url) is None
