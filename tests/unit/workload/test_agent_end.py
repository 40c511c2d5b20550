"""What the end of an agent counts as: every way to end, with every answer of the model's provider."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown_operator.agents.result import AgentResult
from gastown_operator.gateway.message import GatewayRecord, ModelOutcome
from gastown_operator.workload.agent_end import AgentEnd, Evidence, judge
from gastown_operator.workload.message import Outcome
from gastown_operator.workload.wrapper_report import WrapperReport

DONE = AgentResult(finished=True)
UNFINISHED = AgentResult(finished=False, reason="NoResult")
FAILED = AgentResult(finished=False, failed=True, reason="ModelError", message="API Error: 529")

#: Every way in which an agent's processes end.
ENDS = {
    "exit 0": Evidence(WrapperReport(0)),
    "exit 0, says it is done": Evidence(WrapperReport(0), result=DONE),
    "exit 0, as a volume is full": Evidence(WrapperReport(0), full=["the workspace"]),
    "exit 0, just as it was to stop": Evidence(WrapperReport(0), "deadline"),
    "exit 0, says it failed": Evidence(WrapperReport(0), result=FAILED),
    "exit 0, without an end": Evidence(WrapperReport(0), result=UNFINISHED),
    "exit 1": Evidence(WrapperReport(1)),
    "exit 1, says it failed": Evidence(WrapperReport(1), result=FAILED),
    "exit 1, as a volume is full": Evidence(WrapperReport(1), full=["the workspace"]),
    "setup failed": Evidence(WrapperReport(121, setup="4")),
    "setup failed, as a volume is full": Evidence(WrapperReport(121, setup="4"), full=["the workspace"]),
    "stopped at the deadline": Evidence(WrapperReport(143, stopped=True), "deadline"),
    "killed at the deadline": Evidence(WrapperReport(), "deadline"),
    "stopped when idle": Evidence(WrapperReport(143, stopped=True), "idle", UNFINISHED),
    "stopped at the budget": Evidence(WrapperReport(143, stopped=True), "budget"),
    "told to end": Evidence(WrapperReport(143, stopped=True), full=["the workspace"]),
    "no report": Evidence(WrapperReport()),
    "no report, as a volume is full": Evidence(WrapperReport(), full=["the workspace"]),
}
OTHERS = (
    ModelOutcome.NONE,
    ModelOutcome.OK,
    ModelOutcome.RATE_LIMITED,
    ModelOutcome.UNAVAILABLE,
    ModelOutcome.REFUSED,
    ModelOutcome.AUTH,
    ModelOutcome.CONFIG,
    ModelOutcome.BUDGET,
)
#: For each end: the reason where the provider answered well (or was never asked), and in the order of OTHERS where it did not.
SEEN_BY_PROVIDER = (
    "RateLimited",
    "ModelUnavailable",
    "ModelRefused",
    "InvalidCredential",
    "CredentialMissing",
    "BudgetExceeded",
)
TABLE = {
    "exit 0": ("Succeeded", SEEN_BY_PROVIDER),
    "exit 0, says it is done": ("Succeeded", SEEN_BY_PROVIDER),
    "exit 0, as a volume is full": ("Succeeded", SEEN_BY_PROVIDER),
    "exit 0, just as it was to stop": ("Succeeded", SEEN_BY_PROVIDER),
    "exit 0, says it failed": ("AgentFailed", SEEN_BY_PROVIDER),
    "exit 0, without an end": ("AgentFailed", SEEN_BY_PROVIDER),
    "exit 1": ("AgentExitCode", SEEN_BY_PROVIDER),
    "exit 1, says it failed": ("AgentFailed", SEEN_BY_PROVIDER),
    "exit 1, as a volume is full": ("DiskFull", SEEN_BY_PROVIDER),
    "setup failed": ("SetupFailed", SEEN_BY_PROVIDER),
    "setup failed, as a volume is full": ("DiskFull", SEEN_BY_PROVIDER),
    "stopped at the deadline": ("DeadlineExceeded", ("DeadlineExceeded",) * 3 + SEEN_BY_PROVIDER[3:]),
    "killed at the deadline": ("DeadlineExceeded", ("DeadlineExceeded",) * 3 + SEEN_BY_PROVIDER[3:]),
    "stopped when idle": ("Stalled", ("Stalled",) * 3 + SEEN_BY_PROVIDER[3:]),
    "stopped at the budget": ("BudgetExceeded", ("BudgetExceeded",) * 6),
    "told to end": ("Interrupted", ("Interrupted",) * 5 + ("BudgetExceeded",)),
    "no report": ("AgentEndUnknown", ("AgentEndUnknown",) * 5 + ("BudgetExceeded",)),
    "no report, as a volume is full": ("DiskFull", SEEN_BY_PROVIDER),
}
OUTCOMES = {
    "Succeeded": Outcome.SUCCEEDED,
    "AgentFailed": Outcome.AGENT_ERROR,
    "AgentExitCode": Outcome.AGENT_ERROR,
    "RateLimited": Outcome.AGENT_ERROR,
    "ModelUnavailable": Outcome.AGENT_ERROR,
    "ModelRefused": Outcome.AGENT_ERROR,
    "InvalidCredential": Outcome.AUTH_ERROR,
    "CredentialMissing": Outcome.CONFIG_ERROR,
    "SetupFailed": Outcome.CONFIG_ERROR,
    "BudgetExceeded": Outcome.BUDGET_EXCEEDED,
    "DeadlineExceeded": Outcome.DEADLINE_EXCEEDED,
    "Stalled": Outcome.STALLED,
    "DiskFull": Outcome.RESOURCE_EXCEEDED,
    "Interrupted": Outcome.INTERRUPTED,
    "AgentEndUnknown": Outcome.INTERRUPTED,
}


def answered(model: ModelOutcome) -> GatewayRecord:
    """What the gateway records of a provider's answer."""
    reason = "CredentialMissing" if model is ModelOutcome.CONFIG else str(model)
    return GatewayRecord(model, reason, "the provider said so")


