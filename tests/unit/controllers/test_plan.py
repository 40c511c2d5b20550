"""What is decided about a polecat, situation by situation."""

from datetime import timedelta

import attrs
import pytest

from gastown_operator.api.common import ConditionStatus, OutcomeClass
from gastown_operator.api.conditions import get_condition
from gastown_operator.api.core import POD, Pod
from gastown_operator.api.polecat import Polecat, PolecatPhase
from gastown_operator.controllers.polecat.admission import Verdict
from gastown_operator.controllers.polecat.conclude import MAXIMUM_INFRASTRUCTURE_ATTEMPTS
from gastown_operator.controllers.polecat.line import AGING_SECONDS, Wait
from gastown_operator.runtime.errors import Forbidden
from gastown_operator.runtime.execution import NotOurs, Refusal
from gastown_operator.runtime.objects import format_time
from gastown_operator.runtime.plan import Create, Delete, Plan
from gastown_operator.workload.message import Outcome
from tests.unit.controllers.moments import after, decide, observed, ready
from tests.unit.controllers.objects import (
    BASE,
    HEAD,
    NOW,
    SETTINGS,
    merged,
    pod,
    polecat,
    running,
    succeeded,
    terminated,
    waiting,
    word,
)


def conclude(subject: Polecat, the_pod: Pod) -> tuple[Polecat, Plan]:
    """The polecat after its pod ended, and the plan that said so."""
    decided = decide(observed(subject, the_pod))
    return after(subject, decided), decided


def test_a_polecat_whose_turn_it_is_gets_a_pod_and_nothing_is_written_before_it_is_seen() -> None:
    decided = decide(observed(polecat()))

    assert [type(action) for action in decided.actions] == [Create]
    assert decided.status is None
    assert decided.events == ()


def test_an_idle_polecat_is_ready_and_starts_nothing() -> None:
    subject = polecat(desiredState="Idle")
    decided = decide(observed(subject))

    assert decided.actions == ()
    told = after(subject, decided)
    assert (told.status.phase, ready(told).status) == (PolecatPhase.IDLE, ConditionStatus.TRUE)


def test_a_polecat_that_is_being_deleted_is_left_to_garbage_collection() -> None:
    leaving = polecat(metadata={"deletionTimestamp": "2026-11-24T12:00:00Z"})

    assert decide(observed(leaving)) == Plan()


def test_a_polecat_without_a_rig_says_so_and_waits() -> None:
    subject = polecat()
    decided = decide(attrs.evolve(observed(subject), rig=None))

    told = after(subject, decided)
    assert (told.status.phase, ready(told).reason) == (PolecatPhase.IDLE, "RigNotFound")
    assert [note.reason for note in decided.events] == ["RigNotFound"]


def test_a_refused_polecat_is_stuck_with_a_reason_and_one_event() -> None:
    subject = polecat(executionMode="local")
    decided = decide(observed(subject))

    told = after(subject, decided)
    assert (told.status.phase, ready(told).reason) == (PolecatPhase.STUCK, "LocalModeUnavailable")
    assert "executionMode" in ready(told).message
    assert len(decided.events) == 1
    again = decide(observed(told))
    assert again == Plan()


def test_a_refused_polecat_starts_once_the_reason_is_gone() -> None:
    refused = polecat(executionMode="local")
    told = after(refused, decide(observed(refused)))

    mended = attrs.evolve(told, spec=polecat().spec)

    assert [type(action) for action in decide(observed(mended)).actions] == [Create]


@pytest.mark.parametrize("agent", ["claude-code", "opencode", "aider"])
def test_an_agent_that_is_paid_for_starts_by_itself_once_it_has_a_task(agent: str) -> None:
    config = {"command": [], "model": "claude-sonnet-4-5"}
    idle = polecat(agent=agent, agentConfig=config, taskDescription=" \n")
    told = after(idle, decide(observed(idle)))

    assert (told.status.phase, ready(told).reason) == (PolecatPhase.STUCK, "NothingToDo")
    assert "spec.taskDescription" in ready(told).message
    for task, bead in (("Fix it", ""), ("", "gt-1")):
        given = polecat(agent=agent, agentConfig=config, generation=2, taskDescription=task, beadID=bead)
        started = decide(observed(attrs.evolve(told, metadata=given.metadata, spec=given.spec)))
        assert [type(action) for action in started.actions] == [Create]


