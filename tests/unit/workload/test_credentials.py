"""A credential is shown to the rig's repository and to nothing else."""

import subprocess
from pathlib import Path

import pytest

from gastown_operator.workload.credentials import CredentialFiles, access, answer, is_ssh, ssh_host
from gastown_operator.workload.errors import AttemptError
from gastown_operator.workload.git import Git
from gastown_operator.workload.host_keys import known_hosts_lines
from gastown_operator.workload.message import Outcome

REPOSITORY = "https://git.example.invalid/org/project.git"


@pytest.fixture
def files(tmp_path: Path) -> CredentialFiles:
    """Mounted volumes of a container, empty."""
    made = CredentialFiles(
        tmp_path / "secret", "git-credentials", "team", tmp_path / "known-hosts", tmp_path / "private"
    )
    for directory in (made.secret, made.known_hosts, made.private):
        directory.mkdir()
    (made.known_hosts / "known_hosts").write_text("host ssh-ed25519 KEY\n")
    return made


@pytest.mark.parametrize(
    ("url", "ssh"),
    [("git@host:a/b", True), ("ssh://git@host/a", True), (REPOSITORY, False), ("http://host/a", False)],
)
def test_which_urls_are_reached_by_ssh(url: str, ssh: bool) -> None:
    assert is_ssh(url) is ssh


def test_a_missing_secret_says_which_and_how_to_make_it(files: CredentialFiles) -> None:
    files.secret.rmdir()

    with pytest.raises(AttemptError) as raised:
        access("git@host:a/b", files, "yes")

    assert (raised.value.outcome, raised.value.reason) == (Outcome.CONFIG_ERROR, "GitCredentialMissing")
    assert "kubectl -n team create secret generic git-credentials" in raised.value.message


def test_a_secret_with_other_keys_names_what_it_found(files: CredentialFiles) -> None:
    (files.secret / "deploy-key").write_text("x")

    with pytest.raises(AttemptError, match="has only deploy-key"):
        access("git@host:a/b", files, "yes")


def test_the_key_is_copied_with_the_mode_and_the_newline_that_ssh_wants(files: CredentialFiles) -> None:
    (files.secret / "id_ed25519").write_text("KEY")

    command = access("git@host:a/b", files, "yes").environment["GIT_SSH_COMMAND"]

    copy = files.private / "git-key"
    assert (copy.read_text(), copy.stat().st_mode & 0o777) == ("KEY\n", 0o600)
    assert "StrictHostKeyChecking=yes" in command
    assert "-F /dev/null" in command


@pytest.mark.parametrize("checking", ["yes", "accept-new"])
def test_a_missing_config_map_is_not_called_a_wrong_host_key(files: CredentialFiles, checking: str) -> None:
    (files.secret / "ssh-privatekey").write_text("KEY")
    (files.known_hosts / "known_hosts").write_text("\n")
    if checking != "yes":
        assert "accept-new" in access("git@host:a/b", files, checking).environment["GIT_SSH_COMMAND"]
        return

    with pytest.raises(AttemptError) as raised:
        access("git@host:a/b", files, checking)

    assert raised.value.reason == "KnownHostsMissing"
    assert "kubectl -n team create configmap known-hosts" in raised.value.message


def test_known_hosts_are_all_files_of_the_config_map(files: CredentialFiles) -> None:
    (files.secret / "ssh-privatekey").write_text("KEY")
    (files.known_hosts / "known_hosts").unlink()
    (files.known_hosts / "a").write_text("host-a ssh-ed25519 A")
    (files.known_hosts / "b").write_text("host-b ssh-ed25519 B\n")

    access("git@host:a/b", files, "yes")

    assert (files.private / "known_hosts").read_text() == "host-a ssh-ed25519 A\nhost-b ssh-ed25519 B\n"


def test_a_rig_on_a_large_forge_is_reached_strictly_without_a_config_map(files: CredentialFiles) -> None:
    (files.secret / "ssh-privatekey").write_text("KEY")
    (files.known_hosts / "known_hosts").unlink()

    command = access("git@github.com:org/project.git", files, "yes").environment["GIT_SSH_COMMAND"]

    assert "StrictHostKeyChecking=yes" in command
    assert (files.private / "known_hosts").read_bytes() == known_hosts_lines("github.com")


def test_the_rigs_own_lines_come_before_those_of_a_large_forge(files: CredentialFiles) -> None:
    (files.secret / "ssh-privatekey").write_text("KEY")

    access("ssh://git@ssh.github.com:443/org/project.git", files, "yes")

    known = (files.private / "known_hosts").read_bytes()
    assert known == b"host ssh-ed25519 KEY\n" + known_hosts_lines("[ssh.github.com]:443")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("git@Host.example:a/b", "host.example"),
        ("ssh://git@host.example/a", "host.example"),
        ("ssh://git@host.example:22/a", "host.example"),
        ("ssh://git@host.example:2222/a", "[host.example]:2222"),
    ],
)
def test_a_server_is_looked_up_as_openssh_does(url: str, host: str) -> None:
    assert ssh_host(url) == host


def test_https_without_a_password_goes_without_a_credential(files: CredentialFiles) -> None:
    assert access(REPOSITORY, files, "yes").configuration == {}


def asked_by_git(files: CredentialFiles, protocol: str, host: str, path: str) -> str:
    """What git itself gets from the helper that `access` configures, for one destination."""
    opened = access(REPOSITORY, files, "yes")
    request = f"protocol={protocol}\nhost={host}\npath={path}\n\n".encode()
    git = Git(None, environment=opened.environment, configuration=opened.configuration)
    _, output, _ = git.attempt("credential", "fill", stdin=request)
    return output.decode()


def test_git_gets_the_password_for_the_rigs_repository(files: CredentialFiles) -> None:
    (files.secret / "username").write_text("robot\n")
    (files.secret / "password").write_text("hunter2\n")

    filled = asked_by_git(files, "https", "git.example.invalid", "org/project.git")

    assert "username=robot\n" in filled
    assert "password=hunter2\n" in filled


@pytest.mark.parametrize(
    ("protocol", "host", "path"),
    [
        ("https", "git.example.invalid", "org/another.git"),
        ("https", "evil.example.invalid", "org/project.git"),
        ("https", "git.example.invalid:8443", "org/project.git"),
        ("http", "git.example.invalid", "org/project.git"),
        ("https", "git.example.invalid", "org/project.git/../other"),
    ],
)
def test_git_gets_nothing_for_any_other_destination(
    files: CredentialFiles, protocol: str, host: str, path: str
) -> None:
    (files.secret / "password").write_text("hunter2\n")

    assert "hunter2" not in asked_by_git(files, protocol, host, path)
    assert answer({"protocol": protocol, "host": host, "path": path}, REPOSITORY, files.secret) == {}


def test_no_secret_is_in_an_argument_or_a_setting(files: CredentialFiles) -> None:
    (files.secret / "password").write_text("hunter2\n")

    assert "hunter2" not in repr(access(REPOSITORY, files, "yes"))


def test_the_helper_runs_as_a_program(files: CredentialFiles) -> None:
    (files.secret / "password").write_text("hunter2\n")
    opened = access(REPOSITORY, files, "yes")
    (helper,) = (value for name, value in opened.configuration.items() if name.endswith(".helper"))

    done = subprocess.run(
        ["/bin/sh", "-c", helper.removeprefix("!") + " erase"],
        check=False,
        capture_output=True,
        env=dict(opened.environment),
    )

    assert (done.returncode, done.stdout) == (0, b"")
