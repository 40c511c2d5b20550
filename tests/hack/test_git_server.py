"""The git server of tests and demo, tried with the real git and ssh."""

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.git_server import GitServer, KeyPair, generate_key
from hack.git_server.openssh import prepare
from hack.lab.progress import Progress

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sshd needs root")

FILES = {"README.md": "# Sample\n", "src/räum ig.txt": "eins\n"}


class Client:
    """Git as a user runs it: a home of its own, one key, one list of known hosts."""

    def __init__(self, home: Path, server: GitServer, key: KeyPair) -> None:
        self.home = home
        (home / "known_hosts").write_text(server.known_hosts_line() + "\n")
        (home / "ca.pem").write_text(server.certificate_authority())
        ssh = f"ssh -F none -i {key.private} -o IdentitiesOnly=yes -o BatchMode=yes"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": f"{ssh} -o UserKnownHostsFile={home}/known_hosts -o StrictHostKeyChecking=yes",
            "GIT_SSL_CAINFO": str(home / "ca.pem"),
            "GIT_AUTHOR_NAME": "A",
            "GIT_AUTHOR_EMAIL": "a@example.com",
            "GIT_COMMITTER_NAME": "A",
            "GIT_COMMITTER_EMAIL": "a@example.com",
        }

    def git(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["git", *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.home,
            env=self.environment,
            timeout=30,
        )

    def clone(self, url: str) -> Path:
        answer = self.git("clone", "--quiet", url, "work")
        assert answer.returncode == 0, answer.stderr
        return self.home / "work"

    def push_change(self, url: str, content: bytes = b"changed\n") -> "subprocess.CompletedProcess[str]":
        (self.clone(url) / "README.md").write_bytes(content)
        assert self.git("-C", "work", "commit", "--quiet", "-am", "Change").returncode == 0
        return self.git("-C", "work", "push", "origin", "HEAD:refs/heads/polecat/one")

    def head(self) -> str:
        return self.git("-C", "work", "rev-parse", "HEAD").stdout.strip()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    prepare(Progress("tests"))
    with GitServer(tmp_path_factory.mktemp("git server"), "127.0.0.1") as running:
        running.authorize_user("developer", "correct horse")
        yield running


@pytest.fixture
def key(server: GitServer, tmp_path: Path) -> KeyPair:
    pair = generate_key(tmp_path / "id")
    server.authorize(pair.public)
    return pair


@pytest.fixture
def client(server: GitServer, key: KeyPair, tmp_path: Path) -> Client:
    return Client(tmp_path, server, key)


@pytest.fixture
def repository(server: GitServer, request: pytest.FixtureRequest) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name).strip("-")
    server.create_repository(name, FILES)
    return name


def test_a_key_clones_and_pushes_over_ssh(server: GitServer, client: Client, repository: str) -> None:
    answer = client.push_change(server.ssh_url(repository))
    assert answer.returncode == 0, answer.stderr
    assert (client.home / "work/src/räum ig.txt").read_text() == "eins\n"
    assert server.refs(repository)["refs/heads/polecat/one"] == client.head()
    assert server.show(repository, "polecat/one", "README.md") == "changed\n"


def test_an_unknown_key_is_refused(server: GitServer, repository: str, tmp_path: Path) -> None:
    stranger = Client(tmp_path, server, generate_key(tmp_path / "id"))
    answer = stranger.git("ls-remote", server.ssh_url(repository))
    assert answer.returncode == 128
    assert "Permission denied (publickey)" in answer.stderr


def test_a_revoked_key_is_refused(server: GitServer, client: Client, key: KeyPair, repository: str) -> None:
    server.ssh.revoke(key.public)
    assert "Permission denied" in client.git("ls-remote", server.ssh_url(repository)).stderr


def test_a_wrong_host_key_is_noticed_by_the_client(
    server: GitServer, client: Client, repository: str, tmp_path: Path
) -> None:
    other = generate_key(tmp_path / "other").public.split()[1]
    host, kind, _ = server.known_hosts_line().split()
    (client.home / "known_hosts").write_text(f"{host} {kind} {other}\n")
    answer = client.git("ls-remote", server.ssh_url(repository))
    assert "Host key verification failed" in answer.stderr


def test_a_repository_that_does_not_exist_is_named_in_the_refusal(server: GitServer, client: Client) -> None:
    answer = client.git("ls-remote", server.ssh_url("nowhere"))
    assert answer.returncode == 128
    assert "'/nowhere.git' does not appear to be a git repository" in answer.stderr