def test_a_command_of_its_own_may_run_without_a_task() -> None:
    assert [type(action) for action in decide(observed(polecat(taskDescription=""))).actions] == [Create]


def test_what_went_wrong_is_said_in_full_once_where_people_look() -> None:
    subject = polecat()
    failed = pod(
        owner=subject,
        phase="Failed",
        keeper=terminated(message=word(Outcome.AGENT_ERROR, pushed=False)),
        agent=terminated(3),
    )
    told, _ = conclude(subject, failed)

    said = {condition.type: condition for condition in told.status.conditions}
    full = [type_ for type_, condition in said.items() if "exit status 3" in condition.message]
    assert full == ["Ready"]
    assert (said["Degraded"].status, said["Degraded"].reason) == (ConditionStatus.TRUE, "AgentExitCode")
    assert "Ready" in said["Degraded"].message
    assert (said["Pushed"].status, said["Pushed"].reason) == (ConditionStatus.FALSE, "AgentExitCode")


def test_a_wait_is_said_in_full_once_where_people_look() -> None:
    subject = polecat()
    told = after(subject, decide(observed(subject, verdict=Verdict(Wait.RIG_AT_CAPACITY, "no free slot"))))

    full = [each.type for each in told.status.conditions if "no free slot" in each.message]
    assert full == ["Ready"]


@pytest.mark.parametrize("wait", [Wait.BEAD_IN_USE, Wait.RIG_AT_CAPACITY])
def test_a_polecat_that_must_wait_is_queued_with_the_reason_and_told_once(wait: Wait) -> None:
    subject = polecat()
    decided = decide(observed(subject, verdict=Verdict(wait, "wait for the other")))

    told = after(subject, decided)
    queued = get_condition(told.status.conditions, "Queued")
    assert queued is not None
    assert (told.status.phase, queued.status, queued.reason) == (
        PolecatPhase.IDLE,
        ConditionStatus.TRUE,
        wait,
    )
    assert told.status.enqueued_at == NOW
    assert [note.reason for note in decided.events] == [wait]
    again = decide(observed(told, verdict=Verdict(wait, "wait for the other")), seconds=60)
    # Then it goes before every priority, which nobody else would tell it.
    assert again == Plan(requeue_after=AGING_SECONDS - 60)


def test_a_former_polecats_pod_under_the_same_name_is_waited_for() -> None:
    former = pod(owner=polecat(uid="former"))
    subject = polecat()

    told = after(subject, decide(observed(subject, name_taken_by=former)))

    assert ready(told).reason == "PodNameInUse"


def test_checkpoints_of_another_polecat_are_refused_until_it_is_gone() -> None:
    subject = polecat()
    refused = decide(observed(subject, key_holder=polecat("victim")))

    stuck = ready(after(subject, refused))
    assert (refused.actions, stuck.reason) == ((), "RecoveryKeyInUse")
    assert '"victim"' in stuck.message
    assert [type(action) for action in decide(observed(after(subject, refused))).actions] == [Create]


def test_a_foreign_pod_under_our_name_is_neither_used_nor_deleted() -> None:
    subject = polecat()
    moment = observed(subject)
    (create,) = decide(moment).actions
    assert isinstance(create, Create)
    refusal = Refusal(create, NotOurs(POD, create.key, None))

    decided = decide(attrs.evolve(moment, refusal=refusal))

    told = after(subject, decided)
    assert decided.actions == ()
    assert (told.status.phase, ready(told).reason) == (PolecatPhase.STUCK, "PodNameTaken")


def test_a_full_quota_is_a_wait_and_is_tried_again() -> None:
    subject = polecat()
    moment = observed(subject)
    (create,) = decide(moment).actions
    assert isinstance(create, Create)
    error = Forbidden('pods "polecat-toast" is forbidden: exceeded quota: pods', status=403)

    decided = decide(attrs.evolve(moment, refusal=Refusal(create, error)))

    assert ready(after(subject, decided)).reason == "QuotaExceeded"
    assert decided.requeue_after is not None


def test_a_starting_pod_is_named_before_it_runs() -> None:
    subject = polecat()
    told = after(subject, decide(observed(subject, pod(owner=subject, phase="Pending"))))

    assert (told.status.pod_name, told.status.pod_active, told.status.phase) == (
        "polecat-toast",
        True,
        PolecatPhase.IDLE,
    )
    assert ready(told).reason == "PodStarting"


