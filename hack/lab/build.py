"""Builds programs from Go modules into a cache keyed by everything that went into them."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hack.lab import locks
from hack.lab.errors import LabError
from hack.lab.go import Go, build_environment
from hack.lab.progress import Progress, Ticker

DISK_NEEDED = 6 << 30  # a cold build of Kubernetes: module cache, build cache, temporary files
BUILD_SECONDS = 3600


@dataclass(frozen=True)
class Recipe:
    """One program: what it is built from, and how."""

    name: str
    """Names the file in the cache."""
    arguments: tuple[str, ...]
    """Of `go`, but for what is the same for all; a folder's package is `.`."""
    folder: Path | None = None
    """A module with the files below, or None for `go install PACKAGE@VERSION`."""
    files: tuple[str, ...] = ()
    duration: str = ""
    """How long a cold build takes, for people who wait."""

    def key(self, go_version: str) -> str:
        """A digest of the sources, the arguments and the compiler."""
        digest = hashlib.sha256()
        for text in (self.name, go_version, *self.arguments):
            digest.update(text.encode() + b"\0")
        if self.folder:
            for file in self.files:
                content = (self.folder / file).read_bytes()
                digest.update(f"{file} {len(content)}".encode() + b"\0" + content)
        return digest.hexdigest()[:16]

    def command(self, go: Go, output: Path) -> list[str]:
        """The build's argument vector; `go install` writes to GOBIN, the output's folder, instead."""
        common = ["-v", "-trimpath", "-buildvcs=false"]
        if self.folder is None:
            return [str(go.program), "install", *common, *self.arguments]
        return [str(go.program), "build", *common, "-mod=readonly", "-o", str(output), *self.arguments]


@dataclass(frozen=True)
class Builder:
    """Builds a recipe, or finds it built. Two at once do not disturb each other: the second waits."""

    cache: Path
    go: Go
    progress: Progress

    def program(self, recipe: Recipe) -> Path:
        """The built program's path; raises LabError if the build fails or the disk is too small."""
        target = self.find(recipe)
        if not target.exists():
            ticker = Ticker(self.progress)
            lock = self.cache / f".{recipe.name}.lock"
            waiting = f"another build of {recipe.name} is running, waiting for it"
            with locks.held(lock, lambda: ticker.tick(waiting), BUILD_SECONDS) as descriptor:
                if not target.exists():
                    self._build(recipe, target, descriptor)
        return target

    def find(self, recipe: Recipe) -> Path:
        """Where the program is once it is built."""
        return self.cache / f"{recipe.name}-{recipe.key(self.go.version)}"

    def _build(self, recipe: Recipe, target: Path, lock: int) -> None:
        _check_disk(self.cache)
        hint = f" (once: about {recipe.duration})" if recipe.duration else ""
        with (
            self.progress.step(f"building {recipe.name}{hint}"),
            tempfile.TemporaryDirectory(dir=self.cache) as directory,
        ):
            output = Path(directory) / recipe.name
            self._run(recipe, output, lock)
            (built,) = Path(directory).iterdir()
            built.rename(target)

    def _run(self, recipe: Recipe, output: Path, lock: int) -> None:
        """Run the compiler, telling how far it is. It inherits the lock: killed alone, this program leaves it building."""
        environment = build_environment(os.environ)
        if recipe.folder is None:
            environment["GOBIN"] = str(output.parent)
        with subprocess.Popen(
            recipe.command(self.go, output),
            cwd=recipe.folder or self.cache,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[lock],
        ) as process:
            lines = self._follow(process.stderr or ())
        if process.returncode:
            raise LabError(f"building {recipe.name} failed: {'; '.join(lines) or 'no output'}")

    def _follow(self, lines: Iterable[str]) -> list[str]:
        """Read `go build -v`: it names every package that it compiles. Returns the last lines."""
        ticker, compiled, recent = Ticker(self.progress), 0, deque[str](maxlen=3)
        for line in lines:
            compiled += not line.startswith("go: ")
            recent.append(line.strip())
            ticker.tick(f"{compiled} packages compiled, now {recent[-1]}")
        return list(recent)


def _check_disk(directory: Path) -> None:
    free = shutil.disk_usage(directory).free
    if free < DISK_NEEDED:
        raise LabError(
            f"{directory} has {free / 2**30:.1f} GiB free, a build needs {DISK_NEEDED / 2**30:.0f}: "
            "make room, or set GASTOWN_CACHE to a folder of a larger disk"
        )
