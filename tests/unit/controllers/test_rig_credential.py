"""When what polecats met counts against the credential of their rig, and when it does no longer."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import attrs
import pytest

from gastown_operator.api.common import Condition, ConditionStatus
from gastown_operator.api.polecat import Polecat
from gastown_operator.api.rig import Rig
from gastown_operator.controllers.rig.credential import in_trouble, trouble
from gastown_operator.runtime.objects import format_time
from tests.unit.controllers.objects import NOW, merged, polecat, rig

ENDPOINT = "https://models.example.invalid"
MODEL = {"name": "anthropic", "endpoint": ENDPOINT, "secretRef": {"name": "model", "key": "key"}}
CLAUDE = {"agent": "claude-code"}


def ended(minutes: float, name: str = "toast", reason: str = "", **spec: Any) -> Polecat:
    """A polecat of Claude Code whose attempt ended then: stuck for `reason`, or done without one."""
    at = format_time(NOW + timedelta(minutes=minutes))
    attempt = {"podUID": name, "number": 1, "class": "AuthError" if reason else "Succeeded", "finishedAt": at}
    tokens = {"inputTokens": 9, "outputTokens": 0 if reason else 3}
    ready = {
        "type": "Ready",
        "status": "False" if reason else "True",
        "reason": reason or "Done",
        "message": "",
        "lastTransitionTime": at,
    }
    status = {
        "phase": "Stuck" if reason else "Done",
        "finishedAt": at,
        "attempts": [{**attempt, "usage": tokens}],
        "conditions": [ready],
    }
    return polecat(name, status=status, **merged(CLAUDE, spec))


REFUSED = ended(0, "refused", "RigCredentialRejected")


def told(subject: Rig, status: ConditionStatus, minutes: float) -> Rig:
    """The rig, which said so then."""
    ready = Condition("Ready", status, "Any", "", NOW + timedelta(minutes=minutes))
    return attrs.evolve(subject, status=attrs.evolve(subject.status, conditions=(ready,)))


@pytest.mark.parametrize("reason", ["RigCredentialRejected", "RigCredentialMissing"])
def test_one_that_is_stuck_by_the_rigs_credential_tells_of_it(reason: str) -> None:
    subject = ended(0, "refused", reason)

    assert (trouble(subject), in_trouble(rig(providers=[MODEL]), [subject])) == (reason, [subject])


@pytest.mark.parametrize("reason", ["", "InvalidCredential", "CredentialMissing"])
def test_one_that_is_done_or_has_trouble_of_its_own_tells_nothing(reason: str) -> None:
    assert in_trouble(rig(providers=[MODEL]), [ended(0, reason=reason)]) == ()


def test_a_later_success_with_the_same_credential_ends_the_trouble() -> None:
    assert in_trouble(rig(providers=[MODEL]), [REFUSED, ended(1)]) == []


OTHERS: Mapping[str, Polecat] = {
    "that ended before": ended(-1),
    "with a credential of its own": ended(
        1, agentConfig={"modelProvider": {"apiKeySecretRef": {"name": "own", "key": "k"}}}
    ),
    "at another provider": ended(1, agentConfig={"provider": "openai"}),
    "that asked no model": ended(1, agent="custom"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_success_proves_nothing(other: str) -> None:
    openai = {**MODEL, "name": "openai", "endpoint": "https://other.example.invalid"}
    subject = rig(providers=[MODEL, openai], allowedSecrets=["own"])

    assert in_trouble(subject, [REFUSED, OTHERS[other]]) == [REFUSED]


def test_a_success_of_which_the_provider_was_asked_nothing_proves_nothing() -> None:
    silent = ended(1)
    (attempt,) = silent.status.attempts
    silent = attrs.evolve(
        silent, status=attrs.evolve(silent.status, attempts=(attrs.evolve(attempt, usage=None),))
    )

    assert in_trouble(rig(providers=[MODEL]), [REFUSED, silent]) == [REFUSED]


@pytest.mark.parametrize(
    ("status", "minutes", "over"),
    [(ConditionStatus.TRUE, 2, True), (ConditionStatus.TRUE, -2, False), (ConditionStatus.FALSE, 2, False)],
)
def test_the_trouble_does_not_come_back_when_the_one_that_succeeded_is_gone(
    status: ConditionStatus,
    minutes: float,
    over: bool,
) -> None:
    subject = told(rig(providers=[MODEL]), status, minutes)

    assert in_trouble(subject, [REFUSED]) == ([] if over else [REFUSED])


def test_another_refusal_after_a_success_counts_again() -> None:
    again = ended(3, "again", "RigCredentialRejected")
    subject = told(rig(providers=[MODEL]), ConditionStatus.TRUE, 2)

    assert in_trouble(subject, [REFUSED, ended(1), again]) == [again]
