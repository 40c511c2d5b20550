"""What of the agent's work tree becomes git objects, and that nothing else ever does."""

import os
import subprocess
from pathlib import Path

import pytest

from gastown_operator.workload import signatures
from gastown_operator.workload.credentials import CredentialFiles, access
from gastown_operator.workload.git import Git
from gastown_operator.workload.message import Outcome
from gastown_operator.workload.tree_files import TreeFiles
from tests.unit.workload.attempts import Attempts, RemoteRepository, git

WORK = "refs/heads/polecat/toast"
SECRET = "-----BEGIN OPENSSH PRIVATE KEY-----"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A directory of the keeper's own with a key in it."""
    directory = tmp_path / "keeper-only"
    directory.mkdir()
    (directory / "git-key").write_text(SECRET)
    return directory


def test_a_directory_that_became_a_link_is_not_followed(tmp_path: Path, secret: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "d").symlink_to(secret)

    assert TreeFiles(tree).signature(b"d/git-key") is None
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        TreeFiles(tree).copy(b"d/git-key", os.fsencode(tmp_path / "copy"))
    assert list(TreeFiles(tree).below(b"d")) == []


def test_a_directory_swapped_between_the_look_and_the_copy_is_not_followed(
    tmp_path: Path, secret: Path
) -> None:
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    (tree / "d" / "git-key").write_text("harmless")
    files = TreeFiles(tree)
    assert files.signature(b"d/git-key") is not None

    (tree / "d").rename(tree / "was-d")
    (tree / "d").symlink_to(secret)

    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        files.copy(b"d/git-key", os.fsencode(tmp_path / "copy"))


def test_the_work_tree_itself_is_not_followed_when_it_became_a_link(tmp_path: Path, secret: Path) -> None:
    (tmp_path / "tree").symlink_to(secret)

    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        TreeFiles(tmp_path / "tree").copy(b"git-key", os.fsencode(tmp_path / "copy"))


@pytest.mark.parametrize("path", [b"../x", b"a/../../x", b"/etc/passwd", b".", b"a//b", b""])
def test_no_path_leads_out_of_the_tree(tmp_path: Path, path: bytes) -> None:
    assert TreeFiles(tmp_path).signature(path) is None


def test_an_agent_that_puts_a_link_in_the_place_of_its_clone_publishes_nothing_of_the_keeper(
    attempts: Attempts, remote_repository: RemoteRepository, secret: Path
) -> None:
    attempt = attempts()
    attempt.clone()
    attempt.repository.rename(attempt.root / "elsewhere")
    attempt.repository.symlink_to(secret)

    attempt.end(0)

    for ref in remote_repository.refs():
        assert "git-key" not in remote_repository.files(ref)


def test_a_package_in_the_work_tree_is_not_what_the_credential_helper_imports(tmp_path: Path) -> None:
    files = CredentialFiles(
        tmp_path / "secret", "git-credentials", "team", tmp_path / "known", tmp_path / "private"
    )
    files.secret.mkdir()
    (files.secret / "password").write_text("hunter2")
    planted = tmp_path / "repo" / "gastown_operator" / "workload"
    planted.mkdir(parents=True)
    trap = tmp_path / "trap"
    for file in (planted / "__main__.py", planted.parents[1] / "json.py"):
        file.write_text(f"open({str(trap)!r}, 'w').write('ran')\n")
    opened = access("https://git.example.invalid/a", files, "yes")
    (helper,) = (value for name, value in opened.configuration.items() if name.endswith(".helper"))
    request = "protocol=https\nhost=git.example.invalid\npath=a\n\n"

    done = subprocess.run(
        ["/bin/sh", "-c", helper.removeprefix("!") + " get"],
        check=True,
        cwd=tmp_path / "repo",
        env={"PATH": os.environ["PATH"], **opened.environment},
        input=request,
        capture_output=True,
        text=True,
    )

    assert not trap.exists()
    assert "password=hunter2" in done.stdout


def test_programs_that_git_starts_do_not_run_among_the_agents_files(tmp_path: Path) -> None:
    git_dir, work_tree = tmp_path / "git", tmp_path / "tree"
    work_tree.mkdir()
    git_dir.mkdir()
    Git(git_dir).run("init", "--quiet", "--bare", ".")
    opened = Git(git_dir, work_tree=work_tree).with_environment({"GIT_SSH_COMMAND": "pwd >&2; false"}, {})

    _, _, errors = opened.attempt("fetch", "ssh://git.example.invalid/a")

    assert errors.decode().splitlines()[0] == str(git_dir)


