"""The keeper while the agent works: checkpoints, the deadline, and what wakes it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gastown_operator.workload.credentials import Access
from gastown_operator.workload.message import Outcome
from gastown_operator.workload.signals import Wakeups
from tests.unit.workload.attempts import Attempts, RemoteRepository, git

CHECKPOINT = "refs/gastown/wip/0b7c2f2e-aaaa/1"
WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


@pytest.fixture
def wakeups() -> Iterator[Wakeups]:
    """Signals of this very process, as in the container."""
    with Wakeups(WATCHED) as made:
        yield made


class Script(Wakeups):
    """Wakeups that do one thing after another: each `wait` does the next one and reports what it returns."""

    def __init__(self, *steps: object) -> None:
        super().__init__(())
        self.steps = list(steps)

    def wait(self, seconds: float) -> set[signal.Signals]:
        """The next step's signals; SIGTERM when there are none left."""
        del seconds
        step = self.steps.pop(0) if self.steps else {signal.SIGTERM}
        done = step() if callable(step) else step
        return done if isinstance(done, set) else set()


def test_a_prestop_hook_saves_the_work_at_once(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts()
    attempt.clone()
    attempt.agent({"draft.txt": "half\n"})

    def checkpoint_is_there() -> set[signal.Signals]:
        assert remote_repository.files(CHECKPOINT)["draft.txt"] == "half"
        return {signal.SIGTERM}

    attempt.keeper().run(Script({signal.SIGUSR1}, checkpoint_is_there))


def test_an_unchanged_tree_is_not_pushed_again(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts()
    attempt.clone()
    attempt.agent({"draft.txt": "half\n"})
    keeper = attempt.keeper()
    keeper._checkpoint()
    first = remote_repository.refs()[CHECKPOINT]

    keeper._checkpoint()

    assert remote_repository.refs()[CHECKPOINT] == first


def test_nothing_is_pushed_while_the_agent_has_done_nothing(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts()
    attempt.clone()

    attempt.keeper()._checkpoint()

    assert CHECKPOINT not in remote_repository.refs()


def test_at_the_deadline_the_agent_is_asked_to_stop_and_its_work_is_kept(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts(deadline=600)
    now = [0.0]

    def ten_minutes_pass() -> set[signal.Signals]:
        now[0] = 600.0
        return set()

    attempt.clone()
    attempt.agent({"draft.txt": "half\n"})

    def agent_obeys() -> set[signal.Signals]:
        assert (attempt.control / "stop").read_text() == "deadline\n"
        (attempt.hints / "exit").write_text("code=143 stopped=yes\n")
        return {signal.SIGTERM}

    message = attempt.keeper(lambda: now[0]).run(Script(ten_minutes_pass, agent_obeys))

    assert message.outcome is Outcome.DEADLINE_EXCEEDED
    assert remote_repository.files(CHECKPOINT)["draft.txt"] == "half"


def test_a_git_server_that_is_away_at_the_end_is_tried_again(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path
) -> None:
    """`ssh` is a program here that refuses the connection until a file is there, and then runs git's command itself."""
    up = tmp_path / "up"
    ssh = tmp_path / "ssh"
    refusal = "ssh: connect to host git.example.invalid port 22: Connection refused"
    ssh.write_text(
        f'#!/bin/sh\n[ -e {up} ] || {{ echo "{refusal}" >&2; exit 255; }}\nfor it; do :; done\neval "exec $it"\n'
    )
    ssh.chmod(0o755)
    attempts.access = Access({"GIT_SSH_COMMAND": str(ssh), "GIT_SSH_VARIANT": "simple"}, {})
    up.touch()
    attempt = attempts(repository=f"ssh://git.example.invalid{remote_repository.path}")
    attempt.clone()
    head = attempt.agent({"a.txt": "a\n"}, "Work")
    (attempt.hints / "exit").write_text("code=0 stopped=no\n")
    up.unlink()

    def server_is_back() -> set[signal.Signals]:
        up.touch()
        return set()

    message = attempt.keeper().run(Script({signal.SIGTERM}, server_is_back))

    assert [published.reason for published in attempt.published] == [
        "PushUnfinished",
        "GitServerUnreachable",
        "Succeeded",
    ]
    assert (message.outcome, message.head) == (Outcome.SUCCEEDED, head)


def test_an_ordinary_container_waits_for_the_end_of_the_agent(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts(ended_by_pipe=True)
    attempt.clone()

    def agent_ends() -> set[signal.Signals]:
        attempt.agent({"last.txt": "written after SIGTERM\n"})
        (attempt.hints / "exit").write_text("code=143 stopped=yes\n")
        return {signal.SIGCHLD}

    message = attempt.keeper().run(Script({signal.SIGTERM}, {signal.SIGUSR1}, agent_ends))

    assert message.outcome is Outcome.INTERRUPTED
    assert remote_repository.files(CHECKPOINT)["last.txt"] == "written after SIGTERM"


def test_a_first_message_says_that_the_push_is_not_done_should_the_keeper_be_killed(
    attempts: Attempts,
) -> None:
    attempt = attempts()
    attempt.clone()
    attempt.agent({"a.txt": "a\n"}, "Work")

    last = attempt.end(0)

    assert attempt.published[0].reason == "PushUnfinished"
    assert attempt.published[-1] == last


def test_signals_are_seen_in_the_order_of_events(wakeups: Wakeups) -> None:
    assert wakeups.wait(0) == set()
    os.kill(os.getpid(), signal.SIGUSR1)
    assert wakeups.wait(5) == {signal.SIGUSR1}
    os.kill(os.getpid(), signal.SIGTERM)
    assert wakeups.wait(5) == {signal.SIGTERM}


def test_the_end_of_the_agent_is_seen_when_the_kernel_closes_its_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "alive"
    os.mkfifo(pipe)
    with Wakeups(WATCHED, pipe) as waiting:
        assert waiting.wait(0) == set()
        writer = os.open(pipe, os.O_WRONLY)
        assert waiting.wait(0) == set()
        os.close(writer)
        assert waiting.wait(5) == {signal.SIGCHLD}


def test_an_agents_branch_is_untouched_by_checkpoints(attempts: Attempts) -> None:
    attempt = attempts()
    attempt.clone()
    head = attempt.agent({"draft.txt": "half\n"})

    attempt.keeper()._checkpoint()

    assert git(attempt.repository, "rev-parse", "HEAD") == head
    assert git(attempt.repository, "status", "--porcelain") == "?? draft.txt"


def test_a_history_that_the_agent_began_anew_is_checkpointed(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts()
    attempt.clone()
    git(attempt.repository, "checkout", "--quiet", "--orphan", "anew")
    head = attempt.agent({"a.txt": "a\n"}, "Anew")

    attempt.keeper()._checkpoint()

    assert remote_repository.refs()[CHECKPOINT] == head
