"""The git server as its users see it: over SSH, with a key and a known host, and no look at its disk."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hack.demo_run.errors import DemoError

TEST_SECONDS = 60
# Tests are code of the repository, and an agent wrote some of it: they run as nobody.
STRANGER = 65534
ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
}


@dataclass(frozen=True)
class TestRun:
    """How a run of a project's tests ended; `summary` is the last lines that it printed."""

    passed: bool
    summary: str


@dataclass(frozen=True)
class Checkout:
    """A clone of the repository at `url` in `directory`."""

    directory: Path
    url: str
    environment: dict[str, str]

    @classmethod
    def clone(cls, directory: Path, url: str, key: Path, known_hosts: Path) -> "Checkout":
        """Clone; raises DemoError with what git said."""
        ssh = f'ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -i "{key}" -o UserKnownHostsFile="{known_hosts}"'
        environment = {**ENVIRONMENT, "GIT_SSH_COMMAND": f"{ssh} -o StrictHostKeyChecking=yes"}
        checkout = cls(directory, url, environment)
        checkout._run("clone", "--quiet", "--", url, str(directory))
        return checkout

    def head(self, branch: str) -> str:
        """Return the commit that a branch has on the server now; empty if it has no such branch."""
        reference = f"refs/heads/{branch}"
        lines = self.git("ls-remote", "--quiet", "origin", reference).splitlines()
        return next((line.split()[0] for line in lines if line.endswith(f"\t{reference}")), "")

    def switch(self, branch: str, commit: str) -> None:
        """Fetch a branch and check the files of that commit of it out."""
        self.git("fetch", "--quiet", "origin", f"refs/heads/{branch}")
        self.git("checkout", "--quiet", "--detach", commit)

    def git(self, *arguments: str) -> str:
        """Run git in the clone and return its output; raises DemoError with what it said."""
        return self._run("-C", str(self.directory), *arguments)

    def test(self) -> TestRun:
        """Run the tests of what is checked out, as the project says."""
        try:
            answer = self._test_with(sys.executable) or self._test_with("/usr/bin/python3")
        except subprocess.TimeoutExpired:
            return TestRun(False, f"the tests did not end within {TEST_SECONDS} s")
        if answer is None:
            raise DemoError(
                f"{sys.executable} can be run by its owner only, and tests run as nobody: install python3"
            )
        lines = [line for line in answer.stderr.splitlines() if line.strip()]
        return TestRun(answer.returncode == 0, ", ".join(line.rstrip(".") for line in lines[-2:]))

    def _test_with(self, python: str) -> "subprocess.CompletedProcess[str] | None":
        try:
            return subprocess.run(
                [python, "-B", "-m", "unittest"],
                cwd=self.directory,
                env={"PATH": os.defpath},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=TEST_SECONDS,
                user=STRANGER,
                group=STRANGER,
                extra_groups=(),
            )
        except PermissionError:
            return None

    def _run(self, *arguments: str) -> str:
        answer = subprocess.run(
            ["git", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if answer.returncode != 0:
            raise DemoError(f"git {arguments[0]} from {self.url}: {answer.stderr.strip()}")
        return answer.stdout
