"""Ends that an exit status does not tell the truth about: what is pushed, and what is not marked as done."""

import json
import signal

import pytest

from gastown_operator.gateway.message import GatewayRecord, ModelOutcome
from gastown_operator.workload.message import Outcome
from tests.unit.workload.attempts import Attempt, Attempts, RemoteRepository, git
from tests.unit.workload.test_keeper import Script

WORK = "refs/heads/polecat/toast"
CHECKPOINT = "refs/gastown/wip/0b7c2f2e-aaaa/1"
DONE = "refs/gastown/done/0b7c2f2e-aaaa/1"


def record(attempt: Attempt, model: ModelOutcome) -> None:
    """Leave what the gateway writes."""
    (attempt.control / "gateway.json").write_bytes(
        GatewayRecord(model, str(model), "HTTP 401: invalid x-api-key", requests=3).encode()
    )


@pytest.mark.parametrize(
    ("model", "outcome", "reason"),
    [
        (ModelOutcome.AUTH, Outcome.AUTH_ERROR, "InvalidCredential"),
        (ModelOutcome.BUDGET, Outcome.BUDGET_EXCEEDED, "BudgetExceeded"),
        (ModelOutcome.RATE_LIMITED, Outcome.AGENT_ERROR, "RateLimited"),
        (ModelOutcome.UNAVAILABLE, Outcome.AGENT_ERROR, "ModelUnavailable"),
    ],
)
def test_exit_status_0_after_the_provider_failed_is_no_success_and_its_work_is_kept(
    attempts: Attempts,
    remote_repository: RemoteRepository,
    model: ModelOutcome,
    outcome: Outcome,
    reason: str,
) -> None:
    attempt = attempts(gateway=True)
    attempt.clone()
    head = attempt.agent({"a.txt": "a\n"}, "Half of it")
    attempt.agent({"b.txt": "b\n"})
    record(attempt, model)

    message = attempt.end(0)

    assert (message.outcome, message.reason) == (outcome, reason)
    assert "HTTP 401" in message.message
    refs = remote_repository.refs()
    assert (refs[WORK], DONE in refs) == (head, False)
    assert remote_repository.files(CHECKPOINT)["b.txt"] == "b"


def test_no_changes_after_the_provider_failed_is_that_failure(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts(gateway=True)
    attempt.clone()
    record(attempt, ModelOutcome.AUTH)

    message = attempt.end(0)

    assert (message.outcome, message.commits) == (Outcome.AUTH_ERROR, 0)
    assert DONE not in remote_repository.refs()


def test_the_provider_answered_well_in_the_end(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts(gateway=True)
    attempt.clone()
    head = attempt.agent({"a.txt": "a\n"}, "All of it")
    record(attempt, ModelOutcome.OK)

    assert attempt.end(0).outcome is Outcome.SUCCEEDED
    assert remote_repository.refs()[DONE] == head


@pytest.mark.parametrize("content", ["", "{", "[]", '{"v":1}', '{"v":1,"outcome":"Great"}'])
def test_a_record_that_cannot_be_read_decides_nothing(attempts: Attempts, content: str) -> None:
    attempt = attempts(gateway=True)
    attempt.clone()
    attempt.agent({"a.txt": "a\n"}, "All of it")
    (attempt.control / "gateway.json").write_text(content)

    assert attempt.end(0).outcome is Outcome.SUCCEEDED


def test_a_program_that_says_that_it_failed_is_believed(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    """Claude Code can end with 0 after an error."""
    attempt = attempts(agent="claude-code")
    attempt.clone()
    attempt.agent({"a.txt": "a\n"})
    events = [
        {"type": "system", "subtype": "init"},
        {"type": "result", "subtype": "success", "is_error": True, "result": "API Error: 529 Overloaded"},
    ]
    (attempt.hints / "transcript").write_text("\n".join(map(json.dumps, events)) + "\n")

    message = attempt.end(0)

    assert (message.outcome, message.reason) == (Outcome.AGENT_ERROR, "AgentFailed")
    assert "529 Overloaded" in message.message
    assert DONE not in remote_repository.refs()
    assert remote_repository.files(CHECKPOINT)["a.txt"] == "a"


def test_an_agent_that_could_not_be_set_up(attempts: Attempts) -> None:
    attempt = attempts()
    attempt.clone()
    (attempt.hints / "exit").write_text("code=121 stopped=no setup=4\n")

    message = attempt.end(None)

    assert (message.outcome, message.reason) == (Outcome.CONFIG_ERROR, "SetupFailed")
    assert "exit status 4" in message.message


def test_an_agent_that_stalls_is_stopped_and_its_work_is_kept(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts(idle_limit=600)
    attempt.clone()
    head = attempt.agent({"a.txt": "a\n"}, "Half of it")
    attempt.agent({"draft.txt": "half\n"})
    (attempt.hints / "cpu").write_text("100\n")
    now = [0.0]

    def ten_minutes_pass() -> set[signal.Signals]:
        assert not (attempt.control / "stop").exists()
        now[0] += 300.0
        return set()

    def agent_obeys() -> set[signal.Signals]:
        assert (attempt.control / "stop").read_text() == "idle\n"
        (attempt.hints / "exit").write_text("code=143 stopped=yes\n")
        return {signal.SIGTERM}

    keeper = attempt.keeper(lambda: now[0])
    message = keeper.run(Script(ten_minutes_pass, ten_minutes_pass, agent_obeys))

    assert (message.outcome, message.reason) == (Outcome.STALLED, "Stalled")
    refs = remote_repository.refs()
    assert (refs[WORK], DONE in refs) == (head, False)
    assert remote_repository.files(CHECKPOINT)["draft.txt"] == "half"


def test_the_budget_that_came_before_the_deadline_is_the_cause(attempts: Attempts) -> None:
    attempt = attempts(deadline=600, gateway=True)
    attempt.clone()
    (attempt.control / "stop").write_text("budget\n")
    now = [0.0]

    def the_deadline_passes() -> set[signal.Signals]:
        now[0] = 600.0
        return set()

    def agent_obeys() -> set[signal.Signals]:
        (attempt.hints / "exit").write_text("code=143 stopped=yes\n")
        return {signal.SIGTERM}

    message = attempt.keeper(lambda: now[0]).run(Script(the_deadline_passes, agent_obeys))

    assert message.outcome is Outcome.BUDGET_EXCEEDED


def test_a_deadline_that_passes_during_a_push_stops_the_agent_at_once(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    """The server takes the push only when the stop request is there."""
    attempt = attempts(deadline=1)
    attempt.clone()
    attempt.agent({"draft.txt": "half\n"})
    stop = attempt.control / "stop"
    remote_repository.hook(
        "update", f"n=0; until [ -e {stop} ]; do sleep 0.1; n=$((n + 1)); [ $n -lt 100 ] || exit 1; done"
    )
    keeper = attempt.keeper()

    keeper.run(Script({signal.SIGUSR1}, {signal.SIGTERM}))

    assert stop.read_text() == "deadline\n"
    assert git(remote_repository.path, "show", f"{CHECKPOINT}:draft.txt") == "half"
