"""Runs git with nothing of its surroundings: a fixed environment, a deadline, and a process group of its own."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from gastown_operator.workload.egress import egress_configuration, egress_environment
from gastown_operator.workload.errors import GitError

LOCAL_TIMEOUT = 120.0
#: Bytes from which on a file is written to a pack, not to a file of its own.
BIG_FILE: Final = 16 * 1024 * 1024
#: Seconds between two looks at whether a command shall be broken off.
_LOOK_EVERY: Final = 0.1

#: Nothing of a system, a user or a repository decides what git does; hooks, helpers and other transports do not exist.
#: `safe.directory` is read from here alone, since git ignores it in a repository's own configuration.
CONFIGURATION: Final[dict[str, str]] = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.commitGraph": "false",
    "core.multiPackIndex": "false",
    "core.quotePath": "false",
    # Names that other systems dislike are files here; `.git` is refused in any case.
    "core.protectNTFS": "false",
    "core.protectHFS": "false",
    # Large files go to a pack in pieces, and no window of them is held: memory stays bounded whatever the agent makes.
    "core.bigFileThreshold": str(BIG_FILE),
    # By default, a whole pack of a gigabyte would be mapped.
    "core.packedGitWindowSize": "16m",
    "core.packedGitLimit": "128m",
    "pack.windowMemory": "32m",
    "pack.deltaCacheSize": "16m",
    # Time counts more than bytes when a pod is told to end.
    "pack.compression": "1",
    "core.logAllRefUpdates": "false",
    "credential.helper": "",
    "diff.ignoreSubmodules": "all",
    "fetch.recurseSubmodules": "false",
    # What came stays a pack, however little it is: its size can be seen, and a thousand files need not be written.
    "fetch.unpackLimit": "1",
    "push.recurseSubmodules": "no",
    "push.followTags": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "advice.detachedHead": "false",
    # A redirect could carry a credential to another destination (DESIGN §11).
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
    "protocol.version": "2",
}

_ENVIRONMENT: Final[Mapping[str, str]] = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_ALLOW_PROTOCOL": "ssh:https:http",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_ASKPASS": "/bin/false",
    "SSH_ASKPASS": "/bin/false",
    "HOME": "/nonexistent",
    # A credential helper in Python must not import what lies in its working directory.
    "PYTHONSAFEPATH": "1",
    "LC_ALL": "C.UTF-8",
    "LANGUAGE": "C",
}

_CONTROL_CHARACTERS = re.compile(r"[^\x20-\x7e\n\t\x80-\U0010ffff]|[\x80-\x9f]")


def printable(output: bytes) -> str:
    """Text of a program's output without control characters, which a hostile server could send to a terminal."""
    return _CONTROL_CHARACTERS.sub("", output.decode("utf-8", "replace"))


@attrs.frozen
class Git:
    """Git on one repository.

    Args:
        git_dir: the repository; None for commands that need none (`ls-remote`).
        work_tree: where files are read from or written to, for commands that need it.
        index: the index file; git's own place by default.
        environment: additions, such as `GIT_SSH_COMMAND`.
        configuration: additions to the configuration that every command gets.
    """

    git_dir: Path | None
    work_tree: Path | None = None
    index: Path | None = None
    environment: Mapping[str, str] = attrs.field(factory=dict)
    configuration: Mapping[str, str] = attrs.field(factory=dict)

    def run(self, *arguments: str, stdin: bytes = b"", timeout: float = LOCAL_TIMEOUT) -> bytes:
        """Standard output of `git ARGUMENTS`.

        Raises:
            GitError: another exit status than 0, or `timeout` seconds passed; the whole process group is ended then.
        """
        status, output, errors = self.attempt(*arguments, stdin=stdin, timeout=timeout)
        if status != 0:
            raise GitError(arguments[0], status, printable(errors))
        return output

    def line(self, *arguments: str) -> str:
        """The one line that `git ARGUMENTS` prints."""
        return self.run(*arguments).decode("utf-8", "surrogateescape").rstrip("\n")

    def attempt(
        self,
        *arguments: str,
        stdin: bytes = b"",
        timeout: float = LOCAL_TIMEOUT,
        enough: Callable[[], bool] | None = None,
    ) -> tuple[int | None, bytes, bytes]:
        """Exit status (None when it was ended), standard output and standard error.

        Args:
            arguments: subcommand and its arguments.
            stdin: standard input.
            timeout: seconds after which the whole process group is ended.
            enough: asked ten times a second; the process group is ended once it says so.
        """
        process = subprocess.Popen(
            ["git", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment(),
            cwd=self._directory(),
            start_new_session=True,
        )
        try:
            output, errors = _communicate(process, stdin, timeout, enough)
        except subprocess.TimeoutExpired:
            end_process_group(process)
            return None, b"", b"stopped after %d s" % timeout
        except BaseException:
            end_process_group(process)
            raise
        return process.returncode, output, errors

    def with_environment(self, environment: Mapping[str, str], configuration: Mapping[str, str]) -> "Git":
        """The same repository with additions, such as the credential for one remote."""
        return attrs.evolve(
            self,
            environment={**self.environment, **environment},
            configuration={**self.configuration, **configuration},
        )

    def _directory(self) -> Path:
        """Never in the work tree: what git starts (ssh, credential helpers) would run among the agent's files, and git list a part of them."""
        if self.git_dir is None or not self.git_dir.is_dir():
            return Path("/")
        within = self.work_tree is not None and self.git_dir.is_relative_to(self.work_tree)
        return Path("/") if within else self.git_dir

    def _environment(self) -> dict[str, str]:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            **egress_environment(os.environ),
            **_ENVIRONMENT,
            **self.environment,
        }
        if self.git_dir is not None:
            environment["GIT_DIR"] = str(self.git_dir)
        if self.work_tree is not None:
            environment["GIT_WORK_TREE"] = str(self.work_tree)
        if self.index is not None:
            environment["GIT_INDEX_FILE"] = str(self.index)
        settings = {**CONFIGURATION, **egress_configuration(os.environ), **self.configuration}
        environment["GIT_CONFIG_COUNT"] = str(len(settings))
        for number, (key, value) in enumerate(settings.items()):
            environment[f"GIT_CONFIG_KEY_{number}"] = key
            environment[f"GIT_CONFIG_VALUE_{number}"] = value
        return environment


def _communicate(
    process: "subprocess.Popen[bytes]", stdin: bytes, timeout: float, enough: Callable[[], bool] | None
) -> tuple[bytes, bytes]:
    """What a child prints until it ends. Raises subprocess.TimeoutExpired."""
    if enough is None:
        return process.communicate(stdin, timeout)
    until = time.monotonic() + timeout
    given: bytes | None = stdin
    pause = 0.0
    while True:
        try:
            return process.communicate(given, pause)
        except subprocess.TimeoutExpired:
            given, pause = None, _LOOK_EVERY
            if enough() or time.monotonic() >= until:
                raise


def end_process_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill a child that leads a process group, and everything in the group, and wait for the child."""
    with contextlib.suppress(ProcessLookupError):  # it ended by itself in the meantime
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # what was still buffered for a dead child
                pipe.close()


def nul_separated(values: Sequence[bytes]) -> bytes:
    """Paths as git reads them with `-z`."""
    return b"".join(value + b"\0" for value in values)
