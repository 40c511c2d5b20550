"""The git server, as clone and keeper see it: what it advertises, fetching, pushing, and what its refusals mean."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

import attrs

from gastown_operator.workload.credentials import Access
from gastown_operator.workload.errors import AttemptError, GitError
from gastown_operator.workload.git import Git, printable
from gastown_operator.workload.message import Outcome

LIST_TIMEOUT = 60.0
FETCH_TIMEOUT = 1800.0

_Rule = tuple[re.Pattern[str], Outcome, str, str]


def _rule(pattern: str, outcome: Outcome, reason: str, advice: str) -> _Rule:
    return re.compile(pattern, re.IGNORECASE), outcome, reason, advice


#: Tried in order on what git and ssh print; texts of git 2.39 and OpenSSH 9.2 with LC_ALL=C.
_RULES: Sequence[_Rule] = (
    _rule(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|No \S+ host key is known|Host key verification failed",
        Outcome.CONFIG_ERROR,
        "HostKeyMismatch",
        "the server's SSH host key is not the known one; put the right line (ssh-keyscan, compared with what the server's "
        "owner publishes) into the ConfigMap of sshKnownHostsConfigMapRef",
    ),
    _rule(
        r"Permission denied \(|Load key .* (invalid format|error in libcrypto)|Authentication failed|could not read (Username|Password)"
        r"|HTTP (Basic: Access denied|401)|returned error: 40[13]",
        Outcome.CONFIG_ERROR,
        "GitAuthenticationFailed",
        "the git server refused the credential; check the Secret and that its key may read and write this repository",
    ),
    _rule(
        r"does not appear to be a git repository|repository .*not found|Repository not found|project you were looking for"
        r"|returned error: 404|no such repository",
        Outcome.CONFIG_ERROR,
        "RepositoryNotFound",
        "the repository does not exist, or the credential may not see it; check the rig's gitURL",
    ),
    _rule(
        r"returned error: 30\d|unable to update url base from redirection|redirect",
        Outcome.CONFIG_ERROR,
        "RepositoryMoved",
        "the git server sends to another address, where the credential must not follow; set gitURL to the final URL",
    ),
    _rule(
        r"(response|code|error:) 407|Received HTTP code 4\d\d from proxy",
        Outcome.CONFIG_ERROR,
        "ProxyRefused",
        "the proxy does not let this through; check HTTPS_PROXY, its user and password, and what it permits",
    ),
    _rule(
        r"SSL certificate problem|server certificate verification failed",
        Outcome.CONFIG_ERROR,
        "CertificateRefused",
        "the server's certificate is not trusted; give its authority in the operator's CA ConfigMap",
    ),
    _rule(
        r"Could not resolve host|Connection (refused|timed out|reset|closed)|No route to host|Network is unreachable"
        r"|Operation timed out|kex_exchange_identification|returned error: 5\d\d|early EOF|hung up|Couldn't connect|Failed to connect",
        Outcome.INFRASTRUCTURE,
        "GitServerUnreachable",
        "the git server cannot be reached; it is tried again",
    ),
)


def explain(error: GitError, repository: str) -> AttemptError:
    """What a failed command against the remote means to a person."""
    for pattern, outcome, reason, advice in _RULES:
        if pattern.search(error.stderr):
            return AttemptError(outcome, reason, f"{repository}: {advice} ({telling_line(error.stderr)})")
    return AttemptError(
        Outcome.INFRASTRUCTURE, "GitFailed", f"{repository}: {telling_line(error.stderr) or error}"
    )


def said(output: bytes) -> str:
    """Text from the server without control characters, and without those that hide or reorder what a person reads."""
    invisible = ("Cf", "Zl", "Zp")
    return "".join(it for it in printable(output) if unicodedata.category(it) not in invisible)


def telling_line(stderr: str) -> str:
    """The line of git's or ssh's output that tells most, shortened."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = [
        line
        for line in lines
        if re.match(r"remote:|fatal:|error:|ssh:|.*(denied|failed)", line, re.IGNORECASE)
    ]
    boilerplate = "fatal: Could not read from remote repository."
    chosen = [line for line in telling if line != boilerplate] or telling or lines or [""]
    return chosen[0][:200]


@attrs.frozen
class PushedRef:
    """The server's word on one ref of a push: `status` is git's porcelain flag, `!` for refused."""

    name: str
    status: str
    summary: str

    @property
    def accepted(self) -> bool:
        """Whether the ref now is what was pushed."""
        return self.status != "!"

    @property
    def stale(self) -> bool:
        """Whether it was refused because somebody else moved it since we last saw it."""
        return "stale info" in self.summary or "fetch first" in self.summary


