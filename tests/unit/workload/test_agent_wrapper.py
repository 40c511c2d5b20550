"""The agent's wrapper, run as in a container: PID 1 of a PID namespace of its own."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

import attrs
import pytest

SCRIPT = files("gastown_operator.workload").joinpath("agent-wrapper.sh").read_text()
#: The programs that the wrapper may use beside a shell; `seq` is for agents in these tests.
TOOLS = ("sh", "cat", "mkdir", "mkfifo", "mv", "rm", "sleep", "tee", "seq")


@attrs.define
class Container:
    """The volumes that the wrapper uses, and the wrapper in them.

    Attributes:
        shell: what an image has as its shell.
        path: where its programs are.
        grace: seconds between SIGTERM and SIGKILL.
        patience: seconds for the last output, where something holds it open.
    """

    root: Path
    shell: tuple[str, ...] = ("/bin/sh",)
    path: str = os.defpath
    environment: Mapping[str, str] = attrs.field(factory=dict)
    grace: int = 20
    patience: int = 5
    process: "subprocess.Popen[str] | None" = None

    def __attrs_post_init__(self) -> None:
        """Make the volumes."""
        for directory in (self.control, self.hints, self.config, self.home):
            directory.mkdir()
        (self.control / "prompt.md").write_text("the prompt\n")

    @property
    def control(self) -> Path:
        """Written by clone and keeper."""
        return self.root / "control"

    @property
    def hints(self) -> Path:
        """Written by the wrapper."""
        return self.root / "hints"

    @property
    def config(self) -> Path:
        """The user's ConfigMap."""
        return self.root / "config"

    @property
    def home(self) -> Path:
        """The agent's HOME."""
        return self.root / "home"

    def tools(self, *names: str, source: str = "") -> None:
        """Leave the image with these programs alone, all of them links to `source` where it is given."""
        directory = self.root / "bin"
        directory.mkdir()
        for name in names:
            (directory / name).symlink_to(source or shutil.which(name) or name)
        self.path = str(directory)

    def start(self, agent: str) -> "subprocess.Popen[str]":
        """Start the wrapper around an agent that is a piece of shell."""
        text = SCRIPT
        for name in ("control", "hints", "agent-config"):
            text = text.replace(f"/gastown/{name}", str(self.root / name.removeprefix("agent-")))
        # Seconds are shorter here: the script is constant but for its paths and these numbers.
        text = (
            text.replace("sleep 20", f"sleep {self.grace}")
            .replace("sleep 5 &&", f"sleep {self.patience} &&")
            .replace("sleep 1; done", "sleep 0.1; done")
            .replace("sleep 5; done", "sleep 0.1; done")
        )
        script = self.root / "agent-wrapper"
        script.write_text(text)
        unshare = shutil.which("unshare") or "unshare"
        command = [unshare, "--pid", "--fork", "--kill-child", "--mount-proc", *self.shell, str(script)]
        self.process = subprocess.Popen(
            [*command, *self.shell, "-c", agent],
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": self.path, "HOME": str(self.home), **self.environment},
        )
        return self.process

    def run(self, agent: str) -> tuple[int, str]:
        """Exit status and output of an agent that ends by itself."""
        output, _ = self.start(agent).communicate(timeout=20)
        assert self.process is not None
        return self.process.returncode, output

    def report(self) -> str:
        """What the wrapper left for the keeper."""
        return (self.hints / "exit").read_text()

    def transcript(self) -> str:
        """What the agent printed, as the keeper finds it."""
        return (self.hints / "transcript").read_text()


def busybox(root: Path) -> Container:
    """An image that has busybox and nothing else."""
    program = shutil.which("busybox")
    if program is None:
        pytest.skip("busybox is not installed")
    made = Container(root, (program, "sh"))
    made.tools(*TOOLS, source=program)
    return made


def small(root: Path) -> Container:
    """An image that has neither tee nor mkfifo."""
    made = Container(root)
    made.tools(*(name for name in TOOLS if name not in ("tee", "mkfifo")))
    return made


def bash(root: Path) -> Container:
    """An image whose shell is bash."""
    program = shutil.which("bash")
    if program is None:
        pytest.skip("bash is not installed")
    return Container(root, (program, "--posix"))


@pytest.fixture(params=[Container, busybox, bash, small], ids=["sh", "busybox", "bash", "small"])
def container(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Container]:
    """A container that is gone after the test; for each kind of image."""
    made = request.param(tmp_path)
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.communicate()