@pytest.mark.parametrize(
    "command",
    ["id", "git-upload-pack '/../../etc'", "git-upload-pack /a /b", "git-upload-pack 'unfinished", ""],
)
def test_a_key_can_run_nothing_but_git_on_the_repositories(
    server: GitServer, client: Client, key: KeyPair, command: str
) -> None:
    answer = subprocess.run(
        [
            *("ssh", "-F", "none", "-i", str(key.private), "-o", "BatchMode=yes"),
            *("-o", f"UserKnownHostsFile={client.home}/known_hosts", "-p", str(server.ssh.port)),
            *("git@127.0.0.1", command),
        ],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=30,
    )
    assert answer.returncode == 128
    assert "fatal: " in answer.stderr
    assert answer.stdout == ""


def test_a_hook_rejects_a_push_with_its_message(server: GitServer, client: Client, repository: str) -> None:
    server.install_hook(repository, "pre-receive", "#!/bin/sh\necho 'policy says no' >&2\nexit 1\n")
    before = server.refs(repository)
    answer = client.push_change(server.ssh_url(repository))
    assert answer.returncode == 1
    assert "policy says no" in answer.stderr
    assert "pre-receive hook declined" in answer.stderr
    assert server.refs(repository) == before


def test_a_hook_sends_what_is_fetched(server: GitServer, client: Client, repository: str) -> None:
    server.install_hook(repository, "pack-objects", '#!/bin/sh\necho "$*" >&2\nexit 1\n')
    answer = client.git("clone", "--quiet", server.ssh_url(repository), "work")
    assert answer.returncode == 128
    assert "git pack-objects --revs" in answer.stderr


def test_a_password_clones_and_pushes_over_https(server: GitServer, client: Client, repository: str) -> None:
    url = server.https_url(repository).replace("https://", "https://developer:correct%20horse@")
    # Larger than http.postBuffer, so that git sends it in chunks.
    answer = client.push_change(url, os.urandom(3_000_000))
    assert answer.returncode == 0, answer.stderr
    assert server.refs(repository)["refs/heads/polecat/one"] == client.head()


@pytest.mark.parametrize("account", ["", "developer:wrong@", "nobody:correct%20horse@"])
def test_https_refuses_other_passwords(
    server: GitServer, client: Client, repository: str, account: str
) -> None:
    answer = client.git("ls-remote", server.https_url(repository).replace("https://", f"https://{account}"))
    assert answer.returncode == 128
    assert "could not read Username" in answer.stderr or "Authentication failed" in answer.stderr


def test_https_is_refused_by_clients_that_do_not_trust_the_authority(
    server: GitServer, client: Client, repository: str
) -> None:
    client.environment["GIT_SSL_CAINFO"] = "/etc/ssl/certs/ca-certificates.crt"
    answer = client.git("ls-remote", server.https_url(repository))
    assert "certificate" in answer.stderr


def test_colleagues_commit_on_existing_and_new_branches(server: GitServer, repository: str) -> None:
    first = server.refs(repository)["refs/heads/main"]
    second = server.commit(repository, "main", {"README.md": "two\n"})
    third = server.commit(repository, "polecat/x", {"only.txt": b"\0binary"}, message="Begin elsewhere")
    assert server.git(repository, "rev-parse", f"{second}^").strip() == first
    assert server.show(repository, "main", "src/räum ig.txt") == "eins\n"
    assert server.git(repository, "ls-tree", "--name-only", third).split() == ["only.txt"]


def test_a_server_on_the_same_directory_keeps_its_identity(tmp_path: Path) -> None:
    prepare(Progress("tests"))
    with GitServer(tmp_path / "town", "127.0.0.1") as first:
        first.create_repository("kept", FILES)
        line, port, authority = first.known_hosts_line(), first.ssh.port, first.certificate_authority()
    with GitServer(tmp_path / "town", "127.0.0.1", ssh_port=port) as second:
        assert second.known_hosts_line() == line
        assert second.certificate_authority() == authority
        assert "refs/heads/main" in second.refs("kept")


def test_starting_asks_no_name_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the lab's network none answers, and the question takes ten seconds."""
    monkeypatch.setattr(socket, "getfqdn", lambda *_: pytest.fail("asked for a name"))
    with GitServer(tmp_path, "127.0.0.1"):
        pass


def test_stopping_leaves_no_process_and_no_listener(tmp_path: Path) -> None:
    prepare(Progress("tests"))
    server = GitServer(tmp_path / "town", "127.0.0.1")
    server.start()
    server.stop()
    server.stop()
    lines = subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout
    assert str(tmp_path) not in lines
    probe = subprocess.run(
        ["ssh", "-F", "none", "-o", "BatchMode=yes", "-p", str(server.ssh.port), "127.0.0.1"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "Connection refused" in probe.stderr
