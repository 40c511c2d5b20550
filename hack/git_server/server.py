"""The git server: repositories on disk and the two ways to them."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from hack.git_server.certificates import ensure_certificates
from hack.git_server.errors import GitServerError
from hack.git_server.https import HttpsServer
from hack.git_server.openssh import find_sshd
from hack.git_server.repositories import Repositories
from hack.git_server.ssh import SshServer


class GitServer:
    """Serves the repositories below `directory` at `address` over SSH and HTTPS; a context manager.

    `hack.git_server.openssh.prepare` must have run once on the machine. Ports of 0 are chosen by the machine, when the
    object is made. A server made again on the same directory has the same keys, certificates and repositories.
    """

    def __init__(self, directory: Path, address: str, *, ssh_port: int = 0, https_port: int = 0) -> None:
        sshd = find_sshd()
        if sshd is None:
            raise GitServerError("there is no sshd: run `python3 -m hack.git_server prepare` first")
        directory = directory.resolve()
        self.repositories = Repositories(directory / "repositories")
        self.ssh = SshServer(directory / "ssh", self.repositories.root, address, ssh_port, sshd)
        certificates = ensure_certificates(directory / "tls", address)
        self.https = HttpsServer(self.repositories.root, address, https_port, certificates)

    def start(self) -> None:
        """Start both servers and return once they answer."""
        self.https.start()
        self.ssh.start()

    def stop(self) -> None:
        """Stop both; connections end."""
        self.ssh.stop()
        self.https.stop()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def create_repository(self, name: str, files: Mapping[str, str | bytes], *, branch: str = "main") -> str:
        """Make a repository with one commit of `files` and return the commit's id."""
        return self.repositories.create(name, files, branch=branch)

    def commit(
        self, name: str, branch: str, files: Mapping[str, str | bytes], *, message: str = "Change"
    ) -> str:
        """Add a commit to a branch, as a colleague's push would, and return its id."""
        return self.repositories.commit(name, branch, files, message=message)

    def install_hook(self, name: str, hook: str, text: str) -> None:
        """Install a hook such as `pre-receive` in a repository."""
        self.repositories.install_hook(name, hook, text)

    def refs(self, name: str) -> dict[str, str]:
        """Return every ref of a repository with the object it points to."""
        return self.repositories.refs(name)

    def show(self, name: str, revision: str, path: str) -> str:
        """Return the text of a file as it is in a revision."""
        return self.repositories.show(name, revision, path)

    def git(self, name: str, *arguments: str) -> str:
        """Run git in a repository and return its output."""
        return self.repositories.git(name, *arguments)

    def authorize(self, public_key: str) -> None:
        """Let the owner of an SSH key read and write every repository."""
        self.ssh.authorize(public_key)

    def authorize_user(self, name: str, password: str) -> None:
        """Let a user of HTTPS read and write every repository."""
        self.https.accounts[name] = password

    def known_hosts_line(self) -> str:
        """Return the line of known_hosts for the SSH server."""
        return self.ssh.known_hosts_line()

    def certificate_authority(self) -> str:
        """Return the PEM text of the authority that HTTPS clients must trust."""
        return self.https.certificates.authority.read_text()

    def ssh_url(self, name: str) -> str:
        """Return a repository's SSH URL."""
        return self.ssh.url(name)

    def https_url(self, name: str) -> str:
        """Return a repository's HTTPS URL."""
        return self.https.url(name)