@attrs.frozen
class PushResult:
    """What came of one push."""

    refs: Mapping[str, PushedRef]
    stderr: str
    status: int | None

    @property
    def accepted(self) -> bool:
        """Whether every ref was taken."""
        return self.status == 0 and all(ref.accepted for ref in self.refs.values())

    def without(self, name: str) -> "PushResult":
        """What came of the other refs."""
        others = {key: ref for key, ref in self.refs.items() if key != name}
        taken = bool(others) and all(ref.accepted for ref in others.values())
        return attrs.evolve(self, refs=others, status=0 if taken else self.status)

    @property
    def lease_lost(self) -> bool:
        """Whether somebody else moved a ref since we last saw it."""
        return any(ref.stale for ref in self.refs.values())


@attrs.frozen
class Remote:
    """One repository on a git server.

    Args:
        url: as the rig gives it, without a credential.
        access: what opens it.
    """

    url: str
    access: Access = attrs.field(repr=False)

    def advertised(self, patterns: Sequence[str], timeout: float = LIST_TIMEOUT) -> dict[str, str]:
        """Object ids of the refs that match, by full name.

        Raises:
            AttemptError: the server cannot be reached or refuses.
        """
        output = self._run(Git(None), "ls-remote", "--", self.url, *patterns, timeout=timeout)
        pairs = (line.split("\t", 1) for line in printable(output).split("\n") if "\t" in line)
        return {name: object_id for object_id, name in pairs}

    def fetch(
        self,
        git: Git,
        refspecs: Sequence[str],
        *options: str,
        timeout: float = FETCH_TIMEOUT,
        enough: Callable[[], bool] | None = None,
    ) -> None:
        """Bring the objects of `refspecs` into a repository.

        Args:
            git: the repository.
            refspecs: what is fetched, and the refs that shall hold it.
            options: of `git fetch`; without `--no-tags`, tags on what is fetched come along where a refspec names a local ref.
            timeout: seconds.
            enough: asked meanwhile; the fetch is broken off, as by the timeout, once it says so.

        Raises:
            AttemptError: the server cannot be reached or refuses.
        """
        flags = ("--quiet", "--no-write-fetch-head", *options)
        self._run(git, "fetch", *flags, "--", self.url, *refspecs, timeout=timeout, enough=enough)

    def push(
        self,
        git: Git,
        updates: Mapping[str, str],
        *,
        expected: Mapping[str, str],
        atomic: bool,
        timeout: float,
    ) -> PushResult:
        """Set refs to object ids (empty: delete them); a ref in `expected` only while it has that id (empty: does not exist).

        The result says what the server refused.

        Raises:
            AttemptError: the server cannot be reached.
        """
        leases = [f"--force-with-lease={name}:{object_id}" for name, object_id in expected.items()]
        forced = [
            f"{'' if name in expected else '+'}{object_id}:{name}" for name, object_id in updates.items()
        ]
        flags = ["--porcelain", "--no-verify", "--no-signed", *(["--atomic"] if atomic else [])]
        status, output, errors = self._attempt(
            git, "push", *flags, *leases, "--", self.url, *forced, timeout=timeout
        )
        result = PushResult(_parse_porcelain(said(output)), said(errors), status)
        if result.accepted:
            return result
        if atomic and "does not support --atomic" in result.stderr:
            return self.push(git, updates, expected=expected, atomic=False, timeout=timeout)
        if not result.refs:
            raise explain(GitError("push", status, result.stderr), self.url)
        return result

    def _run(
        self, git: Git, *arguments: str, timeout: float, enough: Callable[[], bool] | None = None
    ) -> bytes:
        status, output, errors = self._attempt(git, *arguments, timeout=timeout, enough=enough)
        if status != 0:
            raise explain(GitError(arguments[0], status, said(errors)), self.url)
        return output

    def _attempt(
        self, git: Git, *arguments: str, timeout: float, enough: Callable[[], bool] | None = None
    ) -> tuple[int | None, bytes, bytes]:
        opened = git.with_environment(self.access.environment, self.access.configuration)
        return opened.attempt(*arguments, timeout=timeout, enough=enough)


def _parse_porcelain(output: str) -> dict[str, PushedRef]:
    """`<flag> TAB <from>:<to> TAB <summary>` lines; https://git-scm.com/docs/git-push#_output."""
    refs: dict[str, PushedRef] = {}
    for line in output.splitlines():
        parts = line.split("\t")
        if len(parts) == 3 and ":" in parts[1]:
            name = parts[1].rsplit(":", 1)[1]
            refs[name] = PushedRef(name, parts[0], parts[2])
    return refs
