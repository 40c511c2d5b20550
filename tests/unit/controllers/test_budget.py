"""What an attempt may cost, and what it is charged: never more is promised than there is."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown_operator.api import labels
from gastown_operator.api.codec import to_json
from gastown_operator.api.common import Budget, Usage
from gastown_operator.api.polecat import PolecatStatus
from gastown_operator.controllers.polecat.budget import (
    grant,
    reservation,
    reservation_notes,
    seconds_until_tomorrow,
    spent_today,
)
from gastown_operator.controllers.polecat.spending import Spending, added, charge
from gastown_operator.gateway.message import GatewayRecord, ModelOutcome
from tests.unit.controllers.objects import NOW, pod, polecat, rig

TODAY = NOW.date()


def attempt(tokens: int, day: str = "2026-11-24", uid: str = "pod-1") -> dict[str, object]:
    """An attempt that ended and cost so many tokens."""
    return {
        "podUID": uid,
        "number": 1,
        "class": "AgentError",
        "finishedAt": f"{day}T11:00:00Z",
        "usage": {"inputTokens": tokens, "outputTokens": 0, "costUSD": "0"},
    }


def test_a_polecat_without_a_budget_may_cost_what_it_does() -> None:
    assert grant(polecat(), rig(), Spending(), 1).budget == Budget()


def test_a_budget_is_for_all_attempts_together() -> None:
    used = {"usage": {"inputTokens": 700, "outputTokens": 100, "costUSD": "0.5"}}
    subject = polecat(budget={"maxTokens": 2000, "maxCostUSD": "2"}, status=used)

    assert grant(subject, rig(), Spending(), 1).budget == Budget(max_tokens=1200, max_cost_usd=Decimal("1.5"))


def test_a_budget_that_is_used_up_starts_nothing_and_says_what_to_raise() -> None:
    used = {"usage": {"inputTokens": 2000, "outputTokens": 100, "costUSD": "0.5"}}

    refused = grant(polecat(budget={"maxTokens": 2000}, status=used), rig(), Spending(), 1)

    assert refused.reason == "BudgetExceeded"
    assert "spec.budget" in refused.message


def test_the_rest_of_the_day_is_shared_by_the_slots_that_are_free() -> None:
    daily = rig(budget={"maxTokens": 100_000})

    assert grant(polecat(), daily, Spending(tokens=40_000), 3).budget == Budget(max_tokens=20_000)


def test_a_day_without_a_rest_is_waited_out() -> None:
    daily = rig(budget={"maxTokens": 100_000})

    refused = grant(polecat(), daily, Spending(tokens=99_999), 1)

    assert refused.reason == "RigBudgetUsedUp"
    assert "99999 of 100000 tokens" in refused.message
    assert "dollars" not in refused.message


def test_running_attempts_count_with_all_that_they_may_use() -> None:
    runs = pod(owner=polecat(), metadata={"annotations": {labels.RESERVED_TOKENS: "30000"}})

    assert spent_today(rig(), [(polecat(), [runs])], TODAY) == Spending(tokens=30_000)


def test_an_attempt_that_ended_counts_with_what_it_cost_and_not_with_its_pod_too() -> None:
    ended = pod(owner=polecat(), phase="Failed", metadata={"annotations": {labels.RESERVED_TOKENS: "30000"}})
    subject = polecat(status={"attempts": [attempt(5000, uid=ended.metadata.uid)]})

    assert spent_today(rig(), [(subject, [ended])], TODAY) == Spending(tokens=5000)


def test_yesterdays_attempts_do_not_count() -> None:
    subject = polecat(status={"attempts": [attempt(5000, "2026-11-23"), attempt(7, "2026-11-24")]})

    assert spent_today(rig(), [(subject, [])], TODAY) == Spending(tokens=7)


def test_an_attempt_whose_gateway_left_no_word_costs_all_that_it_was_allowed_to() -> None:
    allowed = Budget(max_tokens=30_000, max_cost_usd=Decimal("1.25"))

    assert charge(None, allowed) == Usage(input_tokens=30_000, cost_usd=Decimal("1.25"))
    assert charge(None, None) is None


def test_an_attempt_costs_what_its_gateway_measured() -> None:
    record = GatewayRecord(ModelOutcome.OK, input_tokens=1200, output_tokens=300, cost_usd="0.0123456789")

    assert charge(record, Budget(max_tokens=30_000)) == Usage(
        input_tokens=1200, output_tokens=300, cost_usd=Decimal("0.012346")
    )


def test_an_unknown_price_is_no_invented_cost() -> None:
    measured = charge(GatewayRecord(ModelOutcome.OK, input_tokens=1200, cost_usd=None), None)

    assert measured is not None
    assert "costUSD" not in to_json(measured)


def test_a_sum_of_what_has_a_price_and_what_has_none_says_that_it_is_a_lower_bound() -> None:
    priced = charge(GatewayRecord(ModelOutcome.OK, input_tokens=10, cost_usd="0.25"), None)
    unpriced = charge(GatewayRecord(ModelOutcome.OK, input_tokens=20, unpriced=True), None)
    mixed = charge(GatewayRecord(ModelOutcome.OK, input_tokens=30, cost_usd="0.5", unpriced=True), None)

    assert to_json(added(priced, priced)) == {"inputTokens": 20, "outputTokens": 0, "costUSD": "0.500000"}
    assert to_json(added(unpriced, unpriced)) == {"inputTokens": 40, "outputTokens": 0}
    for total in (added(priced, unpriced), added(added(unpriced, priced), unpriced)):
        assert total is not None
        assert (total.cost_usd, total.cost_is_lower_bound) == (Decimal("0.25"), True)
    assert added(mixed, priced) == Usage(input_tokens=40, cost_usd=Decimal("0.75"), cost_is_lower_bound=True)


def test_tokens_that_an_attempt_was_allowed_to_use_have_no_price() -> None:
    assert charge(None, Budget(max_tokens=30_000)) == Usage(input_tokens=30_000)


def test_the_day_of_a_rig_ends_at_midnight_utc() -> None:
    assert seconds_until_tomorrow(datetime(2026, 11, 24, 23, 59, 30, tzinfo=UTC)) == 30


@given(
    st.builds(
        Budget,
        max_tokens=st.none() | st.integers(1, 10**12),
        max_cost_usd=st.none() | st.decimals("0.000001", "9999999", places=6),
    )
)
def test_a_reservation_is_read_back_as_it_was_written(budget: Budget) -> None:
    noted = reservation_notes(budget)

    assert (reservation(pod(owner=polecat(), metadata={"annotations": noted})) or Budget()) == budget


@given(
    limit=st.integers(10_000, 10**7),
    spent=st.integers(0, 10**7),
    slots=st.integers(1, 100),
)
def test_those_that_start_together_are_never_promised_more_than_there_is(
    limit: int, spent: int, slots: int
) -> None:
    daily = rig(budget={"maxTokens": limit})
    promised = 0
    for left in range(slots, 0, -1):
        given_ = grant(polecat(), daily, Spending(tokens=spent + promised), left)
        promised += given_.budget.max_tokens or 0

    assert promised <= max(0, limit - spent)


@pytest.mark.parametrize(
    "cost", ["1e30", "-3", "NaN", "sNaN", "Infinity", "1e-40", "much", "99999999", "1e999999999"]
)
@pytest.mark.parametrize("tokens", [-5, 10**30])
def test_a_record_with_odd_numbers_is_charged_as_something_that_the_api_stores(
    cost: str, tokens: int
) -> None:
    record = GatewayRecord(ModelOutcome.OK, input_tokens=tokens, output_tokens=tokens, cost_usd=cost)

    usage = charge(record, None)
    twice = added(usage, usage)

    for each in (usage, twice):
        assert each is not None
        stored = to_json(PolecatStatus(usage=each))["usage"]
        assert 0 <= stored["inputTokens"] < 2**63
        assert re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,6})?", stored["costUSD"])


@pytest.mark.parametrize("noted", ["1e30", "1e999999999", "-1", "NaN", "100000000"])
def test_a_reservation_that_was_tampered_with_can_still_be_stored(noted: str) -> None:
    notes = {labels.RESERVED_TOKENS: noted, labels.RESERVED_COST: noted}

    held = reservation(pod(metadata={"annotations": notes}))

    stored = to_json(PolecatStatus(reserved=held))["reserved"]
    assert 0 <= stored["maxTokens"] < 2**63
    assert re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,6})?", stored["maxCostUSD"])


def test_enough_for_one_start_is_not_shared_until_it_is_enough_for_none() -> None:
    daily = rig(budget={"maxTokens": 5000, "maxCostUSD": "0.004"})

    granted = grant(polecat(), daily, Spending(), 8)

    assert granted.budget == Budget(max_tokens=1000, max_cost_usd=Decimal("0.001"))
    assert grant(polecat(), daily, Spending(tokens=4500), 8).reason == "RigBudgetUsedUp"


def test_a_pod_that_is_gone_reserves_what_it_did_until_its_end_is_recorded() -> None:
    told = {"podActive": True, "reserved": {"maxTokens": 700}}

    assert spent_today(rig(), [(polecat(status=told), [])], TODAY) == Spending(tokens=700)