def test_what_the_agents_git_ignores_is_not_published(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts()
    attempt.clone()
    (attempt.repository / ".git" / "info").mkdir(exist_ok=True)
    (attempt.repository / ".git" / "info" / "exclude").write_text(".env\n")
    attempt.agent({".env": "TOKEN=s3cret\n", "a.txt": "a\n"})

    attempt.end(0)

    assert ".env" not in remote_repository.files(WORK)


def test_files_that_a_sparse_checkout_leaves_out_are_not_deleted(attempts: Attempts) -> None:
    attempt = attempts()
    attempt.clone()
    git(attempt.repository, "sparse-checkout", "set", "--no-cone", "/README.md")
    assert not (attempt.repository / "src").exists()

    message = attempt.end(0)

    assert (message.outcome, message.commits) == (Outcome.NO_CHANGES, 0)


def test_one_file_that_git_refuses_costs_that_file_only(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts()
    attempt.clone()
    attempt.agent({".gitattributes": "*.utf16 working-tree-encoding=UTF-16\n", "good.txt": "good\n"})
    (attempt.repository / "bad.utf16").write_bytes(b"not utf-16 at all")

    message = attempt.end(0)

    files = remote_repository.files(WORK)
    assert (files["good.txt"], "bad.utf16" in files) == ("good", False)
    assert "bad.utf16" in message.message


def test_line_ends_are_stored_as_the_repository_says(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    remote_repository.commit(
        "main", {".gitattributes": "*.txt text eol=crlf\n", "old.txt": "one\n"}, "Attributes"
    )
    attempt = attempts()
    attempt.clone()
    assert (attempt.repository / "old.txt").read_bytes() == b"one\r\n"
    (attempt.repository / "new.txt").write_bytes(b"two\r\n")

    attempt.end(0)

    assert git(remote_repository.path, "diff", "--name-only", f"main..{WORK}") == "new.txt"
    blob = subprocess.run(
        ["git", "cat-file", "blob", f"{WORK}:new.txt"],
        cwd=remote_repository.path,
        check=True,
        capture_output=True,
    )
    assert blob.stdout == b"two\n"


def test_modes_and_links_are_kept(attempts: Attempts, remote_repository: RemoteRepository) -> None:
    attempt = attempts()
    attempt.clone()
    attempt.agent({"run.sh": "#!/bin/sh\n"})
    (attempt.repository / "run.sh").chmod(0o755)
    (attempt.repository / "link").symlink_to("README.md")

    attempt.end(0)

    listed = git(remote_repository.path, "ls-tree", WORK, "run.sh", "link").splitlines()
    assert [line.split()[0] for line in listed] == ["120000", "100755"]


def test_an_unchanged_file_is_not_read_again(attempts: Attempts) -> None:
    attempt = attempts()
    attempt.clone()
    keeper = attempt.keeper()
    first = keeper.work.look()
    os.utime(attempt.repository / "README.md", ns=(0, 0))

    assert keeper.work.look().tree == first.tree


def test_a_change_of_the_same_size_and_time_is_seen(attempts: Attempts) -> None:
    attempt = attempts()
    attempt.clone()
    keeper = attempt.keeper()
    before = keeper.work.look()
    file = attempt.repository / "README.md"
    status = file.stat()
    file.write_text("HELLO\n")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert keeper.work.look().tree != before.tree


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, for whom a mode of 000 means something")
def test_a_directory_that_cannot_be_read_is_not_a_deletion(attempts: Attempts) -> None:
    attempt = attempts()
    attempt.clone()
    keeper = attempt.keeper()
    for directory in attempt.root.parents[:3]:
        directory.chmod(directory.stat().st_mode | 0o011)
    for directory_name, _, files in os.walk(attempt.root):
        for name in [directory_name, *(str(Path(directory_name) / file) for file in files)]:
            os.chown(name, 65534, 65534, follow_symlinks=False)
    (attempt.repository / "src").chmod(0o000)
    child = os.fork()
    if child == 0:
        os.setresuid(65534, 65534, 65534)
        taken = keeper.work.look()
        os._exit(0 if taken.left_out == ("src/app.py",) and not taken.dirty else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_clone_knows_the_signature_of_every_file_that_it_checked_out(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    """Else the first checkpoint would read all of them."""
    remote_repository.commit("main", {"a.txt": "a\n", "directory/b.txt": "b\n"}, "More")
    attempt = attempts()
    attempt.clone()

    known = signatures.read(attempt.root / "files.jsonl")
    assert sorted(known) == sorted(os.fsencode(it) for it in git(attempt.repository, "ls-files").splitlines())
    assert b"directory/b.txt" in known
