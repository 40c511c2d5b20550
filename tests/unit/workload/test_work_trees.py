"""Work trees that agents leave behind: each is on the remote at the end, or the message says what is not."""

import os
import resource
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from gastown_operator.workload.errors import GitError
from gastown_operator.workload.journal import JsonJournal
from gastown_operator.workload.message import Outcome, TerminationMessage
from gastown_operator.workload.tree_files import TreeFiles
from tests.unit.workload.attempts import Attempt, Attempts, RemoteRepository, git

WORK = "refs/heads/polecat/toast"
CHECKPOINT = "refs/gastown/wip/0b7c2f2e-aaaa/1"
#: MiB; the keeper's container may use 1,024.
MEMORY = 400
FULL = pytest.mark.skipif(not os.environ.get("GASTOWN_FULL"), reason="takes long: hack/test --full")


def _names(remote: RemoteRepository, revision: str = WORK) -> set[bytes]:
    listed = git(remote.path, "ls-tree", "-r", "-z", "--name-only", revision)
    return {os.fsencode(name) for name in listed.split("\0") if name}


def _ended(attempt: Attempt, seconds: float = 50) -> TerminationMessage:
    """The keeper's word on a success, for which it has a time."""
    began = time.monotonic()
    message = attempt.end(0)
    assert time.monotonic() - began < seconds
    return message


def _delivered(attempt: Attempt) -> tuple[TerminationMessage, int]:
    """What the keeper says of a success, and the MiB that it and the largest git of its needed."""
    message = attempt.end(0)
    kib = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return message, kib // 1024


def _ended_within(attempt: Attempt, seconds: float) -> TerminationMessage:
    """The keeper's word on a success, for which it has a time and, as a process of its own, memory."""
    began = time.monotonic()
    with ProcessPoolExecutor(1, get_context("spawn")) as keeper:
        message, peak = keeper.submit(_delivered, attempt).result()
    took = time.monotonic() - began
    JsonJournal("test")("measured", seconds=round(took, 1), mebibytes=peak)
    assert took < seconds
    assert peak < MEMORY
    return message


@pytest.fixture
def attempt(attempts: Attempts) -> Attempt:
    """A clone of two commits."""
    made = attempts()
    made.clone()
    return made


def test_names_of_every_kind_are_kept(attempt: Attempt, remote_repository: RemoteRepository) -> None:
    names = [
        *(b"Case", b"case", b"CASE"),
        *(b"\xff\xfe latin \xe9", "ünï/cödé".encode(), b"tab\tand\nline", b"a space ", b"-rf", b"--help"),
        *(b"back\\slash", b"git~1", b"con", b"a:b", b"x" * 255, b"/".join([b"d" * 200] * 10)),
        *(b"HEAD", b"refs/heads/x", b'"quoted"', b"$(touch trap)", b":(glob)*", b"trailing."),
    ]
    root = os.fsencode(attempt.repository)
    for name in names:
        os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)  # noqa: PTH103, PTH118, PTH120 - bytes
        with open(os.path.join(root, name), "wb") as file:  # noqa: PTH118, PTH123 - bytes
            file.write(name)

    message = _ended(attempt)

    assert (message.outcome, "could not" in message.message) == (Outcome.SUCCEEDED, False)
    assert set(names) <= _names(remote_repository)


