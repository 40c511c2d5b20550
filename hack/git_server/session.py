"""What a key may do on the server: the command that sshd forces on every session. `session.py REPOSITORIES_DIRECTORY`.

A repository's hook `pack-objects` runs in the place of the command that it is given, which sends what a client fetches (git's
`uploadpack.packObjectsHook`, which git does not take from a repository itself).

Standard library only and one file, because sshd starts it without our package on the path.
"""

import os
import shlex
import sys
from pathlib import Path
from typing import NoReturn

SERVICES = {"git-upload-pack": "upload-pack", "git-receive-pack": "receive-pack"}


def refuse(why: str) -> NoReturn:
    """End the session with a message that git shows to its user."""
    print(f"fatal: {why}", file=sys.stderr)
    raise SystemExit(128)


def repository(root: Path, asked: str) -> Path:
    """Return the repository that the client means; the session ends if there is none inside `root`."""
    name = asked.removeprefix("/")
    for candidate in (root / name, root / f"{name}.git"):
        path = candidate.resolve()
        if path.is_relative_to(root.resolve()) and (path / "HEAD").is_file():
            return path
    refuse(f"'{asked}' does not appear to be a git repository")


def sending(hook: Path) -> dict[str, str]:
    """Settings by which a hook sends what is fetched, where there is one; git gives its path to a shell."""
    return {"uploadpack.packObjectsHook": shlex.quote(str(hook))} if hook.is_file() else {}


def configuration(settings: dict[str, str]) -> dict[str, str]:
    """Variables that give git these settings."""
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def main() -> NoReturn:
    """Become git serving the repository that the client asked for."""
    root = Path(sys.argv[1])
    try:
        command = shlex.split(os.environ.get("SSH_ORIGINAL_COMMAND", ""))
    except ValueError as error:
        refuse(f"malformed command: {error}")
    if len(command) != 2 or command[0] not in SERVICES:
        refuse("this server speaks only git: clone, fetch and push")
    path = repository(root, command[1])
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "GIT_PROTOCOL": os.environ.get("GIT_PROTOCOL", ""),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **configuration({"safe.directory": "*", **sending(path / "hooks" / "pack-objects")}),
    }
    os.execvpe("git", ["git", SERVICES[command[0]], str(path)], environment)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main()
