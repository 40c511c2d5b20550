"""The bare repositories of the server: made, filled and read without a work tree."""

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

from hack.git_server.commands import ask
from hack.git_server.errors import GitServerError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
AUTHOR = "Town Crier <crier@example.com>"
CONFIGURATION = {
    # As the large forges do: objects may be asked for by id.
    "uploadpack.allowFilter": "true",
    "uploadpack.allowReachableSHA1InWant": "true",
    # Nothing runs in the background that would outlive the server.
    "gc.auto": "0",
    "receive.autogc": "false",
    "http.receivepack": "true",
}
# What the machine's and the user's git configuration say must not matter.
ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    "LC_ALL": "C.UTF-8",
}


class Repositories:
    """The repositories below `root`; the repository `a/b` is the bare repository `a/b.git`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """Return where the repository `name` is."""
        if not NAME.fullmatch(name):
            raise GitServerError(f"{name!r} is no name for a repository")
        return self.root / f"{name}.git"

    def create(self, name: str, files: Mapping[str, str | bytes], *, branch: str = "main") -> str:
        """Make a repository with one commit of `files` (none: an empty repository) and return the commit's id."""
        path = self.path(name)
        if path.exists():
            raise GitServerError(f"the repository {name} exists already")
        ask(
            "git",
            "init",
            "--quiet",
            "--bare",
            f"--initial-branch={branch}",
            str(path),
            environment=ENVIRONMENT,
        )
        for key, value in CONFIGURATION.items():
            self.git(name, "config", key, value)
        return self.commit(name, branch, files, message="Begin") if files else ""

    def commit(self, name: str, branch: str, files: Mapping[str, str | bytes], *, message: str) -> str:
        """Add a commit that changes `files` on top of `branch`, which may be new, and return its id."""
        reference = f"refs/heads/{branch}"
        stream: list[str | bytes] = [
            f"commit {reference}\n",
            f"committer {AUTHOR} {int(time.time())} +0000\n",
            _data(message),
        ]
        if parent := self.refs(name).get(reference):
            stream.append(f"from {parent}\n")
        for file, content in files.items():
            stream += [f"M 100644 inline {_quoted(file)}\n", _data(content)]
        script = b"".join(part.encode() if isinstance(part, str) else part for part in stream)
        self.git(name, "fast-import", "--quiet", "--date-format=raw", stdin=script)
        return self.refs(name)[reference]

    def git(self, name: str, *arguments: str, stdin: bytes = b"") -> str:
        """Run git in a repository and return its output."""
        return ask("git", f"--git-dir={self.path(name)}", *arguments, stdin=stdin, environment=ENVIRONMENT)

    def refs(self, name: str) -> dict[str, str]:
        """Return every ref of a repository with the object it points to."""
        lines = self.git(name, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def show(self, name: str, revision: str, path: str) -> str:
        """Return the text of a file as it is in a revision."""
        return self.git(name, "show", "--end-of-options", f"{revision}:{path}")

    def install_hook(self, name: str, hook: str, text: str) -> None:
        """Install a hook such as `pre-receive`; `text` begins with its `#!` line."""
        path = self.path(name) / "hooks" / hook
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)


def _data(content: str | bytes) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return b"data %d\n%s\n" % (len(data), data)


def _quoted(file: str) -> str:
    escaped = file.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
