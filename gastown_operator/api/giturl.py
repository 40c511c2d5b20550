"""URLs of git repositories: which ones we use, and whether two of them are the same destination."""

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from attrs import frozen

MAX_URL: Final = 2048
_DEFAULT_PORTS: Final = {"https": 443, "ssh": 22}
_SCP: Final = re.compile(
    r"(?P<user>[A-Za-z0-9._][A-Za-z0-9._-]*)@(?P<host>[A-Za-z0-9][A-Za-z0-9._-]*):(?P<path>[^-].*)"
)
_HOST: Final = re.compile(r"[a-z0-9][a-z0-9._-]*|[0-9a-f:.]*:[0-9a-f:.]*")
_USER: Final = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]*")


class GitURLError(ValueError):
    """The text is not a URL that we hand to git; the message says why, without quoting a password."""


@frozen
class GitURL:
    """A repository's address in parts. Two are equal when a credential for one may be used for the other."""

    scheme: str
    user: str
    host: str
    port: int
    path: str


def parse_git_url(text: str) -> GitURL:
    """Take apart `https://…`, `ssh://…` or `user@host:path`. Raises GitURLError for anything else.

    `http://`, transports that run programs or read local files (`ext::`, `file:`), options (a leading `-`), and passwords inside
    the URL are refused. Host names are compared in lower case, default ports are filled in, and a final `/` or `.git` is dropped.
    `user@host:path` and `ssh://user@host/path` stay apart: the first is relative to a home directory, the second is not.
    """
    if not text:
        raise GitURLError("is empty")
    if len(text) > MAX_URL:
        raise GitURLError(f"has more than {MAX_URL} characters")
    if not text.isprintable() or " " in text:
        raise GitURLError("has white space or control characters")
    if text.startswith("-"):
        raise GitURLError("begins with '-'")
    return _parse_scheme(text) if "://" in text else _parse_scp(text)


def _parse_scp(text: str) -> GitURL:
    match = _SCP.fullmatch(text)
    if match is None:
        raise GitURLError("is neither https://…, ssh://… nor user@host:path")
    return _git_url("ssh", match["user"], match["host"].lower(), 22, match["path"])


def _parse_scheme(text: str) -> GitURL:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise GitURLError(f"is malformed: {error}") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise GitURLError(
            "has a scheme other than https and ssh; set it to https://…, ssh://… or user@host:path"
        )
    host = _host(parts)
    return _git_url(
        parts.scheme, parts.username or "", host, port or _DEFAULT_PORTS[parts.scheme], parts.path
    )


def _host(parts: SplitResult) -> str:
    if parts.password is not None or (parts.username is not None and parts.scheme != "ssh"):
        raise GitURLError("holds credentials; put them into a Secret")
    if parts.username is not None and not _USER.fullmatch(parts.username):
        raise GitURLError("has a malformed user name")
    if parts.query or parts.fragment:
        raise GitURLError("has a query or a fragment")
    if not parts.hostname or not _HOST.fullmatch(parts.hostname):
        raise GitURLError("has no valid host name")
    return parts.hostname


def _git_url(scheme: str, user: str, host: str, port: int, path: str) -> GitURL:
    repository = path.rstrip("/").removesuffix(".git")
    if not repository.strip("/"):
        raise GitURLError("names no repository")
    return GitURL(scheme, user, host, port, repository)
