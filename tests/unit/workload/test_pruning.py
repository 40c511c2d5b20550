"""What checkpoints leave in the keeper's repository."""

import os
from pathlib import Path

import pytest

from gastown_operator.workload import git as git_program
from gastown_operator.workload import snapshot, tree_files
from gastown_operator.workload.errors import GitError
from gastown_operator.workload.git import Git
from gastown_operator.workload.message import Outcome
from gastown_operator.workload.pruning import Pruning
from tests.unit.workload import beside
from tests.unit.workload.attempts import Attempt, Attempts, RemoteRepository, git

CHECKPOINT = "refs/gastown/wip/0b7c2f2e-aaaa/1"
LARGE = 5 * 1024 * 1024
FULL = bool(os.environ.get("GASTOWN_FULL"))
ROUNDS = 30 if FULL else 5


def taken(directory: Path) -> int:
    """Bytes of all files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def keeper_repository(attempt: Attempt) -> Path:
    """The keeper's own."""
    return attempt.root / "keeper.git"


@pytest.fixture
def known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is known from the checkpoint that stored it; else only one that is older than a second is."""
    monkeypatch.setattr(tree_files, "RACY_NANOSECONDS", -1)


@pytest.mark.timeout(600 if FULL else 120)
@pytest.mark.parametrize(
    ("server", "stored"),
    [
        ("takes checkpoints", "as objects"),
        ("refuses checkpoints", "as objects"),
        ("takes checkpoints", "in packs"),
    ],
)
def test_a_large_file_that_always_changes_does_not_fill_the_keepers_volume(
    attempts: Attempts,
    remote_repository: RemoteRepository,
    monkeypatch: pytest.MonkeyPatch,
    server: str,
    stored: str,
) -> None:
    """Two versions are there at once: what the server has, and what it gets. A third one is copied before it is stored."""
    size = LARGE
    if stored == "in packs" and FULL:
        size = 20 * 1024 * 1024
    elif stored == "in packs":
        monkeypatch.setitem(git_program.CONFIGURATION, "core.bigFileThreshold", str(LARGE - 1))
        monkeypatch.setattr(snapshot, "BIG_FILE", LARGE)
    if server == "refuses checkpoints":
        remote_repository.hook("update", "exit 1")
    attempt = attempts()
    attempt.clone()
    keeper = attempt.keeper()
    (attempt.repository / "steady.bin").write_bytes(os.urandom(size))
    most = 0
    for _ in range(ROUNDS):
        (attempt.repository / "model.bin").write_bytes(os.urandom(size))
        keeper._checkpoint()
        most = max(most, taken(keeper_repository(attempt)))

    assert most < 3.5 * size
    packs = (keeper_repository(attempt) / "objects" / "pack").glob("*.pack")
    assert any(packs) is (stored == "in packs")
    remote_repository.hook("update", "exit 0")
    message = attempt.end(1)
    assert message.outcome is Outcome.AGENT_ERROR
    for name in ("model.bin", "steady.bin"):
        sent = git(remote_repository.path, "rev-parse", f"{CHECKPOINT}:{name}")
        assert sent == git(attempt.repository, "hash-object", name)


@pytest.mark.usefixtures("known_at_once")
def test_what_was_left_out_for_a_while_is_stored_again(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    """A file known from an earlier checkpoint, whose object was removed while it was ignored."""
    attempt = attempts()
    attempt.clone()
    keeper = attempt.keeper()
    known = attempt.repository / "model.bin"
    known.write_bytes(os.urandom(LARGE))
    keeper._checkpoint()
    ignores = attempt.repository / ".git" / "info" / "exclude"
    ignores.parent.mkdir(exist_ok=True)
    ignores.write_text("model.bin\n")
    attempt.agent({"other.bin": os.urandom(LARGE).hex()})
    keeper._checkpoint()
    ignores.write_text("")
    attempt.agent({"other.bin": "small\n"})

    keeper._checkpoint()

    sent = git(remote_repository.path, "rev-parse", f"{CHECKPOINT}:model.bin")
    assert sent == git(attempt.repository, "hash-object", "model.bin")


@pytest.mark.usefixtures("known_at_once")
def test_what_is_beside_a_checkpoint_that_came_to_nothing_is_stored_again(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts()
    attempt.clone()
    content = os.urandom(LARGE)
    kept = beside.keep(attempt, content)
    keeper = attempt.keeper()
    keeper.work.look_beside(keeper.work.look())
    keeper._make_room("")

    keeper._checkpoint()

    place = kept.relative_to(attempt.repository / ".git/lfs")
    sent = git(remote_repository.path, "rev-parse", f"{CHECKPOINT}^2:{place}")
    assert sent == git(attempt.repository, "hash-object", "--stdin", stdin=content)


@pytest.fixture
def repository(tmp_path: Path) -> Git:
    """A repository with one commit that was there before."""
    path = tmp_path / "keeper.git"
    git(tmp_path, "init", "--quiet", "--bare", str(path))
    return Git(path)


def commit_of(repository: Git, content: bytes, *parents: str) -> str:
    """A commit of one file."""
    blob = repository.run("hash-object", "-w", "--stdin", stdin=content).decode().strip()
    inner = repository.run("mktree", stdin=f"100644 blob {blob}\tfile\n".encode()).decode().strip()
    tree = repository.run("mktree", stdin=f"040000 tree {inner}\tdirectory\n".encode()).decode().strip()
    identity = {f"GIT_{role}_{it}": "x" for role in ("AUTHOR", "COMMITTER") for it in ("NAME", "EMAIL")}
    git = repository.with_environment(identity, {})
    options = [part for parent in parents for part in ("-p", parent)]
    return git.run("commit-tree", tree, *options, stdin=b"message\n").decode().strip()


def is_whole(repository: Git, commit: str) -> bool:
    """Whether everything that a commit needs is there."""
    return repository.attempt("rev-list", "--objects", commit)[0] == 0 and (
        repository.attempt("cat-file", "-e", f"{commit}:directory/file")[0] == 0
    )


def test_what_was_there_before_and_what_is_kept_stays(repository: Git) -> None:
    before = commit_of(repository, b"from clone")
    pruning = Pruning(repository, worth=0)
    kept, other = commit_of(repository, b"kept"), commit_of(repository, b"other")

    freed = pruning.prune(kept)

    assert freed > 0
    assert [is_whole(repository, it) for it in (before, kept, other)] == [True, True, False]


def test_parents_stay_as_far_as_they_are_the_keepers_own(repository: Git) -> None:
    """Work beside the branch is kept in parents of the checkpoint."""
    older, theirs = commit_of(repository, b"older"), commit_of(repository, b"theirs")
    pruning = Pruning(repository, (older,), worth=0)
    aside = commit_of(repository, b"aside")
    checkpoint = commit_of(repository, b"checkpoint", aside, theirs, older)

    pruning.prune(checkpoint)

    assert [is_whole(repository, it) for it in (checkpoint, aside, theirs, older)] == [True] * 4


def test_nothing_is_removed_where_what_is_needed_cannot_be_told(repository: Git) -> None:
    pruning = Pruning(repository, worth=0)
    kept = commit_of(repository, b"kept")

    with pytest.raises(GitError):
        pruning.prune("1" * 40)

    assert is_whole(repository, kept)


def test_little_is_not_worth_the_look(repository: Git) -> None:
    pruning = Pruning(repository)
    other = commit_of(repository, b"other")

    assert pruning.prune() == 0
    assert is_whole(repository, other)


def test_what_a_broken_off_write_left_goes_too(repository: Git) -> None:
    pruning = Pruning(repository, worth=0)
    kept = commit_of(repository, b"kept")
    assert repository.git_dir is not None
    left = repository.git_dir / "objects" / kept[:2] / "tmp_obj_a1b2c3"
    left.write_bytes(b"half")

    pruning.prune(kept)

    assert not left.exists()
    assert is_whole(repository, kept)


def test_a_pack_that_came_from_the_server_stays(repository: Git, tmp_path: Path) -> None:
    """The keeper fetches one where the agent destroyed its objects; what is behind the base is in it."""
    pruning = Pruning(repository, worth=0)
    other = Git(tmp_path / "other.git")
    git(tmp_path, "clone", "--quiet", "--bare", str(tmp_path / "keeper.git"), "other.git")
    theirs = commit_of(other, b"theirs")
    other.run("update-ref", "refs/heads/main", theirs)
    local = repository.with_environment({"GIT_ALLOW_PROTOCOL": "file"}, {})
    local.run("fetch", "--quiet", str(tmp_path / "other.git"), "refs/heads/main:refs/keeper/main")

    assert pruning.prune() == pruning.prune() == 0
    assert is_whole(repository, theirs)


def test_a_pack_stays_as_long_as_anything_in_it_is_needed(repository: Git) -> None:
    pruning = Pruning(repository, worth=0)
    kept = commit_of(repository, b"kept")
    blob, other = (
        repository.run("hash-object", "-w", "--stdin", stdin=it).decode().strip()
        for it in (b"kept", b"other")
    )
    assert repository.git_dir is not None
    objects = repository.git_dir / "objects"
    repository.run(
        "pack-objects", "--quiet", str(objects / "pack" / "pack"), stdin=f"{blob}\n{other}\n".encode()
    )
    (objects / "pack" / "tmp_pack_a1b2c3").write_bytes(b"half")

    pruning.prune(kept)
    (objects / blob[:2] / blob[2:]).unlink(missing_ok=True)
    assert (is_whole(repository, kept), len(list((objects / "pack").glob("*.pack")))) == (True, 1)
    assert list((objects / "pack").glob("tmp_*")) == []

    pruning.prune()
    assert list((objects / "pack").iterdir()) == []
