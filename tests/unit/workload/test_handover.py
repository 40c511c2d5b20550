"""What an agent is told of the attempts before it."""

from gastown_operator.workload.clone_record import CloneRecord
from gastown_operator.workload.handover import handover
from tests.unit.workload.attempts import Attempts, RemoteRepository, git


def test_a_first_attempt_is_told_nothing(attempts: Attempts) -> None:
    assert handover(attempts().clone()) == ""


def test_a_round_that_is_done_has_nobody_to_tell() -> None:
    assert handover(CloneRecord("a" * 40, "b" * 40, "", "done", "b" * 40)) == ""


def test_after_a_checkpoint_the_agent_is_told_of_commits_and_of_changes(attempts: Attempts) -> None:
    first = attempts()
    record = first.clone()
    head = first.agent({"a.txt": "a\n"}, "Half of it")
    first.agent({"b.txt": "b\n"})
    first.end(1)
    second = attempts()

    told = handover(second.clone())

    assert told.startswith("\n\n## Earlier attempts\n\n")
    assert f"`{record.base[:12]}..{head[:12]}`" in told
    assert "uncommitted changes" in told
    assert git(second.repository, "log", "--format=%s", f"{record.base[:12]}..{head[:12]}") == "Half of it"
    assert git(second.repository, "status", "--porcelain") == "?? b.txt"


def test_a_checkpoint_without_commits_says_so(attempts: Attempts) -> None:
    first = attempts()
    first.clone()
    first.agent({"b.txt": "b\n"})
    first.end(1)

    told = handover(attempts().clone())

    assert "left no commits" in told
    assert ".." not in told


def test_a_branch_that_was_worked_on_is_gone_on_from(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    tip = remote_repository.commit("polecat/toast", {"theirs.txt": "theirs\n"}, "Theirs")

    told = handover(attempts().clone())

    assert "worked on before" in told
    assert f"..{tip[:12]}`" in told
    assert "uncommitted" not in told


def test_the_prompt_ends_with_what_earlier_attempts_left(attempts: Attempts) -> None:
    first = attempts()
    first.clone()
    assert (first.control / "prompt.md").read_text() == "Please fix it.\n"
    first.agent({"b.txt": "b\n"})
    first.end(1)
    second = attempts()
    record = second.clone()

    assert (second.control / "prompt.md").read_text() == f"Please fix it.\n{handover(record)}"
