"""What deleted polecats had cost is counted once, and remembered for the day."""

from datetime import date
from decimal import Decimal

import attrs

from gastown_operator.api import labels
from gastown_operator.api.polecat import Polecat
from gastown_operator.api.rig import DaySpending, Rig
from gastown_operator.controllers.rig.spending import is_account, spent
from tests.unit.controllers.objects import polecat, rig

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
