"""How clone and keeper show the rig's git credential, to the rig's repository and to nothing else (DESIGN §11)."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

import attrs

from gastown_operator.workload.errors import AttemptError
from gastown_operator.workload.host_keys import known_hosts_lines
from gastown_operator.workload.message import Outcome

#: `kubernetes.io/ssh-auth` has the first; people who make a Secret from `~/.ssh` have one of the others.
SSH_KEY_NAMES = ("ssh-privatekey", "id_ed25519", "id_ecdsa", "id_rsa", "identity")


@attrs.frozen
class Access:
    """Additions to git's environment and configuration that open one repository."""

    environment: Mapping[str, str]
    configuration: Mapping[str, str]


@attrs.frozen
class CredentialFiles:
    """Where the credential and the known hosts are mounted, and a private place to copy a key to.

    Attributes:
        secret: mounted Secret; missing or empty where the Secret does not exist (it is mounted as optional).
        secret_name: its name, for messages.
        namespace: where it is, for messages.
        known_hosts: mounted ConfigMap with lines of OpenSSH's known_hosts, in any number of files.
        private: writable by this container alone.
    """

    secret: Path
    secret_name: str
    namespace: str
    known_hosts: Path
    private: Path


def access(repository: str, files: CredentialFiles, host_key_checking: str) -> Access:
    """What git needs to reach `repository` with the mounted credential.

    Raises:
        AttemptError: the Secret, or the key in it that this kind of URL needs, is missing.
    """
    if is_ssh(repository):
        return Access({"GIT_SSH_COMMAND": _ssh_command(repository, files, host_key_checking)}, {})
    url = urlsplit(repository)
    configuration: dict[str, str] = {}
    authority = files.secret / "ca.crt"
    if authority.is_file():
        configuration[f"http.{_destination(url)}.sslCAInfo"] = str(authority)
    if url.scheme != "https" or not (files.secret / "password").is_file():
        # Without a credential a public repository can still be cloned; a push then says what is missing.
        return Access({}, configuration)
    helper = shlex.join(
        [sys.executable, "-P", "-m", "gastown_operator.workload", "credential", repository, str(files.secret)]
    )
    return Access(
        {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        {
            **configuration,
            f"credential.{_destination(url)}.helper": "!" + helper,
            "credential.useHttpPath": "true",
        },
    )


def is_ssh(repository: str) -> bool:
    """Whether git reaches this URL through ssh: `ssh://…`, or the scp-like form `user@host:path`."""
    return repository.startswith("ssh://") or "://" not in repository


def answer(request: Mapping[str, str], repository: str, secret: Path) -> Mapping[str, str]:
    """What a git credential helper answers: nothing unless the request is for exactly `repository`.

    https://git-scm.com/docs/gitcredentials#_custom_helpers
    """
    url = urlsplit(repository)
    asked = (request.get("protocol"), request.get("host"), request.get("path", "").strip("/"))
    # Git asks with the path decoded.
    if asked != (url.scheme, url.netloc, unquote(url.path).strip("/")):
        return {}
    username = secret / "username"
    return {
        # Forges take any user name with a token.
        "username": username.read_text().strip() if username.is_file() else "git",
        "password": (secret / "password").read_text().strip(),
    }


def _destination(url: SplitResult) -> str:
    return f"{url.scheme}://{url.netloc}{url.path}"


def ssh_host(repository: str) -> str:
    """The name under which OpenSSH looks up the server of an SSH URL: `host`, or `[host]:port` where the port is not 22."""
    if "://" not in repository:
        return repository.partition(":")[0].rpartition("@")[2].lower()
    url = urlsplit(repository)
    host = url.hostname or ""
    return host if url.port in (None, 22) else f"[{host}]:{url.port}"


def _ssh_command(repository: str, files: CredentialFiles, host_key_checking: str) -> str:
    key = _private_key(files)
    known_hosts = files.private / "known_hosts"
    # The rig's own lines first; one that begins with @revoked overrules ours.
    lines = _known_hosts(files.known_hosts) + known_hosts_lines(ssh_host(repository))
    if host_key_checking == "yes" and not lines.strip():
        raise AttemptError(
            Outcome.CONFIG_ERROR,
            "KnownHostsMissing",
            f"no host key of {ssh_host(repository)} is known: the ConfigMap that sshKnownHostsConfigMapRef names (in the Rig's "
            "spec.defaults.kubernetes, or the Polecat's spec.kubernetes) is not set, does not exist, or is empty; for example: "
            "ssh-keyscan HOST >known_hosts, compare it with what the server's owner publishes, then "
            f"kubectl -n {files.namespace} create configmap known-hosts --from-file=known_hosts",
        )
    known_hosts.write_bytes(lines)
    options = {
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "StrictHostKeyChecking": host_key_checking,
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "ConnectTimeout": "15",
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "4",
        "ControlPath": "none",
        "ForwardAgent": "no",
        "LogLevel": "ERROR",
    }
    arguments = ["ssh", "-F", "/dev/null", "-i", str(key)]
    return shlex.join(
        arguments + [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    )


def _private_key(files: CredentialFiles) -> Path:
    """A copy of the key as ssh wants it: mode 0600, and with the newline at its end that pasted keys lose."""
    for name in SSH_KEY_NAMES:
        source = files.secret / name
        if source.is_file():
            target = files.private / "git-key"
            target.unlink(missing_ok=True)
            target.touch(mode=0o600)
            target.write_bytes(source.read_bytes().rstrip() + b"\n")
            return target
    found = sorted(path.name for path in files.secret.glob("[!.]*")) if files.secret.is_dir() else []
    what = f"has only {', '.join(found)}" if found else "does not exist, or is empty"
    raise AttemptError(
        Outcome.CONFIG_ERROR,
        "GitCredentialMissing",
        f'Secret "{files.secret_name}" in namespace {files.namespace} {what}; it needs an SSH key under '
        f"{', '.join(SSH_KEY_NAMES[:4])}, for example: kubectl -n {files.namespace} create secret generic "
        f"{files.secret_name} --from-file=ssh-privatekey=$HOME/.ssh/id_ed25519",
    )


def _known_hosts(directory: Path) -> bytes:
    if not directory.is_dir():
        return b""
    return b"".join(path.read_bytes().rstrip(b"\n") + b"\n" for path in sorted(directory.glob("[!.]*")))