def test_an_unschedulable_pod_is_a_wait_in_the_schedulers_words() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    subject = polecat()

    told = after(
        subject, decide(observed(subject, pod(owner=subject, phase="Pending", conditions=[condition])))
    )

    assert (told.status.phase, ready(told).reason) == (PolecatPhase.IDLE, "Unschedulable")
    assert "0/3 nodes" in ready(told).message


def test_a_running_pod_is_working_and_costs_no_event() -> None:
    subject = polecat()
    decided = decide(observed(subject, pod(owner=subject, agent=running())))

    told = after(subject, decided)
    assert (told.status.phase, told.status.started_at is not None) == (PolecatPhase.WORKING, True)
    assert decided.events == ()
    assert decide(observed(told, pod(owner=subject, agent=running())), seconds=600) == Plan()


def test_a_pod_that_cannot_start_is_told_at_once_and_deleted_after_a_while() -> None:
    subject = polecat()
    stuck = pod(owner=subject, phase="Pending", agent=waiting("ImagePullBackOff", "no such image"))

    decided = decide(observed(subject, stuck))
    told = after(subject, decided)
    assert (told.status.phase, ready(told).reason) == (PolecatPhase.STUCK, "ImagePullBackOff")
    assert "no such image" in ready(told).message
    assert decided.actions == ()
    assert decided.requeue_after == SETTINGS.start_timeout - 40

    late = decide(observed(told, stuck), seconds=SETTINGS.start_timeout)
    assert late.actions == (Delete(POD, stuck.metadata.key, stuck.metadata.uid),)
    assert late.events == ()

    gone = after(told, decide(observed(told, None), seconds=SETTINGS.start_timeout + 5))
    assert gone.status.finished_at is not None
    assert gone.status.attempts[-1].outcome is OutcomeClass.CONFIG_ERROR


def test_a_pod_that_starts_after_all_is_working_again() -> None:
    subject = polecat()
    stuck = pod(owner=subject, phase="Pending", agent=waiting("ImagePullBackOff"))
    told = after(subject, decide(observed(subject, stuck)))

    assert (
        after(told, decide(observed(told, pod(owner=subject, agent=running())))).status.phase
        is PolecatPhase.WORKING
    )


def test_done_carries_the_proof() -> None:
    subject = polecat()
    told, decided = conclude(subject, succeeded(subject, word(commits=3)))

    status = told.status
    assert (status.phase, status.branch, status.head_commit, status.base_commit, status.commits) == (
        PolecatPhase.DONE,
        "polecat/toast",
        HEAD,
        BASE,
        3,
    )
    assert (status.pod_active, status.finished_at, status.attempts[-1].outcome) == (
        False,
        NOW,
        OutcomeClass.SUCCEEDED,
    )
    pushed = get_condition(status.conditions, "Pushed")
    assert pushed is not None
    assert pushed.status is ConditionStatus.TRUE
    assert [(note.type, note.reason) for note in decided.events] == [("Normal", "Done")]


def test_what_ended_is_written_once_and_never_starts_again() -> None:
    subject = polecat()
    ended = succeeded(subject, word())
    told, _ = conclude(subject, ended)

    assert decide(observed(told, ended), seconds=60) == Plan()
    assert decide(observed(told, None), seconds=60) == Plan()


def test_no_changes_is_stuck_unless_the_polecat_allows_it() -> None:
    message = word(Outcome.NO_CHANGES, commits=0, pushed=False)
    for allowed, phase in ((False, PolecatPhase.STUCK), (True, PolecatPhase.DONE)):
        subject = polecat(allowNoChanges=allowed)
        told, _ = conclude(subject, succeeded(subject, message))
        assert (told.status.phase, ready(told).reason) == (phase, "NoChanges")


def test_a_failed_agent_is_stuck_and_keeps_what_it_pushed() -> None:
    subject = polecat()
    failed = pod(
        owner=subject,
        phase="Failed",
        clone=terminated(),
        keeper=terminated(message=word(Outcome.AGENT_ERROR)),
        agent=terminated(1),
    )
    told, decided = conclude(subject, failed)

    assert (told.status.phase, ready(told).reason, told.status.head_commit) == (
        PolecatPhase.STUCK,
        "AgentExitCode",
        HEAD,
    )
    assert [(note.type, note.reason) for note in decided.events] == [("Warning", "AgentExitCode")]


