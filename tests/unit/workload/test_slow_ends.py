"""Ends whose time is short: what is committed waits for nothing that is beside it."""

import os
from pathlib import Path

import pytest

from gastown_operator.workload import checkpoints
from gastown_operator.workload.agent_end import AgentEnd
from gastown_operator.workload.message import Outcome
from tests.unit.workload.attempts import Attempts, RemoteRepository, git
from tests.unit.workload.beside import CHECKPOINT, with_submodule

WORK = "refs/heads/polecat/toast"
FAILED = AgentEnd(Outcome.AGENT_ERROR, "AgentFailed", "the agent failed")


@pytest.mark.parametrize("end", [FAILED, AgentEnd(Outcome.SUCCEEDED, "Succeeded", "the agent succeeded")])
def test_what_is_beside_the_branch_is_waited_for_only_while_there_is_time(
    attempts: Attempts, remote_repository: RemoteRepository, tmp_path: Path, end: AgentEnd
) -> None:
    attempt = with_submodule(attempts, remote_repository, tmp_path)
    attempt.agent({"a.txt": "a\n"}, "Work")
    attempt.agent({"b.txt": "b\n"})
    git(attempt.repository / "lib", "init", "--quiet", "nested")
    trap = attempt.repository / "lib" / "nested" / ".git" / "HEAD"
    trap.unlink()
    os.mkfifo(trap)
    keeper = attempt.keeper()
    keeper.work.snapshots.list_timeout = 600
    delivery = keeper._delivery(lambda: 60.0 if delivery._beside is None else 15.5)
    # The agent holds it open, so that git is never released from it.
    with trap.open("r+b", buffering=0):
        message = delivery.deliver(end)

    assert message.outcome is end.outcome
    assert "the submodule 'lib' could not all be saved" in message.message
    leftovers = f"{WORK if end.succeeded else CHECKPOINT}:b.txt"
    assert git(remote_repository.path, "show", f"{WORK}:a.txt", leftovers) == "a\nb"


def test_a_checkpoint_that_takes_too_long_costs_no_commit(
    attempts: Attempts, remote_repository: RemoteRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = "while read old new ref; do case $ref in refs/gastown/wip/*) sleep 600;; esac; done"
    remote_repository.hook("pre-receive", slow)
    monkeypatch.setattr(checkpoints, "_SHORTEST_PUSH", 1.0)
    attempt = attempts()
    attempt.clone()
    head = attempt.agent({"a.txt": "a\n"}, "Work")
    attempt.agent({"b.txt": "b\n"})

    delivery = attempt.keeper()._delivery(
        lambda: 16.0 if delivery._beside is not None and delivery._beside.done() else 60.0
    )
    message = delivery.deliver(FAILED)

    assert (message.outcome, message.pushed, message.head) == (Outcome.INFRASTRUCTURE, True, head)
    assert remote_repository.refs()[WORK] == head
