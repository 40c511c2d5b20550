"""Everything that may happen between the end of an attempt and the deletion of its polecat, and what a person can ask for."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import attrs
import pytest

from gastown_operator.api import labels
from gastown_operator.api.common import OutcomeClass
from gastown_operator.api.core import Pod
from gastown_operator.api.polecat import POLECAT, Polecat, PolecatPhase
from gastown_operator.api.rig_status import DaySpending
from gastown_operator.controllers.credential.problem import CredentialProblem
from gastown_operator.controllers.polecat.budget import Grant
from gastown_operator.controllers.polecat.spending import of_day
from gastown_operator.gateway.message import GatewayRecord, ModelOutcome
from gastown_operator.runtime.objects import format_time
from gastown_operator.runtime.plan import Create, Delete, MergePatch, Plan
from gastown_operator.workload.message import Outcome
from tests.unit.controllers.moments import after, decide, observed, ready
from tests.unit.controllers.objects import (
    NOW,
    pod,
    polecat,
    rig,
    running,
    succeeded,
    terminated,
    waiting,
    word,
)

#: How a pod ends whose agent failed in each of these ways, by what the keeper says.
FAILURES: Mapping[OutcomeClass, Outcome] = {
    OutcomeClass.AGENT_ERROR: Outcome.AGENT_ERROR,
    OutcomeClass.AUTH_ERROR: Outcome.AUTH_ERROR,
    OutcomeClass.BUDGET_EXCEEDED: Outcome.BUDGET_EXCEEDED,
    OutcomeClass.DEADLINE_EXCEEDED: Outcome.DEADLINE_EXCEEDED,
    OutcomeClass.RESOURCE_EXCEEDED: Outcome.RESOURCE_EXCEEDED,
    OutcomeClass.STALLED: Outcome.STALLED,
}


def failed(owner: Polecat, how: OutcomeClass, **changes: Any) -> Pod:
    """A pod whose agent failed."""
    message = word(FAILURES[how], pushed=False, **changes)
    return pod(
        owner=owner,
        phase="Failed",
        clone=terminated(),
        keeper=terminated(message=message),
        agent=terminated(1),
    )


def stuck(subject: Polecat, how: OutcomeClass = OutcomeClass.AGENT_ERROR) -> Polecat:
    """The polecat after an attempt failed."""
    return after(subject, decide(observed(subject, failed(subject, how))))


def changed(subject: Polecat, metadata: Mapping[str, Any] | None = None, **spec: Any) -> Polecat:
    """The polecat after its user changed it, with the status that it had."""
    generation = subject.metadata.generation + (1 if spec else 0)
    fresh = polecat(generation=generation, metadata=metadata, **spec)
    return attrs.evolve(fresh, status=subject.status)


@pytest.mark.parametrize("how", FAILURES)
def test_a_failure_is_stuck_unless_a_retry_is_asked_for(how: OutcomeClass) -> None:
    told = stuck(polecat(), how)

    assert told.status.phase is PolecatPhase.STUCK
    assert [attempt.outcome for attempt in told.status.attempts] == [how]


@pytest.mark.parametrize("how", [how for how in FAILURES if how is not OutcomeClass.AUTH_ERROR])
def test_a_class_that_shall_be_retried_starts_another_round_from_what_is_saved(how: OutcomeClass) -> None:
    subject = polecat(retry={"classes": [how.value]})
    told = stuck(subject, how)

    assert (told.status.phase, told.status.round, told.status.attempt) == (PolecatPhase.IDLE, 2, 2)
    assert (told.status.retries, told.status.finished_at) == (1, None)
    assert decide(observed(told), seconds=5).actions == ()
    assert [type(action) for action in decide(observed(told), seconds=31).actions] == [Create]


def test_the_rig_may_ask_for_retries_of_all_its_polecats() -> None:
    subject = polecat()
    lenient = rig(defaults={"retry": {"classes": ["AgentError"], "maxAttempts": 2}})

    first = after(subject, decide(observed(subject, failed(subject, OutcomeClass.AGENT_ERROR), lenient)))
    second = after(first, decide(observed(first, failed(first, OutcomeClass.AGENT_ERROR), lenient)))

    assert [told.status.phase for told in (first, second)] == [PolecatPhase.IDLE, PolecatPhase.STUCK]


def test_retries_end_after_as_many_attempts_as_are_allowed() -> None:
    told = polecat(retry={"classes": ["AgentError"]})
    phases = []
    for _ in range(3):
        told = stuck(told)
        phases.append(told.status.phase)

    assert phases == [PolecatPhase.IDLE, PolecatPhase.IDLE, PolecatPhase.STUCK]


def test_attempts_that_the_infrastructure_ended_use_up_no_retry() -> None:
    subject = polecat(retry={"classes": ["AgentError"], "maxAttempts": 2})
    evicted = pod(owner=subject, phase="Failed", reason="Evicted", agent=terminated(137))

    moved = after(subject, decide(observed(subject, evicted)))
    told = stuck(moved)

    assert (told.status.phase, told.status.retries) == (PolecatPhase.IDLE, 1)


def test_each_retry_waits_longer_than_the_one_before() -> None:
    told = polecat(retry={"classes": ["AgentError"], "maxAttempts": 4})
    waits = []
    for _ in range(3):
        told = stuck(told)
        waits.append(decide(observed(told)).requeue_after or 0.0)

    # The last container ended a second before.
    assert waits == [29.0, 59.0, 119.0]


@pytest.mark.parametrize("phase", ["Done", "Stuck"])
def test_the_annotation_asks_for_another_round_once(phase: str) -> None:
    subject = polecat()
    ended = (
        stuck(subject)
        if phase == "Stuck"
        else after(subject, decide(observed(subject, succeeded(subject, word()))))
    )
    asked = changed(ended, metadata={"annotations": {labels.RETRY: "again"}})

    told = after(asked, decide(observed(asked)))

    assert (told.status.phase, told.status.round, ready(told).reason) == (PolecatPhase.IDLE, 2, "Retrying")
    again = stuck(told)
    assert again.status.phase is PolecatPhase.STUCK
    assert decide(observed(again)).status is None


def test_an_annotation_that_was_there_when_the_pod_was_built_asks_for_nothing_more() -> None:
    asked = polecat(metadata={"annotations": {labels.RETRY: "once"}})
    built = pod(owner=asked, agent=running(), metadata={"annotations": {labels.RETRY: "once"}})
    working = after(asked, decide(observed(asked, built)))

    ended = after(working, decide(observed(working, failed(working, OutcomeClass.AGENT_ERROR))))

    assert decide(observed(ended)).status is None
    assert ended.status.phase is PolecatPhase.STUCK


def test_a_person_who_asks_again_gets_all_retries_again() -> None:
    told = polecat(retry={"classes": ["AgentError"], "maxAttempts": 2})
    told = stuck(stuck(told))
    assert told.status.phase is PolecatPhase.STUCK
    asked = changed(
        told,
        metadata={"annotations": {labels.RETRY: "1"}},
        retry={"classes": ["AgentError"], "maxAttempts": 2},
    )

    anew = after(asked, decide(observed(asked)))

    assert stuck(anew).status.phase is PolecatPhase.IDLE


def test_idle_stops_a_pod_and_working_goes_on_from_what_is_saved() -> None:
    subject = polecat()
    works = pod(owner=subject, agent=running())
    working = after(subject, decide(observed(subject, works)))
    paused = changed(working, desiredState="Idle")

    stopping = decide(observed(paused, works))
    assert [type(action) for action in stopping.actions] == [Delete]

    interrupted = pod(
        owner=paused,
        phase="Failed",
        clone=terminated(),
        keeper=terminated(message=word(Outcome.INTERRUPTED, pushed=False)),
        agent=terminated(143),
        metadata={"deletionTimestamp": format_time(NOW)},
    )
    idle = after(paused, decide(observed(paused, interrupted)))
    assert (idle.status.phase, ready(idle).reason, idle.status.finished_at) == (
        PolecatPhase.IDLE,
        "Idle",
        None,
    )

    assert ready(idle).message == "paused by spec.desiredState: Idle; set it to Working to go on"
    assert [attempt.reason for attempt in idle.status.attempts] == ["Paused"]

    assert decide(observed(idle)).status is None
    wanted = changed(idle)
    assert [type(action) for action in decide(observed(wanted)).actions] == [Create]
    assert wanted.status.attempt == 2


def test_a_pod_that_succeeds_while_it_is_paused_is_done() -> None:
    paused = changed(polecat(), desiredState="Idle")

    told = after(paused, decide(observed(paused, succeeded(paused, word()))))

    assert told.status.phase is PolecatPhase.DONE


def test_what_was_terminated_works_again_when_it_is_wanted_again() -> None:
    ended = polecat(desiredState="Terminated")
    told = after(ended, decide(observed(ended)))
    assert told.status.phase is PolecatPhase.TERMINATED

    wanted = attrs.evolve(polecat(generation=2), status=told.status)
    anew = after(wanted, decide(observed(wanted)))

    assert (anew.status.phase, anew.status.finished_at) == (PolecatPhase.IDLE, None)


def test_a_polecat_is_deleted_when_its_time_to_live_is_over() -> None:
    subject = polecat(ttlSecondsAfterFinished=60)
    done = after(subject, decide(observed(subject, succeeded(subject, word()))))

    waits = decide(observed(done), seconds=20)
    assert (waits.actions, waits.requeue_after) == ((), 40.0)
    over = decide(observed(done), seconds=60)
    assert [action.key.name for action in over.actions if isinstance(action, Delete)] == ["toast"]


def test_the_rig_may_set_the_time_to_live_and_a_dependent_that_has_not_started_holds_it_up() -> None:
    subject = polecat()
    tidy = rig(defaults={"ttlSecondsAfterFinished": 0})
    done = after(subject, decide(observed(subject, succeeded(subject, word()), tidy)))

    assert decide(observed(done, None, tidy, needed=True), seconds=999).actions == ()
    assert [type(action) for action in decide(observed(done, None, tidy)).actions] == [Delete]


def test_what_is_to_be_merged_lives_on_until_it_is() -> None:
    subject = polecat(ttlSecondsAfterFinished=0)
    done = after(subject, decide(observed(subject, succeeded(subject, word()))))
    waits = _with_merged(done, "False")

    assert decide(observed(waits), seconds=999).actions == ()
    assert [type(action) for action in decide(observed(_with_merged(done, "True"))).actions] == [Delete]


def _with_merged(subject: Polecat, status: str) -> Polecat:
    entry = {
        "type": "Merged",
        "status": status,
        "reason": "Queued",
        "message": "",
        "lastTransitionTime": format_time(NOW),
    }
    body = {"metadata": {"name": "x", "namespace": "x", "uid": "x"}, "status": {"conditions": [entry]}}
    merged = POLECAT.project(body).status.conditions
    return attrs.evolve(
        subject, status=attrs.evolve(subject.status, conditions=(*subject.status.conditions, *merged))
    )


def test_finalizers_of_the_older_operator_are_removed_and_no_others() -> None:
    older = polecat(metadata={"finalizers": ["gastown.io/polecat-cleanup", "others.example/wait"]})

    (action,) = decide(observed(older)).actions

    assert isinstance(action, MergePatch)
    assert action.body["metadata"]["finalizers"] == ["others.example/wait"]


def test_an_expired_credential_of_the_rig_holds_those_that_would_use_it() -> None:
    problem = CredentialProblem("claude-credentials", "CredentialExpired", "log in again", holds=True)
    held = {problem.secret: problem}
    lent = polecat(agent="claude-code", agentConfig={"command": []})
    own = polecat(agentConfig={"command": ["true"]})

    told = after(lent, decide(observed(lent, credentials=held)))

    assert (told.status.phase, ready(told).reason) == (PolecatPhase.IDLE, "CredentialExpired")
    assert [type(action) for action in decide(observed(own, credentials=held)).actions] == [Create]


def test_no_pod_starts_before_the_policy_that_fences_it_in() -> None:
    subject = polecat()

    told = after(subject, decide(observed(subject, fenced=False)))

    assert (told.status.phase, ready(told).reason) == (PolecatPhase.IDLE, "NetworkPolicyPending")


def test_the_policy_of_a_new_rig_is_waited_for_a_moment_without_a_word() -> None:
    fresh = polecat(age=1)

    awaited = decide(observed(fresh, fenced=False))

    assert awaited == Plan(requeue_after=4.0)
    assert decide(observed(fresh, fenced=False), seconds=4).status is not None


def test_dependencies_in_a_circle_are_refused_with_the_way_around() -> None:
    subject = polecat(dependsOn=["other"])

    told = after(subject, decide(observed(subject, cycle=("toast", "other", "toast"))))

    assert (told.status.phase, ready(told).reason) == (PolecatPhase.STUCK, "DependencyCycle")
    assert "toast → other → toast" in ready(told).message


def test_a_rig_without_money_left_is_waited_for_until_the_next_day() -> None:
    subject = polecat()
    nothing = Grant(reason="RigBudgetUsedUp", message="all is spent")

    decided = decide(observed(subject, grant=nothing))

    assert ready(after(subject, decided)).reason == "RigBudgetUsedUp"
    assert decided.requeue_after == 12 * 3600


def test_an_agent_that_does_nothing_is_told_of_while_it_runs() -> None:
    subject = polecat()
    noted = {"annotations": {labels.STALL_THRESHOLD: "20"}}
    idle = pod(owner=subject, keeper=running(), agent=running(), metadata=noted)

    decided = decide(observed(subject, idle))

    told = after(subject, decided)
    assert (told.status.phase, ready(told).reason) == (PolecatPhase.WORKING, "Inactive")
    assert [note.type for note in decided.events] == ["Warning"]


def test_a_keeper_that_has_just_started_is_not_taken_for_an_agent_that_does_nothing() -> None:
    subject = polecat()
    noted = {"annotations": {labels.STALL_THRESHOLD: "900"}}
    fresh = pod(owner=subject, keeper=running(), agent=running(), metadata=noted)

    assert ready(after(subject, decide(observed(subject, fresh)))).reason == "Working"


def test_the_gateways_account_is_added_up_over_the_attempts() -> None:
    record = (
        GatewayRecord(ModelOutcome.OK, input_tokens=1000, output_tokens=50, cost_usd="0.25").encode().decode()
    )
    told = polecat(retry={"classes": ["AgentError"]})
    for _ in range(2):
        ended = pod(
            owner=told,
            phase="Failed",
            clone=terminated(),
            keeper=terminated(message=word(Outcome.AGENT_ERROR, pushed=False)),
            gateway=terminated(message=record),
            agent=terminated(1),
        )
        told = after(told, decide(observed(told, ended)))

    usage = told.status.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, str(usage.cost_usd)) == (2000, 100, "0.500000")


@pytest.mark.parametrize(
    ("said", "reason"),
    [("InvalidCredential", "RigCredentialRejected"), ("CredentialMissing", "RigCredentialMissing")],
)
def test_a_refused_credential_of_the_rig_has_a_reason_of_its_own_and_so_has_one_that_was_not_sent(
    said: str, reason: str
) -> None:
    subject = polecat()
    rejected = failed(subject, OutcomeClass.AUTH_ERROR, reason=said)
    noted = attrs.evolve(
        rejected,
        metadata=attrs.evolve(
            rejected.metadata, annotations={**rejected.metadata.annotations, labels.CREDENTIAL: "rig"}
        ),
    )

    told = after(subject, decide(observed(subject, noted)))

    assert ready(told).reason == reason


@pytest.mark.parametrize(
    ("command", "hint"),
    [(["echo hello > a"], True), (["echo", "hello there"], False), (["/bin/no-such"], False)],
)
def test_a_command_that_is_a_shell_line_is_told_to_be_none(command: list[str], hint: bool) -> None:
    subject = polecat(agentConfig={"command": command})
    absent = pod(
        owner=subject,
        phase="Failed",
        clone=terminated(),
        keeper=terminated(message=word(Outcome.AGENT_ERROR, pushed=False)),
        agent=terminated(127),
    )

    told = ready(after(subject, decide(observed(subject, absent))))

    assert told.reason == "AgentCommandNotFound"
    assert ('["sh", "-c", "…"]' in told.message) is hint


def test_only_where_an_agent_ran_it_goes_on_from_where_it_ended() -> None:
    subject = polecat()
    absent = word(Outcome.CONFIG_ERROR, reason="BaseBranchMissing")
    unstarted = after(
        subject, decide(observed(subject, pod(owner=subject, phase="Failed", clone=terminated(1, absent))))
    )

    assert "To try again: change the Polecat" in ready(unstarted).message
    assert "To try again, from where it ended: change the Polecat" in ready(stuck(subject)).message


def test_where_the_keeper_left_no_word_the_gateways_record_says_why() -> None:
    subject = polecat()
    record = GatewayRecord(ModelOutcome.RATE_LIMITED, message="too many requests").encode().decode()
    silent = pod(
        owner=subject,
        phase="Failed",
        clone=terminated(),
        keeper=terminated(137),
        gateway=terminated(message=record),
        agent=terminated(1),
    )

    told = after(subject, decide(observed(subject, silent)))

    assert ready(told).reason == "RateLimited"


def test_a_setup_command_that_fails_is_for_a_person_to_mend() -> None:
    subject = polecat()
    unready = pod(
        owner=subject,
        phase="Failed",
        clone=terminated(),
        keeper=terminated(message=word(Outcome.CONFIG_ERROR, reason="SetupFailed", pushed=False)),
        agent=terminated(121),
    )

    told = after(subject, decide(observed(subject, unready)))

    assert ready(told).reason == "SetupFailed"
    assert [attempt.outcome for attempt in told.status.attempts] == [OutcomeClass.CONFIG_ERROR]


def test_a_polecat_of_a_rig_with_a_budget_is_accounted_for_before_it_goes() -> None:
    daily = rig(budget={"maxTokens": 100_000})
    spending = {"finalizers": [labels.SPENDING_FINALIZER]}
    first = decide(observed(polecat(agent="claude-code", agentConfig={"command": []}), None, daily))
    assert [
        action.body["metadata"]["finalizers"] for action in first.actions if isinstance(action, MergePatch)
    ] == [[labels.SPENDING_FINALIZER]]

    leaving = polecat(metadata={**spending, "deletionTimestamp": format_time(NOW)})
    works = pod(owner=leaving, agent=running())
    assert [type(action) for action in decide(observed(leaving, works, daily)).actions] == [Delete]

    recorded = after(leaving, decide(observed(leaving, failed(leaving, OutcomeClass.AGENT_ERROR), daily)))
    assert recorded.status.finished_at is not None
    assert decide(observed(recorded, None, daily)) == Plan()

    counted = attrs.evolve(daily, status=attrs.evolve(daily.status, spent=_counted(recorded)))
    (action,) = decide(observed(recorded, None, counted)).actions
    assert isinstance(action, MergePatch)
    assert action.body["metadata"]["finalizers"] == []


def _counted(subject: Polecat) -> DaySpending:
    return DaySpending(day="2026-11-24", counted=(subject.metadata.uid,))


RESERVED: Mapping[str, Any] = {"annotations": {labels.RESERVED_TOKENS: "2000"}}


def test_an_attempt_whose_agent_never_ran_costs_nothing() -> None:
    subject = polecat(budget={"maxTokens": 2000})
    refused = word(Outcome.CONFIG_ERROR, reason="AuthenticationFailed", pushed=False)
    unfetched = pod(
        owner=subject, phase="Failed", clone=terminated(1, message=refused), metadata=dict(RESERVED)
    )
    unpulled = pod(
        owner=subject,
        phase="Pending",
        clone=terminated(),
        agent=waiting("ImagePullBackOff"),
        metadata=dict(RESERVED),
    )
    unscheduled = pod(
        owner=subject,
        phase="Pending",
        metadata=dict(RESERVED),
        conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}],
    )

    for start in (unpulled, unscheduled):
        gone = after(subject, decide(observed(subject, start)))
        assert after(gone, decide(observed(gone, None))).status.usage is None
    assert after(subject, decide(observed(subject, unfetched))).status.usage is None


def test_an_attempt_whose_pod_is_gone_without_a_word_costs_all_that_it_was_allowed_to() -> None:
    subject = polecat(budget={"maxTokens": 2000})
    works = pod(owner=subject, clone=terminated(), agent=running(), metadata=dict(RESERVED))

    told = after(subject, decide(observed(subject, works)))
    lost = after(told, decide(observed(told, None)))

    assert lost.status.usage is not None
    assert lost.status.usage.input_tokens == 2000


def test_the_rigs_day_counts_more_attempts_than_the_status_lists() -> None:
    told = polecat(retry={"classes": ["AgentError"], "maxAttempts": 20}, budget={"maxTokens": 10**6})
    spent = GatewayRecord(ModelOutcome.OK, input_tokens=1000).encode().decode()
    for number in range(1, 31):
        ended = pod(
            owner=told,
            phase="Failed",
            clone=terminated(),
            keeper=terminated(message=word(Outcome.AGENT_ERROR, pushed=False)),
            gateway=terminated(message=spent),
            agent=terminated(1),
        )
        again = attrs.evolve(told, status=attrs.evolve(told.status, finished_at=None, attempt=number))
        told = after(again, decide(observed(again, ended)))

    assert [attempt.number for attempt in told.status.attempts] == list(range(11, 31))
    assert of_day(told, NOW.date()).tokens == 30_000
    assert of_day(told, NOW.date() + timedelta(days=1)).tokens == 0


@pytest.mark.parametrize(
    "odd",
    [
        {"reason": "not a word"},
        {"reason": ""},
        {"reason": "X" * 300},
        {"message": "\x1b[31mred\n" + "x" * 300},
        {"base": "main"},
        {"head": "-" * 40},
        {"commits": -1},
        {"commits": 10**20},
        {"branch": "a\x1b]0;b"},
    ],
)
def test_whatever_a_container_says_the_status_is_one_that_the_api_stores(odd: dict[str, Any]) -> None:
    subject = polecat()
    told = after(subject, decide(observed(subject, failed(subject, OutcomeClass.STALLED, **odd))))

    for condition in told.status.conditions:
        assert re.fullmatch("[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", condition.reason)
        assert condition.message.isprintable()
    assert told.status.branch.isprintable()
    assert 0 <= (told.status.commits or 0) < 2**63
    for commit in (told.status.base_commit, told.status.head_commit):
        assert commit is None or re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", commit)


@pytest.mark.parametrize("wanted", ["Idle", "Terminated"])
def test_what_is_stopped_before_its_start_was_told_is_charged_all_the_same(wanted: str) -> None:
    subject = polecat(desiredState=wanted, budget={"maxTokens": 2000})
    works = pod(owner=subject, clone=terminated(), agent=running(), metadata=dict(RESERVED))

    told = after(subject, decide(observed(subject, works)))
    lost = after(told, decide(observed(told, None)))

    assert lost.status.usage is not None
    assert lost.status.usage.input_tokens == 2000


def test_a_share_of_the_rigs_day_that_is_used_up_is_not_called_the_polecats_budget() -> None:
    daily = rig(budget={"maxTokens": 80_000})
    subject = polecat(budget={"maxTokens": 50_000})
    ended = failed(subject, OutcomeClass.BUDGET_EXCEEDED)
    noted = {**ended.metadata.annotations, labels.RESERVED_TOKENS: "10000"}
    shared = attrs.evolve(ended, metadata=attrs.evolve(ended.metadata, annotations=noted))

    told = after(subject, decide(observed(subject, shared, daily)))

    assert 'of the day of Rig "project" (10000 tokens' in ready(told).message
    assert "maxPolecats" in ready(told).message


def test_what_the_rigs_policy_blocks_is_told_instead_of_tried() -> None:
    subject = polecat()

    told = after(subject, decide(observed(subject, blocked="spec.gitURL is 10.0.0.1; add it")))

    assert (told.status.phase, ready(told).reason) == (PolecatPhase.IDLE, "NetworkBlocked")


def test_the_place_of_kept_work_and_of_the_log_are_named() -> None:
    subject = polecat()
    ended = failed(
        subject,
        OutcomeClass.STALLED,
        message="it did nothing; see kubectl logs POD -c agent",
        checkpoint="c" * 40,
    )
    noted = {**ended.metadata.annotations, labels.CHECKPOINT: "refs/gastown/wip/workers/u/1"}
    named = attrs.evolve(ended, metadata=attrs.evolve(ended.metadata, annotations=noted))

    said = ready(after(subject, decide(observed(subject, named)))).message

    assert "kubectl -n gastown-workers logs polecat-toast -c agent" in said
    assert "kept under refs/gastown/wip/workers/u/1 on the git server" in said
