"""A mirror of the repository on a volume: it spares the server what the mirror has, and is never believed.

Objects are not borrowed from it (`--reference`) and dissociated later, but fetched from it first, as from a server: git then names every
object by its content and checks that nothing is missing, and no path leads back. What the mirror lacks or has wrong, the server sends.
"""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import attrs

from gastown_operator.workload.errors import GitError
from gastown_operator.workload.git import Git

TIMEOUT: Final = 300.0
#: Where the mirror's commits are until the server's are there.
REFS: Final = "refs/gastown/mirror/"
#: The volume may belong to anybody. Of the mirror's own configuration, `upload-pack` runs nothing.
_UPLOAD_PACK: Final = shlex.join(["git", "-c", "safe.directory=*", "upload-pack"])


def find(volume: Path, url: str) -> Path | None:
    """The bare repository for `url`: the volume itself, or `NAME.git` on it, where NAME is as much of the URL's path as there is."""
    path = urlsplit(url).path if "://" in url else url.partition(":")[2] or url
    parts = [part for part in path.removesuffix(".git").split("/") if part not in ("", ".", "..")]
    names = ["/".join(parts[start:]) + ".git" for start in range(len(parts))]
    candidates = [volume, *(volume / name for name in names)]
    return next((it for it in candidates if (it / "HEAD").is_file() and (it / "objects").is_dir()), None)


@attrs.frozen
class Mirror:
    """A bare repository that somebody keeps near the server's state.

    Args:
        path: of the repository.
    """

    path: Path

    def copy(
        self, git: Git, refs: Mapping[str, str], *options: str, enough: Callable[[], bool] | None
    ) -> list[str]:
        """Bring what the mirror has of `refs` (names on the server) into a repository; the commits that it has there.

        Raises:
            GitError: the mirror is none, or broken; the repository must be thrown away then.
        """
        local = git.with_environment({"GIT_ALLOW_PROTOCOL": "file"}, {})
        there = self._advertised(local, list(refs))
        refspecs = [f"+{name}:{REFS}{number}" for number, name in enumerate(there)]
        if refspecs:
            flags = ("--quiet", "--no-tags", "--no-write-fetch-head", *options)
            call = ("fetch", *flags, f"--upload-pack={_UPLOAD_PACK}", "--", str(self.path), *refspecs)
            _run(local, *call, enough=enough)
        return list(there.values())

    def _advertised(self, git: Git, names: list[str]) -> dict[str, str]:
        output = _run(git, "ls-remote", f"--upload-pack={_UPLOAD_PACK}", "--", str(self.path), *names)
        pairs = (line.split("\t", 1) for line in output.decode("utf-8", "replace").splitlines())
        return {name: commit for commit, name in pairs if name in names}


def forget(git: Git) -> None:
    """Remove the refs that `Mirror.copy` made; objects that nothing else needs stay behind."""
    names = git.line("for-each-ref", "--format=delete %(refname)", REFS)
    git.run("update-ref", "--stdin", stdin=names.encode() + b"\n" if names else b"")


def _run(git: Git, *arguments: str, enough: Callable[[], bool] | None = None) -> bytes:
    status, output, errors = git.attempt(*arguments, timeout=TIMEOUT, enough=enough)
    if status != 0:
        raise GitError(arguments[0], status, errors.decode("utf-8", "replace"))
    return output
