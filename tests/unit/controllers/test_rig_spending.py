"""What deleted polecats had cost is counted once, and remembered for the day."""

from datetime import date
from decimal import Decimal

import attrs

from gastown_operator.api import labels
from gastown_operator.api.codec import to_json
from gastown_operator.api.polecat import Polecat
from gastown_operator.api.rig import Rig
from gastown_operator.api.rig_status import MAX_COUNTED, DaySpending
from gastown_operator.controllers.polecat.budget import seconds_until_tomorrow
from gastown_operator.controllers.rig.plan import only_counts_differ, plan
from gastown_operator.controllers.rig.spending import day_budget, is_account, spent
from tests.unit.controllers.objects import NOW, polecat, rig
from tests.unit.controllers.test_rig import after, observed

TODAY = date(2026, 11, 24)
TOMORROW = date(2026, 11, 25)


def leaving(name: str, tokens: int = 1000) -> Polecat:
    """A polecat that is being deleted, and has cost so much today."""
    usage = {"inputTokens": tokens, "outputTokens": 0, "costUSD": "0.5"}
    attempt = {
        "podUID": "p",
        "number": 1,
        "class": "AgentError",
        "finishedAt": "2026-11-24T11:00:00Z",
        "usage": usage,
    }
    return polecat(
        name,
        metadata={"deletionTimestamp": "2026-11-24T11:59:00Z", "finalizers": [labels.SPENDING_FINALIZER]},
        status={"phase": "Stuck", "finishedAt": "2026-11-24T11:00:00Z", "attempts": [attempt]},
    )


def having(stored: DaySpending | None) -> Rig:
    """A rig whose status says so."""
    return attrs.evolve(rig(), status=attrs.evolve(rig().status, spent=stored))


def test_each_is_counted_once_however_often_the_rig_is_looked_at() -> None:
    first = spent(having(None), [leaving("a")], TODAY)
    again = spent(having(first), [leaving("a")], TODAY)

    assert (
        first
        == again
        == DaySpending(day="2026-11-24", tokens=1000, cost_usd=Decimal("0.5"), counted=("a-uid",))
    )


def test_one_that_is_gone_stays_counted_and_its_uid_is_forgotten() -> None:
    first = spent(having(None), [leaving("a")], TODAY)

    later = spent(having(first), [], TODAY)

    assert later == DaySpending(day="2026-11-24", tokens=1000, cost_usd=Decimal("0.5"))
    assert spent(having(later), [], TODAY) == later


def test_the_next_day_begins_with_nothing_spent() -> None:
    first = spent(having(None), [leaving("a")], TODAY)

    tomorrow = spent(having(first), [leaving("a"), leaving("b")], TOMORROW)

    assert tomorrow is not None
    assert (tomorrow.tokens, tomorrow.counted) == (0, ("a-uid", "b-uid"))


def test_a_rig_that_nobody_leaves_writes_nothing() -> None:
    assert spent(having(None), [], TODAY) is None


def test_only_one_that_has_ended_and_is_being_deleted_is_an_account() -> None:
    subject = leaving("a")
    works = attrs.evolve(subject, status=attrs.evolve(subject.status, pod_active=True))
    stays = attrs.evolve(subject, metadata=attrs.evolve(subject.metadata, deletion_timestamp=None))

    assert [is_account(one) for one in (subject, works, stays)] == [True, False, False]


def running(name: str, **reserved: object) -> Polecat:
    """A polecat whose attempt may use so much."""
    return polecat(name, status={"phase": "Working", "podActive": True, "reserved": reserved})


def test_the_day_of_a_budget_tells_what_is_spent_reserved_and_left_and_when_it_ends() -> None:
    daily = rig(budget={"maxTokens": 10_000, "maxCostUSD": "5"})
    gone = spent(having(None), [leaving("gone")], TODAY)
    works = running("b", maxTokens=3000, maxCostUSD="1.25")

    told = day_budget(daily, gone, [leaving("gone"), leaving("a"), works], NOW)

    assert to_json(told) == {
        "day": "2026-11-24",
        "spentTokens": 2000,
        "spentCostUSD": "1",
        "reservedTokens": 3000,
        "reservedCostUSD": "1.25",
        "leftTokens": 5000,
        "leftCostUSD": "2.75",
        "resetsAt": "2026-11-25T00:00:00Z",
    }


def test_a_day_without_a_known_price_shows_no_dollars() -> None:
    usage = {"inputTokens": 700, "outputTokens": 0}
    attempt = {"podUID": "p", "class": "Succeeded", "finishedAt": "2026-11-24T11:00:00Z", "usage": usage}
    subject = polecat(status={"phase": "Done", "attempts": [attempt]})

    told = to_json(day_budget(rig(budget={"maxTokens": 1000}), None, [subject], NOW))
    counted = to_json(spent(having(None), [subject], TODAY))

    assert (told["spentTokens"], counted["tokens"]) == (700, 700)
    assert [name for name in {**told, **counted} if "USD" in name] == []


def test_only_a_rig_with_a_budget_tells_of_its_day_and_looks_again_when_that_ends() -> None:
    daily = rig(budget={"maxTokens": 10_000})
    first = plan(observed(daily, spenders=(running("a", maxTokens=10),)), NOW)
    later = plan(observed(after(daily, first), spenders=(running("a", maxTokens=20),)), NOW)

    assert first.requeue_after == seconds_until_tomorrow(NOW)
    assert only_counts_differ(after(daily, first), later)
    assert plan(observed(after(daily, later), spenders=(running("a", maxTokens=20),)), NOW).status is None
    assert "dayBudget" not in (plan(observed(), NOW).status or {})
    assert plan(observed(), NOW).requeue_after is None


def test_of_many_that_leave_at_once_as_many_are_counted_as_can_be_listed_and_then_the_others() -> None:
    many = [leaving(f"p{number:03}", tokens=1) for number in range(MAX_COUNTED + 10)]
    first = spent(having(None), many, TODAY)
    assert first is not None
    left = [each for each in many if each.metadata.uid not in first.counted]
    again = spent(having(first), many, TODAY)
    second = spent(having(first), left, TODAY)
    assert second is not None

    assert (first.tokens, len(first.counted)) == (MAX_COUNTED, MAX_COUNTED)
    assert again == first
    assert (second.tokens, len(second.counted)) == (len(many), 10)
