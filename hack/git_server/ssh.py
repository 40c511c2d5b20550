"""The SSH side: a real sshd with its own keys, users and configuration, that allows nothing but git."""

import os
import shlex
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from hack.git_server import session
from hack.git_server.commands import ask
from hack.git_server.errors import GitServerError

USER = "git"
START_SECONDS = 10
# sshd wants a user for its own separation, and an empty directory of root's. It finds users of ours in a mount namespace of
# its own, so the machine's stay as they are.
MOUNT_AND_RUN = """\
set -eu
mount --bind "$1" /etc/passwd
mkdir -p -m 755 /run/sshd
shift
exec "$@"
"""


@dataclass(frozen=True)
class KeyPair:
    """An SSH key: the file of the private key, and the line of the public one."""

    private: Path
    public: str


def generate_key(path: Path, comment: str = "test") -> KeyPair:
    """Make an Ed25519 key without a passphrase at `path`."""
    ask("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))
    return KeyPair(path, Path(f"{path}.pub").read_text().strip())


def free_port(address: str) -> int:
    """Return a TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


class SshServer:
    """An sshd at `address` that serves `repositories`; its files are in `directory`.

    It runs as a child of this process and, by the kernel, does not outlive the thread that started it.
    """

    def __init__(self, directory: Path, repositories: Path, address: str, port: int, sshd: Path) -> None:
        self.address = address
        self.port = port or free_port(address)
        self._directory = directory
        self._repositories = repositories
        self._sshd = sshd
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        if not self._host_key.exists():
            generate_key(self._host_key, "git server")
        self._authorized_keys.touch()

    @property
    def log(self) -> Path:
        """What sshd says."""
        return self._directory / "sshd.log"

    @property
    def _host_key(self) -> Path:
        return self._directory / "host_key"

    @property
    def _authorized_keys(self) -> Path:
        return self._directory / "authorized_keys"

    def authorize(self, public_key: str) -> None:
        """Let the key's owner read and write every repository."""
        self.revoke(public_key)
        with self._authorized_keys.open("a") as keys:
            keys.write(public_key.strip() + "\n")

    def revoke(self, public_key: str) -> None:
        """Take the permission back; it concerns new connections."""
        lines = self._authorized_keys.read_text().splitlines(keepends=True)
        self._authorized_keys.write_text(
            "".join(line for line in lines if line.strip() != public_key.strip())
        )

    def known_hosts_line(self) -> str:
        """Return the line by which clients know this server."""
        kind, key = Path(f"{self._host_key}.pub").read_text().split()[:2]
        host = self.address if self.port == 22 else f"[{self.address}]:{self.port}"
        return f"{host} {kind} {key}"

    def url(self, name: str) -> str:
        """Return the URL of a repository."""
        return f"ssh://{USER}@{self.address}:{self.port}/{name}.git"

    def start(self) -> None:
        """Start sshd and return once it answers."""
        if os.geteuid() != 0:
            raise GitServerError("sshd needs root: run it with sudo")
        configuration = self._directory / "sshd_config"
        configuration.write_text(self._configuration())
        users = self._directory / "passwd"
        users.write_text(self._users())
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig=KILL", "--"),
                    # Sessions are processes of their own: the end of the namespace's first process ends them all.
                    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--"),
                    *("sh", "-c", MOUNT_AND_RUN, "sh", str(users)),
                    *(str(self._sshd), "-D", "-e", "-f", str(configuration)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait_until_it_answers(self._process)

    def stop(self) -> None:
        """End sshd and every session; nothing happens if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _wait_until_it_answers(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                said = " / ".join(self.log.read_text().splitlines()[-3:])
                raise GitServerError(f"sshd does not answer at {self.address}:{self.port}: {said}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _configuration(self) -> str:
        command = shlex.join([sys.executable, "-I", session.__file__, str(self._repositories)])
        return f"""\
ListenAddress {self.address}
Port {self.port}
HostKey "{self._host_key}"
PidFile none
AllowUsers {USER}
AuthorizedKeysFile "{self._authorized_keys}"
AuthenticationMethods publickey
PermitRootLogin prohibit-password
ForceCommand {command}
AcceptEnv GIT_PROTOCOL
DisableForwarding yes
PermitTTY no
PermitUserRC no
PrintMotd no
StrictModes no
UsePAM no
UseDNS no
MaxStartups 200
LogLevel VERBOSE
"""

    def _users(self) -> str:
        owner = self._repositories.stat()
        return (
            "root:x:0:0:root:/:/bin/sh\n"
            f"{USER}:*:{owner.st_uid}:{owner.st_gid}:git:/:/bin/sh\n"
            "sshd:*:65533:65533:sshd:/run/sshd:/usr/sbin/nologin\n"
        )