@pytest.mark.parametrize("model", OTHERS, ids=str)
@pytest.mark.parametrize("end", TABLE)
def test_what_an_end_counts_as(end: str, model: ModelOutcome) -> None:
    well, otherwise = TABLE[end]
    expected = well if model in OTHERS[:2] else otherwise[OTHERS.index(model) - 2]

    found = judge(attrs.evolve(ENDS[end], gateway=answered(model)))

    assert (found.outcome, found.reason) == (OUTCOMES[expected], expected)


@pytest.mark.parametrize("end", TABLE)
def test_without_a_gateway_an_end_counts_as_if_the_provider_had_answered_well(end: str) -> None:
    assert judge(ENDS[end]).reason == judge(attrs.evolve(ENDS[end], gateway=answered(ModelOutcome.OK))).reason


@pytest.mark.parametrize(
    ("record", "reason", "step"),
    [
        (GatewayRecord(ModelOutcome.AUTH, "InvalidCredential"), "InvalidCredential", "renew the Secret"),
        (GatewayRecord(ModelOutcome.AUTH, "CredentialMissing"), "CredentialMissing", "providers[].secretRef"),
        (
            GatewayRecord(ModelOutcome.CONFIG, "CredentialMissing"),
            "CredentialMissing",
            "secretRef.name and key",
        ),
        (
            GatewayRecord(ModelOutcome.UNAVAILABLE, "ProviderUnreachable"),
            "ModelUnavailable",
            "providers[].endpoint",
        ),
    ],
)
def test_what_the_gateway_says_decides_the_next_step(record: GatewayRecord, reason: str, step: str) -> None:
    end = judge(attrs.evolve(ENDS["exit 1"], gateway=record))

    assert end.reason == reason
    assert step in end.text


EVIDENCE = st.builds(
    Evidence,
    report=st.builds(
        WrapperReport,
        code=st.sampled_from([None, 0, 1, 121, 137, 143]),
        stopped=st.booleans(),
        setup=st.sampled_from(["", "copy", "4"]),
    ),
    cause=st.sampled_from(["", "deadline", "idle", "budget", "something else"]),
    result=st.sampled_from([AgentResult(), DONE, UNFINISHED, FAILED]),
    gateway=st.none()
    | st.builds(
        GatewayRecord, outcome=st.sampled_from(ModelOutcome), stopped=st.sampled_from(["", "budget"])
    ),
    full=st.sampled_from([(), ("the workspace",)]),
)


@given(EVIDENCE)
def test_success_needs_a_clean_exit_and_nobody_who_says_otherwise(evidence: Evidence) -> None:
    end = judge(evidence)

    well = evidence.model in (ModelOutcome.NONE, ModelOutcome.OK) and not evidence.report.setup
    says_otherwise = evidence.result.failed or evidence.result.finished is False
    assert end.succeeded == (evidence.report.clean and well and not says_otherwise)


@given(EVIDENCE)
def test_every_end_has_an_outcome_and_says_what_happened(evidence: Evidence) -> None:
    end = judge(evidence)

    assert end.reason
    assert end.text
    if not end.succeeded and end.outcome is not Outcome.INTERRUPTED:
        assert next_step(end)


def next_step(end: AgentEnd) -> bool:
    """Whether the text says what to do, or where to look."""
    words = ("raise", "renew", "retry", "see its", "check", "configured")
    return any(word in end.text for word in words)


def test_what_a_program_prints_cannot_leave_its_place_in_the_message() -> None:
    result = AgentResult(finished=False, failed=True, message="\x1b[2Jgone\r\n" + "x" * 10_000)

    text = judge(Evidence(WrapperReport(1), result=result)).text

    assert text.isprintable()
    assert len(text) < 400


def test_the_providers_words_go_with_an_end_that_they_explain() -> None:
    record = GatewayRecord(ModelOutcome.RATE_LIMITED, "RateLimited", "HTTP 429: slow down")
    stopped = Evidence(WrapperReport(143, stopped=True), "idle", gateway=record)

    assert "HTTP 429: slow down" in judge(stopped).text
    assert "HTTP 429: slow down" in judge(Evidence(WrapperReport(1), gateway=record)).text
