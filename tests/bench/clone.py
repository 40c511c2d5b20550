"""How long the clone container takes for a repository of 3,000 files and 2,000 commits: complete, shallow, and with a mirror.

The clone is the product's, over ssh, from `hack/git_server` on loopback, once as fast as that is and once over a line of 100 Mbit/s.
"""

import contextlib
import io
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Final

from attrs import frozen

from gastown_operator.workload.clone import Clone, ClonePaths
from gastown_operator.workload.credentials import CredentialFiles, access
from gastown_operator.workload.journal import JsonJournal
from gastown_operator.workload.refs import RecoveryRefs
from gastown_operator.workload.remote import Remote
from gastown_operator.workload.settings import Settings
from hack.git_server.openssh import prepare
from hack.git_server.server import GitServer
from hack.git_server.ssh import generate_key
from hack.lab.progress import Progress
from tests.bench.clone_line import Line, opened
from tests.bench.figures import Figure

NAME: Final = "project"
#: The mirror is as old as so many commits.
BEHIND: Final = 20
_CHANGED_FILES: Final = 3
_LINES: Final = 100


@frozen
class Way:
    """One way to clone: what is set for it."""

    name: str
    limit: int = 0
    mirror: bool = False


WAYS: Final = (
    Way("complete"),
    Way("shallow (50 commits), after more than 1 MiB came", limit=1),
    Way(f"complete, with a mirror {BEHIND} commits old", mirror=True),
    Way("shallow, with that mirror", limit=1, mirror=True),
)


@frozen
class Run:
    """What one clone took."""

    seconds: float
    bytes: int


def measure(files: int = 3000, commits: int = 2000, runs: int = 5, megabits: float = 100.0) -> list[Figure]:
    """Clone in every way, in turn, `runs` times, at both speeds."""
    prepare(Progress("git server"))
    with tempfile.TemporaryDirectory() as name, GitServer(Path(name) / "git", "127.0.0.1") as server:
        bench = _Bench(Path(name), server)
        bench.fill(files, commits)
        size = bench.size()
        figures = []
        for speed in (0.0, megabits):
            with opened(("127.0.0.1", server.ssh.port), speed) as line:
                figures += _figures(
                    bench, line, runs, f"{files:,} files, {commits:,} commits ({size:.0f} MiB)"
                )
        return figures