def test_directories_deeper_than_any_path_cost_themselves_alone(
    attempt: Attempt, remote_repository: RemoteRepository
) -> None:
    attempt.agent({"good.txt": "good\n"})
    git(attempt.repository, "init", "--quiet", "nested")
    git(attempt.repository / "nested", "commit", "--quiet", "--allow-empty", "--message", "inner")
    for start in (attempt.repository, attempt.repository / "nested"):
        here = os.open(start, os.O_RDONLY)
        for _ in range(1500):
            os.mkdir("deep", dir_fd=here)
            inner = os.open("deep", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        os.close(here)

    message = _ended(attempt)

    assert message.outcome is Outcome.SUCCEEDED
    assert remote_repository.files(WORK)["good.txt"] == "good"
    assert "could not read 2 files ('deep/deep/" in message.message
    # Python's own removal of directories ends at a thousand.
    subprocess.run(["rm", "-rf", str(attempt.repository)], check=True)


def test_what_is_no_file_is_left_out_without_waiting_for_it(
    attempt: Attempt, remote_repository: RemoteRepository
) -> None:
    attempt.agent({"good.txt": "good\n"})
    os.mkfifo(attempt.repository / "fifo")
    os.mkfifo(attempt.repository / ".gitattributes")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(attempt.repository)
        listening.bind("socket")
        os.chdir(here)
    if os.geteuid() == 0:
        os.mknod(attempt.repository / "device", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    (attempt.repository / "loop").symlink_to("loop")

    message = _ended(attempt)

    assert message.outcome is Outcome.SUCCEEDED
    assert _names(remote_repository) == {b".gitignore", b"README.md", b"good.txt", b"loop", b"src/app.py"}


TRAPS = (
    ".gitignore",
    "src/.gitignore",
    "nested/.git/HEAD",
    "nested/.git/refs/heads/main",
    "nested/.git/config",
)


def test_a_fifo_where_git_looks_while_it_lists_names_reads_as_empty(
    attempt: Attempt, remote_repository: RemoteRepository
) -> None:
    attempt.agent({"good.txt": "good\n", "nested/inner.txt": "inner\n"})
    git(attempt.repository, "init", "--quiet", "--initial-branch=main", "nested")
    for trap in TRAPS:
        (attempt.repository / trap).unlink(missing_ok=True)
        os.mkfifo(attempt.repository / trap)

    message = _ended(attempt, 20)

    assert (message.outcome, "could not" in message.message) == (Outcome.SUCCEEDED, False), message.message
    assert _names(remote_repository) == {b"README.md", b"good.txt", b"nested/inner.txt", b"src/app.py"}


def test_a_fifo_of_any_other_name_is_left_to_who_reads_from_it(attempt: Attempt) -> None:
    for name in ("fifo", "src/fifo", "src/.gitignore"):
        os.mkfifo(attempt.repository / name)

    assert list(TreeFiles(attempt.repository).traps()) == [b"src/.gitignore"]


def test_a_list_of_names_that_waits_for_the_agent_is_given_up(attempt: Attempt) -> None:
    git(attempt.repository, "init", "--quiet", "nested")
    trap = attempt.repository / "nested" / ".git" / "HEAD"
    trap.unlink()
    os.mkfifo(trap)
    keeper = attempt.keeper()
    keeper.work.snapshots.list_timeout = 3

    with trap.open("r+b", buffering=0), pytest.raises(GitError, match="ls-files took too long"):
        keeper.work.look()


def test_binary_files_are_kept_as_they_are(attempt: Attempt, remote_repository: RemoteRepository) -> None:
    content = os.urandom(20_000_000)
    (attempt.repository / "binary.dat").write_bytes(content)
    (attempt.repository / "nul.txt").write_bytes(b"\0\r\n\xff\n")

    message = _ended(attempt)

    assert message.outcome is Outcome.SUCCEEDED
    for name, expected in (("binary.dat", content), ("nul.txt", b"\0\r\n\xff\n")):
        git(remote_repository.path, "show", f"{WORK}:.gitignore")
        object_id = git(remote_repository.path, "rev-parse", f"{WORK}:{name}")
        (attempt.root / "expected").write_bytes(expected)
        assert object_id == git(attempt.root, "hash-object", "--no-filters", "expected")


def test_a_dirty_index_does_not_matter(attempt: Attempt, remote_repository: RemoteRepository) -> None:
    repository = attempt.repository
    attempt.agent({"staged.txt": "staged\n", "both.txt": "staged\n", "gone.txt": "gone\n"})
    git(repository, "add", "--all")
    attempt.agent({"both.txt": "newer\n"})
    (repository / "gone.txt").unlink()
    git(repository, "rm", "--quiet", "--cached", "README.md")
    (repository / ".git" / "index.lock").touch()
    (repository / ".git" / "MERGE_HEAD").write_text("1" * 40 + "\n")

    message = _ended(attempt)

    files = remote_repository.files(WORK)
    assert message.outcome is Outcome.SUCCEEDED
    assert (files["staged.txt"], files["both.txt"], files["README.md"]) == ("staged", "newer", "hello")
    assert "gone.txt" not in files


def test_conflicts_of_a_merge_are_kept_as_they_lie_there(
    attempt: Attempt, remote_repository: RemoteRepository
) -> None:
    repository = attempt.repository
    attempt.agent({"README.md": "ours\n"}, "Ours")
    git(repository, "checkout", "--quiet", "-b", "other", "HEAD~1")
    attempt.agent({"README.md": "theirs\n"}, "Theirs")
    git(repository, "checkout", "--quiet", "polecat/toast")
    with pytest.raises(Exception, match="merge"):
        git(repository, "merge", "other")

    message = attempt.end(1)

    assert message.outcome is Outcome.AGENT_ERROR
    assert "<<<<<<<" in remote_repository.files(CHECKPOINT)["README.md"]


def _amended(repository: Path) -> None:
    git(repository, "commit", "--quiet", "--amend", "--message", "Amended")


def _rebased(repository: Path) -> None:
    git(repository, "rebase", "--quiet", "--force-rebase", "--root")


def _filtered(repository: Path) -> None:
    git(repository, "filter-branch", "-f", "--msg-filter", "sed s/^/X-/", "HEAD")


def _orphaned(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "--orphan", "anew")
    git(repository, "commit", "--quiet", "--message", "Anew")


def _detached(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "--detach")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "Detached")


@pytest.mark.parametrize("rewrite", [_amended, _rebased, _filtered, _orphaned, _detached])
@pytest.mark.filterwarnings("ignore")
def test_history_that_the_agent_rewrote_is_pushed_as_it_is(
    attempt: Attempt,
    remote_repository: RemoteRepository,
    monkeypatch: pytest.MonkeyPatch,
    rewrite: Callable[[Path], None],
) -> None:
    monkeypatch.setenv("FILTER_BRANCH_SQUELCH_WARNING", "1")
    attempt.agent({"a.txt": "a\n"}, "Work")
    rewrite(attempt.repository)
    head = git(attempt.repository, "rev-parse", "HEAD")

    message = _ended(attempt)

    assert (message.outcome, message.head) == (Outcome.SUCCEEDED, head)
    assert remote_repository.refs()[WORK] == head
    assert remote_repository.files(WORK)["a.txt"] == "a"


def _deleted(repository: Path) -> None:
    shutil.rmtree(repository / ".git")


def _a_file(repository: Path) -> None:
    _deleted(repository)
    (repository / ".git").write_text("gitdir: /gastown/keeper/repository.git\n")


def _a_link(repository: Path) -> None:
    (repository / ".git").rename(repository.parent / "elsewhere")
    (repository / ".git").symlink_to(repository.parent / "elsewhere")


def _a_fifo(repository: Path) -> None:
    _deleted(repository)
    os.mkfifo(repository / ".git")


def _fifo_among_packs(repository: Path) -> None:
    os.mkfifo(repository / ".git" / "objects" / "pack" / f"pack-{'1' * 40}.idx")


def _fifo_for_the_commit(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    loose = repository / ".git" / "objects" / head[:2] / head[2:]
    loose.unlink()
    os.mkfifo(loose)


def _fifo_for_objects(repository: Path) -> None:
    shutil.rmtree(repository / ".git" / "objects")
    os.mkfifo(repository / ".git" / "objects")


def _fifo_behind_an_alternate(repository: Path) -> None:
    (repository.parent / "store" / "pack").mkdir(parents=True)
    os.mkfifo(repository.parent / "store" / "pack" / f"pack-{'1' * 40}.idx")
    info = repository / ".git" / "objects" / "info"
    info.mkdir(exist_ok=True)
    (info / "alternates").write_text("../../../store\n")


def _fifo_for_head(repository: Path) -> None:
    (repository / ".git" / "HEAD").unlink()
    os.mkfifo(repository / ".git" / "HEAD")


def _fifo_for_the_index(repository: Path) -> None:
    (repository / ".git" / "index").unlink()
    os.mkfifo(repository / ".git" / "index")


def _corrupt_objects(repository: Path) -> None:
    for file in (repository / ".git" / "objects").rglob("*"):
        if file.is_file():
            file.chmod(0o644)
            file.write_bytes(b"nonsense")


HARMS = (
    *(_deleted, _a_file, _a_link, _a_fifo, _fifo_among_packs, _fifo_for_the_commit, _fifo_for_objects),
    *(_fifo_behind_an_alternate, _fifo_for_head, _fifo_for_the_index, _corrupt_objects),
)


@pytest.mark.parametrize("harm", HARMS)
def test_files_are_saved_whatever_became_of_the_git_directory(
    attempt: Attempt, remote_repository: RemoteRepository, harm: Callable[[Path], None]
) -> None:
    attempt.agent({"a.txt": "a\n"}, "Work")
    attempt.agent({"b.txt": "b\n"})
    harm(attempt.repository)

    message = _ended(attempt)

    assert (message.outcome, message.pushed) == (Outcome.SUCCEEDED, True), message.message
    files = remote_repository.files(WORK)
    assert (files["a.txt"], files["b.txt"], files["README.md"]) == ("a", "b", "hello")
    flat = git(remote_repository.path, "log", "--format=%s", "-1", f"{WORK}~1") != "Work"
    assert flat is ("could not be read" in message.message)


@pytest.mark.timeout(400)
def test_a_hundred_thousand_small_files_are_saved_in_time_and_in_bounded_memory(
    attempt: Attempt,
    remote_repository: RemoteRepository,
) -> None:
    number = 100_000 if os.environ.get("GASTOWN_FULL") else 2_000
    for directory in range(number // 1000):
        (attempt.repository / f"d{directory}").mkdir()
        for file in range(1000):
            (attempt.repository / f"d{directory}" / f"{file}.txt").write_text(f"{directory} {file}\n")

    message = _ended_within(attempt, 95)

    assert message.outcome is Outcome.SUCCEEDED
    assert len(_names(remote_repository)) == number + 3


@FULL
@pytest.mark.timeout(400)
def test_a_gigabyte_is_saved_in_time_and_in_bounded_memory(
    attempt: Attempt,
    remote_repository: RemoteRepository,
) -> None:
    # As forges do; else the server, which shares this machine, compresses everything once more.
    git(remote_repository.path, "config", "receive.unpackLimit", "1")
    # Its processes are counted with the keeper's, and would map the whole pack.
    for name, size in (("core.packedGitWindowSize", "16m"), ("core.packedGitLimit", "128m")):
        git(remote_repository.path, "config", name, size)
    for number in range(16):
        with (attempt.repository / f"large-{number}").open("wb") as file:
            file.writelines(os.urandom(1024 * 1024) for _ in range(64))

    message = _ended_within(attempt, 95)

    assert message.outcome is Outcome.SUCCEEDED
    assert len(_names(remote_repository)) == 16 + 3