def has_transcript(container: Container) -> bool:
    """Whether the image has what a transcript needs."""
    return shutil.which("tee", path=container.path) is not None


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
    container.grace = 1
    process = container.start(
        "trap '' TERM; (trap '' TERM; sleep 300) & echo up; while :; do sleep 0.1; done"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    (container.control / "stop").write_text("deadline\n")

    assert process.wait(timeout=20) == 137
    assert container.report() == "code=137 stopped=yes\n"


def test_the_transcript_has_all_that_the_agent_printed(container: Container) -> None:
    status, output = container.run("seq 1 30000; echo oops >&2; exit 3")

    assert status == 3
    expected = [*(str(number) for number in range(1, 30001)), "oops"]
    assert output.splitlines() == expected
    if has_transcript(container):
        assert container.transcript().splitlines() == expected


def test_a_transcript_goes_on_where_it_was_cut(container: Container) -> None:
    if not has_transcript(container):
        pytest.skip("this image makes no transcript")
    transcript = container.hints / "transcript"
    cut = f"until [ -s {transcript} ]; do sleep 0.1; done; : >{transcript}"

    assert container.run(f"echo before; {cut}; echo after") == (0, "before\nafter\n")
    assert container.transcript() == "after\n"


def test_what_the_agent_left_running_does_not_hold_the_end_up(container: Container) -> None:
    container.patience = 1
    status, output = container.run("(trap '' TERM; sleep 300) & echo done; exit 4")

    assert (status, output) == (4, "done\n")
    assert container.report() == "code=4 stopped=no\n"


def test_an_agent_may_print_while_it_is_being_stopped(container: Container) -> None:
    process = container.start(
        "trap 'seq 1 2000; echo bye; exit 9' TERM; echo up; while :; do sleep 0.1; done"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    (container.control / "stop").write_text("deadline\n")

    assert process.stdout.read().endswith("2000\nbye\n")
    assert process.wait(timeout=20) == 9


def test_an_agent_whose_transcript_cannot_be_written_goes_on(container: Container) -> None:
    (container.hints / "transcript").symlink_to("/dev/full")

    status, output = container.run("seq 1 30000; exit 5")

    assert (status, output.endswith("\n30000\n")) == (5, True)
    assert container.report() == "code=5 stopped=no\n"


def test_an_agent_without_the_reader_of_its_output_goes_on(container: Container) -> None:
    """As when the kernel takes the reader for lack of memory."""
    if not has_transcript(container):
        pytest.skip("this image makes no transcript")
    kill = "for it in /proc/[0-9]*; do case $(cat $it/cmdline) in tee*) kill -KILL ${it#/proc/};; esac; done"
    wait = f"until [ -s {container.hints}/transcript ]; do sleep 0.1; done"
    status, output = container.run(f"echo before; {wait}; {kill}; seq 1 30000; exit 6")

    assert (status, output.endswith("\n30000\n")) == (6, True)
    assert "30000" not in container.transcript()


def test_places_taken_by_something_else_do_not_hold_the_report_up(container: Container) -> None:
    status, _ = container.run(f"cd {container.hints} && mkdir -p exit/x exit.new/x; exit 7")

    assert status == 7
    assert container.report() == "code=7 stopped=no\n"


def test_the_users_files_are_copied_before_the_agent_starts(container: Container) -> None:
    """A mounted ConfigMap: links by way of a directory whose name begins with two dots."""
    data = container.config / "..2026"
    data.mkdir()
    (data / "settings.json").write_text("{}\n")
    (data / ".hidden").write_text("secret\n")
    (container.config / "..data").symlink_to("..2026")
    for name in ("settings.json", ".hidden"):
        (container.config / name).symlink_to(f"..data/{name}")
    container.environment = {"GASTOWN_CONFIG_TARGET": ".claude"}

    assert container.run('cat "$HOME/.claude/settings.json" "$HOME/.claude/.hidden"') == (0, "{}\nsecret\n")
    assert not list((container.home / ".claude").glob("..*"))


def test_files_that_cannot_be_copied_keep_the_agent_from_starting(container: Container) -> None:
    (container.home / "taken").write_text("a file\n")
    container.environment = {"GASTOWN_CONFIG_TARGET": "taken"}

    assert container.run("echo ran") == (121, "")
    assert container.report() == "code=121 stopped=no setup=copy\n"


def test_the_setup_command_runs_first(container: Container) -> None:
    container.environment = {"GASTOWN_SETUP_COMMAND": f"echo set up; echo tool >{container.root}/made"}

    assert container.run(f"cat {container.root}/made") == (0, "set up\ntool\n")


def test_a_setup_command_that_fails_keeps_the_agent_from_starting(container: Container) -> None:
    container.environment = {"GASTOWN_SETUP_COMMAND": "echo no such package; exit 4"}

    assert container.run("echo ran") == (121, "no such package\n")
    assert container.report() == "code=121 stopped=no setup=4\n"


def test_a_stop_request_ends_the_setup_command_too(container: Container) -> None:
    container.environment = {"GASTOWN_SETUP_COMMAND": "echo up; while :; do sleep 0.1; done"}
    process = container.start("echo ran")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    (container.control / "stop").write_text("idle\n")

    assert process.wait(timeout=20) == 143
    assert process.stdout.read() == ""
    assert container.report() == "code=143 stopped=yes\n"


def test_cpu_time_is_sampled(container: Container) -> None:
    """The agent ends as soon as a sample shows that it was busy; a later one counts who is still there."""
    busy = f"read -r ticks <{container.hints}/cpu && [ ${{ticks:-0}} -ge 30 ]"

    assert container.run(f"until {busy}; do :; done 2>/dev/null")[0] == 0
