"""A git server with the sample project, and a kubectl that plays a recording."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hack.demo_run.checkout import Checkout
from hack.demo_run.servers import Servers, running
from hack.git_server.openssh import prepare
from hack.lab.progress import Progress

# Plays the file RECORDING/KIND, KIND being the kind that is asked for or `logs`; a watch then goes on until it is ended.
KUBECTL = """\
#!/bin/sh
case "$*" in *" logs "*) exec cat "$RECORDING/logs" ;; esac
for kind in polecats pods events; do
  case "$*" in *" get $kind "*) cat "$RECORDING/$kind"; asked=$kind ;; esac
done
case "$*" in *" --watch "*) test -e "$RECORDING/$asked.ends" || exec sleep 60 ;; esac
"""


@dataclass(frozen=True)
class Recording:
    """What the recorded cluster says to each question."""

    directory: Path

    def says(self, kind: str, *lines: str) -> None:
        """Let kubectl print these lines."""
        (self.directory / kind).write_text("".join(f"{line}\n" for line in lines))

    def ends(self, kind: str) -> None:
        """Let the watch of this kind end after its lines."""
        (self.directory / f"{kind}.ends").touch()


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recording:
    program = tmp_path / "bin/kubectl"
    program.parent.mkdir()
    program.write_text(KUBECTL)
    program.chmod(0o755)
    directory = tmp_path / "recording"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("RECORDING", str(directory))
    recording = Recording(directory)
    for kind in ("polecats", "pods", "events", "logs"):
        recording.says(kind)
    return recording


@pytest.fixture
def servers() -> Iterator[Servers]:
    if os.geteuid() != 0:
        pytest.skip("sshd needs root")
    prepare(Progress("tests"))
    with running("127.0.0.1", with_model=True) as started:
        yield started


@pytest.fixture
def cloned(servers: Servers) -> Callable[[str], Checkout]:
    """Clone the sample project into a directory of that name."""

    def clone(name: str) -> Checkout:
        return Checkout.clone(servers.directory / name, servers.url, servers.key.private, servers.known_hosts)

    return clone
