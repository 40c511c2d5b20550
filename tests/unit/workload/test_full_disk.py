"""Volumes without room: what can be saved is pushed, what cannot is named, and nothing hangs."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import attrs
import pytest

from gastown_operator.workload.message import Outcome, TerminationMessage
from gastown_operator.workload.volumes import is_full, out_of_room
from tests.unit.workload.attempts import Attempt, Attempts, EndedAtOnce, RemoteRepository, git
from tests.unit.workload.beside import keep
from tests.unit.workload.test_keeper import Script

WORK = "refs/heads/polecat/toast"
CHECKPOINT = "refs/gastown/wip/0b7c2f2e-aaaa/1"
DONE = "refs/gastown/done/0b7c2f2e-aaaa/1"
MIB = 1024 * 1024


@attrs.define
class Disk:
    """A small volume.

    Attributes:
        path: where it is mounted.
    """

    path: Path

    def fill(self) -> None:
        """Take all the room that is left."""
        with (self.path / "fill").open("wb", buffering=0) as file:
            for size in (MIB, 4096, 1):
                with pytest.raises(OSError, match="No space left") as raised:
                    write_for_ever(file, b"\0" * size)
                assert out_of_room(raised.value, self.path)

    def make_room(self) -> None:
        """Give it back."""
        (self.path / "fill").unlink()


def write_for_ever(file: FileIO, content: bytes) -> None:
    """Until that fails."""
    while True:
        file.write(content)


def mount(*arguments: str) -> None:
    """Mount something, or skip the test where that is not allowed."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small volume needs the right to mount: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """The volume of the first attempt: 16 MiB for everything that is in it."""
    path = tmp_path / "pod-1"
    path.mkdir()
    mount("-t", "tmpfs", "-o", "size=16m", "tmpfs", str(path))
    yield Disk(path)
    for mounted in (path / "repo", path):
        subprocess.run(["umount", "--lazy", str(mounted)], capture_output=True, check=False)


def with_a_workspace_of_its_own(attempt: Attempt) -> None:
    """Let only the keeper's files be on the small volume."""
    roomy = attempt.root.parent / "workspace"
    shutil.copytree(attempt.repository, roomy, symlinks=True)
    mount("--bind", str(roomy), str(attempt.repository))


def test_a_file_too_large_for_the_keepers_volume_costs_itself_alone_and_is_named(
    attempts: Attempts, remote_repository: RemoteRepository, disk: Disk
) -> None:
    attempt = attempts()
    attempt.clone()
    with_a_workspace_of_its_own(attempt)
    head = attempt.agent({"a.txt": "a\n"}, "Work")
    (attempt.repository / "model.bin").write_bytes(os.urandom(24 * MIB))
    attempt.agent({"small.txt": "small\n", "src/app.py": "print('hello')\n"})

    message = attempt.end(0)

    assert (message.outcome, message.reason) == (Outcome.RESOURCE_EXCEEDED, "DiskFull")
    assert "could not store 1 files ('model.bin')" in message.message
    assert (message.pushed, message.head) == (True, head)
    refs = remote_repository.refs()
    assert (refs[WORK], DONE in refs) == (head, False)
    saved = remote_repository.files(CHECKPOINT)
    assert (saved["small.txt"], saved["src/app.py"]) == ("small", "print('hello')")
    assert not is_full(disk.path)


def test_commits_are_pushed_from_a_keeper_whose_volume_is_full(
    attempts: Attempts, remote_repository: RemoteRepository, disk: Disk
) -> None:
    attempt = attempts()
    attempt.clone()
    with_a_workspace_of_its_own(attempt)
    head = attempt.agent({"a.txt": "a\n"}, "Work")
    attempt.agent({"b.txt": "b\n"})

    message = attempt_ends(attempt, 0, disk)

    assert (message.outcome, message.reason) == (Outcome.RESOURCE_EXCEEDED, "DiskFull")
    assert "was not committed was not saved" in message.message
    assert (message.pushed, message.head) == (True, head)
    refs = remote_repository.refs()
    assert (refs[WORK], DONE in refs) == (head, False)


def attempt_ends(attempt: Attempt, code: int, disk: Disk) -> TerminationMessage:
    """The agent ends on a full volume, on which its wrapper had just enough room for the report."""
    (attempt.hints / "exit").write_text(f"code={code} stopped=no\n")
    keeper = attempt.keeper()
    disk.fill()
    with EndedAtOnce(()) as wakeups:
        return keeper.run(wakeups)


@pytest.mark.parametrize("code", [0, 1])
def test_an_agent_that_filled_the_nodes_disk(
    attempts: Attempts, remote_repository: RemoteRepository, disk: Disk, code: int
) -> None:
    attempt = attempts()
    attempt.clone()
    head = attempt.agent({"a.txt": "a\n"}, "Work")

    message = attempt_ends(attempt, code, disk)

    assert (message.outcome, message.reason) == (Outcome.RESOURCE_EXCEEDED, "DiskFull")
    assert (message.pushed, message.head) == (True, head)
    assert DONE not in remote_repository.refs()


def test_an_agent_without_a_report_on_a_full_disk(attempts: Attempts, disk: Disk) -> None:
    attempt = attempts()
    attempt.clone()
    keeper = attempt.keeper()
    disk.fill()

    with EndedAtOnce(()) as wakeups:
        message = keeper.run(wakeups)

    assert (message.outcome, message.reason) == (Outcome.RESOURCE_EXCEEDED, "DiskFull")
    assert "the workspace" in message.message


def test_checkpoints_go_on_when_there_is_room_again(
    attempts: Attempts, remote_repository: RemoteRepository, disk: Disk
) -> None:
    attempt = attempts()
    attempt.clone()
    with_a_workspace_of_its_own(attempt)
    attempt.agent({"b.txt": "b\n", "c.txt": "c\n"})
    keeper = attempt.keeper()
    disk.fill()
    keeper._checkpoint()
    assert CHECKPOINT not in remote_repository.refs()
    disk.make_room()

    keeper._checkpoint()

    assert remote_repository.files(CHECKPOINT)["b.txt"] == "b"
    assert git(remote_repository.path, "fsck", "--connectivity-only") == ""


def test_an_agent_is_stopped_at_its_deadline_by_a_keeper_that_cannot_write_why(
    attempts: Attempts, disk: Disk
) -> None:
    attempt = attempts(deadline=600)
    attempt.clone()
    now = [0.0]
    (attempt.hints / "exit").write_text("code=143 stopped=yes\n")
    keeper = attempt.keeper(lambda: now[0])
    disk.fill()

    def the_deadline_passes() -> set[signal.Signals]:
        now[0] = 600.0
        return set()

    message = keeper.run(Script(the_deadline_passes, {signal.SIGTERM}))

    assert (attempt.control / "stop").read_text() == ""
    assert message.outcome is Outcome.DEADLINE_EXCEEDED


def test_contents_of_git_lfs_that_have_no_room_are_named_and_the_others_put_back(
    attempts: Attempts, disk: Disk, tmp_path: Path
) -> None:
    first, second = attempts(), attempts()
    first.root, second.root = tmp_path / "roomy", disk.path
    first.clone()
    for _ in range(3):
        keep(first, os.urandom(7 * MIB // 2))
    first.end(1)
    record = second.clone()

    (told,) = record.left_aside
    whole = [it for it in (second.repository / ".git" / "lfs").rglob("*") if it.is_file()]
    assert 0 < len(whole) < 3
    assert f"({3 - len(whole)} of 3 are missing: error: unable to write file objects/" in told
    assert told in (second.control / "prompt.md").read_text()