def _figures(bench: "_Bench", line: Line, runs: int, what: str) -> list[Figure]:
    ways: dict[str, Callable[[], None]] = {"git clone": lambda: bench.plain(line)}
    ways |= {way.name: lambda way=way: bench.clone(line, way) for way in WAYS}  # type: ignore[misc]  # a default binds it
    taken: dict[str, list[Run]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, clone in ways.items():
            taken[name].append(_timed(bench, line, clone))
    over = f"over {line.megabits:.0f} Mbit/s" if line.megabits else "on loopback"
    plain = median(run.seconds for run in taken["git clone"])
    return [
        Figure(
            "clone",
            f"clone of {what} {over}: {name}",
            median(run.seconds for run in of),
            "s",
            baseline=f"{plain:.2f} s for a bare `git clone`; {median(run.bytes for run in of) / 1024**2:.2f} MiB came",
            details={"seconds": [run.seconds for run in of], "bytes": [run.bytes for run in of]},
        )
        for name, of in taken.items()
    ]


def _timed(bench: "_Bench", line: Line, clone: Callable[[], None]) -> Run:
    bench.clear()
    before, began = line.received, time.monotonic()
    clone()
    return Run(time.monotonic() - began, line.received - before)


@frozen
class _Bench:
    """A server with a repository, its mirror, and a place for clones."""

    root: Path
    server: GitServer

    def fill(self, files: int, commits: int) -> None:
        """Make the repository, packed as a forge keeps it, and the mirror of an earlier day."""
        repositories = self.server.repositories
        self.server.create_repository(NAME, {})
        stream = "".join(_history(files, commits))
        repositories.git(NAME, "fast-import", "--quiet", "--date-format=raw", stdin=stream.encode())
        repositories.git(NAME, "repack", "-adq", "--write-bitmap-index")
        key = generate_key(self.root / "key")
        self.server.authorize(key.public)
        (self.root / "secret").mkdir()
        (self.root / "secret" / "ssh-privatekey").write_text(key.private.read_text())
        mirror = self.root / "mirror"
        path = repositories.path(NAME)
        ask = ["git", "clone", "--quiet", "--mirror", "--no-hardlinks", str(path), str(mirror)]
        subprocess.run(ask, check=True)
        old = ["git", "--git-dir", str(mirror)]
        subprocess.run([*old, "update-ref", "refs/heads/main", f"refs/heads/main~{BEHIND}"], check=True)
        subprocess.run([*old, "repack", "-adq"], check=True)

    def size(self) -> float:
        """MiB of the server's pack."""
        packs = (self.server.repositories.path(NAME) / "objects" / "pack").glob("*.pack")
        return sum(pack.stat().st_size for pack in packs) / 1024**2

    def clear(self) -> None:
        """Remove what the last clone has left."""
        shutil.rmtree(self.root / "pod", ignore_errors=True)
        for name in ("control", "hints", "known", "private"):
            (self.root / "pod" / name).mkdir(parents=True)

    def clone(self, line: Line, way: Way) -> None:
        """Run the clone container's program."""
        pod = self.root / "pod"
        settings = Settings(
            repository=self._url(line),
            base_branch="main",
            work_branch="polecat/bench",
            refs=RecoveryRefs("refs/gastown", "bench", 1),
            attempt=1,
            polecat="bench/bench",
            full_clone_limit=way.limit,
            mirror=way.mirror,
        )
        paths = ClonePaths(
            pod / "repo",
            pod / "control",
            pod / "hints",
            pod / "keeper.git",
            pod / "clone.json",
            pod / "files.jsonl",
            self.root / "mirror",
        )
        with contextlib.redirect_stdout(io.StringIO()):
            Clone(settings, self._remote(line), paths, JsonJournal("clone")).run()

    def plain(self, line: Line) -> None:
        """Run `git clone`, with the same credential."""
        environment = {"PATH": "/usr/bin:/bin", **self._remote(line).access.environment}
        command = ["git", "clone", "--quiet", self._url(line), str(self.root / "pod" / "repo")]
        subprocess.run(command, env=environment, check=True)

    def _url(self, line: Line) -> str:
        return f"ssh://git@127.0.0.1:{line.port}/{NAME}.git"

    def _remote(self, line: Line) -> Remote:
        pod = self.root / "pod"
        _, kind, key = self.server.known_hosts_line().split()
        (pod / "known" / "known_hosts").write_text(f"[127.0.0.1]:{line.port} {kind} {key}\n")
        credentials = CredentialFiles(self.root / "secret", "bench", "bench", pod / "known", pod / "private")
        return Remote(self._url(line), access(self._url(line), credentials, "yes"))


def _history(files: int, commits: int) -> Iterator[str]:
    """A stream for `git fast-import`: text of code-like lines, of which every commit changes some."""
    rng = random.Random(5)  # noqa: S311 - the same repository every time
    contents = [[_line(rng) for _ in range(_LINES)] for _ in range(files)]
    for commit in range(commits):
        message = f"Change {commit}"
        yield f"commit refs/heads/main\ncommitter A <a@example.invalid> {1700000000 + 600 * commit} +0000\n"
        yield f"data {len(message)}\n{message}\n"
        chosen = range(files) if commit == 0 else rng.sample(range(files), min(files, _CHANGED_FILES))
        for number in chosen:
            contents[number][rng.randrange(_LINES)] = _line(rng)
            text = "".join(contents[number])
            yield f"M 644 inline src/part{number % 40}/file{number}.py\ndata {len(text)}\n{text}\n"


def _line(rng: random.Random) -> str:
    return f"{'    ' * rng.randrange(4)}{rng.getrandbits(64):x} = call_{rng.randrange(5000)}({rng.getrandbits(32)})\n"
