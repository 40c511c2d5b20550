"""What stands around the cluster in the demo: a git server with the project, and a model that follows a script."""

import secrets
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hack.demo_run.errors import DemoError
from hack.demo_run.programs import ROOT
from hack.git_server import GitServer, GitServerError, KeyPair, generate_key
from hack.model_server.script import load_script
from hack.model_server.server import ModelServer

PROJECT = ROOT / "hack/sample_project"
REPOSITORY = "durations"
_LOG_LINES = 8


@dataclass(frozen=True)
class Model:
    """A running model server, the key that it accepts, and the latest lines of its log."""

    url: str
    key: str
    log: deque[str]


@dataclass(frozen=True)
class Servers:
    """What runs: `git` with its repository at `url`, the user's key for it, and a model if one was wanted."""

    directory: Path
    git: GitServer
    url: str
    key: KeyPair
    known_hosts: Path
    model: Model | None

    def log(self) -> list[str]:
        """Return the latest lines that the servers said."""
        lines = self.git.ssh.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        answers = self.model.log if self.model else ()
        return [*(f"    sshd: {line}" for line in lines), *(f"    model: {line}" for line in answers)]


@contextmanager
def running(address: str, *, with_model: bool) -> Iterator[Servers]:
    """Serve the sample project at `address`, with keys made for this run; leaves no process and no file."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gastown-demo-")))
        # Tests of the project run as nobody, below it.
        directory.chmod(0o711)
        try:
            git = stack.enter_context(GitServer(directory / "git", address))
            key = generate_key(directory / "key", "gastown demo")
            git.authorize(key.public)
            git.create_repository(REPOSITORY, project_files(PROJECT))
            known_hosts = directory / "known_hosts"
            known_hosts.write_text(git.known_hosts_line() + "\n")
            model = stack.enter_context(_model(address)) if with_model else None
        except (GitServerError, OSError) as error:
            raise DemoError(f"the servers of the demo do not start at {address}: {error}") from error
        yield Servers(directory, git, git.ssh_url(REPOSITORY), key, known_hosts, model)


@contextmanager
def _model(address: str) -> Iterator[Model]:
    key = f"demo-{secrets.token_hex(16)}"
    log: deque[str] = deque(maxlen=_LOG_LINES)
    with ModelServer(load_script("demo"), address, key=key, log=log.append) as server:
        yield Model(server.url, key, log)


def project_files(directory: Path) -> Mapping[str, bytes]:
    """Return the files of a project by their names, without what tools leave in its folders."""
    files = {path.relative_to(directory): path for path in sorted(directory.rglob("*")) if path.is_file()}
    return {name.as_posix(): path.read_bytes() for name, path in files.items() if not _leftover(name)}


def _leftover(name: Path) -> bool:
    return any(part == "__pycache__" or part.endswith("_cache") for part in name.parent.parts)