def test_a_stuck_polecat_is_tried_again_in_a_new_round_when_it_is_changed() -> None:
    subject = polecat()
    failed = pod(
        owner=subject,
        phase="Failed",
        clone=terminated(1, word(Outcome.CONFIG_ERROR, reason="HostKeyMismatch")),
    )
    told, _ = conclude(subject, failed)
    assert told.status.phase is PolecatPhase.STUCK

    changed = attrs.evolve(told, metadata=attrs.evolve(told.metadata, generation=2))
    fresh = after(changed, decide(observed(changed, failed)))

    assert (fresh.status.round, fresh.status.attempt, fresh.status.finished_at) == (2, 2, None)
    (create,) = decide(observed(fresh)).actions
    assert isinstance(create, Create)
    assert create.key.name == "polecat-toast-r2-toas"


def interrupted(subject: Polecat, name: str = "polecat-toast") -> Pod:
    """A pod that was ended from outside."""
    message = word(Outcome.INTERRUPTED, commits=0, pushed=False, checkpoint="c" * 40)
    return pod(
        name,
        owner=subject,
        phase="Failed",
        clone=terminated(),
        keeper=terminated(message=message),
        agent=terminated(143),
    )


def test_an_interrupted_attempt_is_followed_by_another_after_a_delay() -> None:
    subject = polecat()
    told, decided = conclude(subject, interrupted(subject))

    assert (told.status.phase, told.status.attempt, told.status.finished_at) == (PolecatPhase.IDLE, 2, None)
    assert decided.requeue_after == 10
    early = decide(observed(told), seconds=5)
    assert (early.actions, early.requeue_after) == ((), 4)
    (create,) = decide(observed(told), seconds=10).actions
    assert isinstance(create, Create)
    assert create.key.name == "polecat-toast-r2-toas"


def test_the_delay_counts_from_the_end_of_the_pod_not_of_the_agent() -> None:
    subject = polecat()
    ended_early = terminated()
    ended_early["terminated"] |= {"finishedAt": format_time(NOW - timedelta(seconds=90))}
    the_pod = pod(owner=subject, phase="Failed", clone=ended_early, agent=ended_early, keeper=terminated(137))
    told, decided = conclude(subject, the_pod)

    assert told.status.attempts[-1].finished_at == NOW - timedelta(seconds=1)
    assert decided.requeue_after == 10
    assert decide(observed(told), seconds=5).actions == ()


def test_attempts_ended_by_the_infrastructure_are_not_made_for_ever() -> None:
    subject = polecat()
    for number in range(1, MAXIMUM_INFRASTRUCTURE_ATTEMPTS + 1):
        assert subject.status.phase is PolecatPhase.IDLE, number
        subject, _ = conclude(subject, interrupted(subject))

    assert (subject.status.phase, ready(subject).reason) == (PolecatPhase.STUCK, "InfrastructureFailures")


def test_a_pod_that_vanished_is_an_attempt_lost() -> None:
    subject = polecat()
    working = after(subject, decide(observed(subject, pod(owner=subject, agent=running()))))

    told = after(working, decide(observed(working, None)))

    assert (told.status.attempt, told.status.attempts[-1].reason) == (2, "PodLost")


def test_terminated_ends_the_pod_first_and_then_the_polecat() -> None:
    subject = polecat(desiredState="Terminated")
    active = pod(owner=subject, agent=running())
    decided = decide(observed(subject, active))
    assert decided.actions == (Delete(POD, active.metadata.key, active.metadata.uid),)

    told, _ = conclude(subject, interrupted(subject))
    assert (told.status.phase, told.status.attempt) == (PolecatPhase.TERMINATED, 1)
    assert decide(observed(told, None)) == Plan()


def test_terminated_without_a_pod_ends_at_once() -> None:
    subject = polecat(desiredState="Terminated")

    assert after(subject, decide(observed(subject))).status.phase is PolecatPhase.TERMINATED


def test_success_wins_over_a_termination_that_came_too_late() -> None:
    subject = polecat(desiredState="Terminated")
    told, _ = conclude(subject, succeeded(subject, word()))

    assert told.status.phase is PolecatPhase.DONE


def test_the_claim_is_never_written_by_this_controller() -> None:
    claim = {"holder": "project/pods/toast", "state": "Claimed", "time": "2026-11-24T11:00:00Z"}
    subject = polecat(status={"claim": claim})
    decided = decide(observed(subject, pod(owner=subject, agent=running())))

    assert decided.status is not None
    assert "claim" not in decided.status


def test_merging_maps_of_test_objects_keeps_what_is_not_named() -> None:
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}
