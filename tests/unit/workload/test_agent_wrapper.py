"""The agent's wrapper, run as in a container: PID 1 of a PID namespace of its own."""

import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

SCRIPT = files("gastown_operator.workload").joinpath("agent-wrapper.sh").read_text()


class Container:
    """The volumes that the wrapper uses, and the wrapper in them."""

    def __init__(self, root: Path) -> None:
        self.control = root / "control"
        self.hints = root / "hints"
        for directory in (self.control, self.hints):
            directory.mkdir()
        (self.control / "prompt.md").write_text("the prompt\n")
        # 20 s of grace are 1 s here: the script is constant but for its paths and this number.
        text = SCRIPT.replace("/gastown/control", str(self.control)).replace(
            "/gastown/hints", str(self.hints)
        )
        self.script = root / "agent-wrapper"
        self.script.write_text(text.replace("sleep 20", "sleep 1"))
        self.process: subprocess.Popen[str] | None = None

    def start(self, shell: str) -> "subprocess.Popen[str]":
        """Start the wrapper around an agent that is a piece of shell."""
        command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", str(self.script)]
        self.process = subprocess.Popen([*command, "/bin/sh", "-c", shell], stdout=subprocess.PIPE, text=True)
        return self.process

    def run(self, shell: str) -> tuple[int, str]:
        """Exit status and output of an agent that ends by itself."""
        output, _ = self.start(shell).communicate(timeout=20)
        assert self.process is not None
        return self.process.returncode, output

    def report(self) -> str:
        """What the wrapper left for the keeper."""
        return (self.hints / "exit").read_text()


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    """A container that is gone after the test."""
    made = Container(tmp_path)
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.communicate()


@pytest.mark.parametrize("code", [0, 1, 7, 127])
def test_the_exit_status_is_the_agents(container: Container, code: int) -> None:
    assert container.run(f"exit {code}")[0] == code
    assert container.report() == f"code={code} stopped=no\n"


def test_the_prompt_is_on_standard_input(container: Container) -> None:
    assert container.run("cat") == (0, "the prompt\n")


def test_a_round_that_is_done_does_not_run_the_agent(container: Container) -> None:
    (container.control / "finished").write_text("x")

    assert container.run("echo ran") == (0, "")
    assert container.report() == "code=0 stopped=no\n"


def test_a_stop_request_ends_the_agent_and_is_never_a_success(container: Container) -> None:
    process = container.start("trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    (container.control / "stop").write_text("deadline\n")

    assert process.wait(timeout=20) == 143
    assert container.report() == "code=143 stopped=yes\n"


def test_an_agent_that_ignores_sigterm_is_killed_with_everything_it_started(container: Container) -> None:
    process = container.start(
        "trap '' TERM; (trap '' TERM; sleep 300) & echo up; while :; do sleep 0.1; done"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    (container.control / "stop").write_text("deadline\n")

    assert process.wait(timeout=20) == 137
    assert container.report() == "code=137 stopped=yes\n"
