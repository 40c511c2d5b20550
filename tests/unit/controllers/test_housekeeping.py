"""What is done about the refs of a rig, moment by moment."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve
from prometheus_client import CollectorRegistry

from gastown_operator.api import labels
from gastown_operator.api.batch import JOB, Job
from gastown_operator.api.core import POD, Pod
from gastown_operator.api.polecat import Polecat
from gastown_operator.api.rig import RIG, Rig
from gastown_operator.controllers.git_job import DEADLINE
from gastown_operator.controllers.housekeeping.metrics import HousekeepingCollector
from gastown_operator.controllers.housekeeping.observe import Observed
from gastown_operator.controllers.housekeeping.plan import (
    CONDITION,
    OVERDUE,
    PATIENCE,
    Scope,
    plan,
    plan_refused,
)
from gastown_operator.controllers.housekeeping.reconciler import rigs_that_wait
from gastown_operator.controllers.housekeeping.told import housekeeping_settings
from gastown_operator.controllers.settings import Egress
from gastown_operator.runtime.errors import Forbidden
from gastown_operator.runtime.execution import NotOurs, Refusal
from gastown_operator.runtime.objects import format_time
from gastown_operator.runtime.plan import Create, Delete, Plan
from gastown_operator.runtime.store import Store
from gastown_operator.workload.housekeeping_report import HousekeepingReport
from gastown_operator.workload.message import Outcome
from tests.unit.controllers.objects import NOW, SETTINGS, WORKERS, namespace, polecat, rig_body

JSON = dict[str, Any]
NAME = "gastown-housekeeping-project"
DAY = timedelta(hours=24)
SCOPE = Scope(SETTINGS)
GOOD = HousekeepingReport(Outcome.SUCCEEDED, "Succeeded", "removed 3 refs", 3, 4)
BAD = HousekeepingReport(Outcome.CONFIG_ERROR, "RefsRefused", "the git server refused", 0, 4)


def rig(housekeeping: Mapping[str, Any] | None = None, status: Mapping[str, Any] | None = None) -> Rig:
    """A rig whose spec and status say this of its housekeeping."""
    body = rig_body(housekeeping=housekeeping or {})
    return RIG.project({**body, "status": {"phase": "Ready", **(status or {})}})


def ran(at: timedelta = timedelta(0), **more: Any) -> JSON:
    """A status whose last run was so long ago, and left something."""
    moment = format_time(NOW - at)
    return {"housekeeping": {"pendingSince": moment, "lastTime": moment, "remainingRefs": 4, **more}}


def worked(name: str = "toast", **changes: Any) -> Polecat:
    """A polecat that had a pod."""
    return polecat(name, status={"phase": "Done", "attempt": 1}, **changes)


def merged(name: str, ago: timedelta) -> Polecat:
    """A polecat that was merged so long ago."""
    condition = {"type": "Merged", "status": "True", "reason": "Merged", "message": ""}
    condition["lastTransitionTime"] = format_time(NOW - ago)
    return polecat(name, status={"phase": "Done", "attempt": 1, "conditions": [condition]})


def job(ended: str = "", at: timedelta = timedelta(0), uid: str = "rig-project", **metadata: Any) -> Job:
    """The rig's Job; `ended` is Complete or Failed."""
    owner = {"apiVersion": RIG.api_version, "kind": "Rig", "name": "project", "uid": uid, "controller": True}
    named = {"name": NAME, "namespace": WORKERS, "uid": "job-uid", "resourceVersion": "1"}
    condition = {
        "type": ended,
        "status": "True",
        "lastTransitionTime": format_time(NOW - at),
        "reason": "Because",
        "message": "of that",
    }
    return JOB.project(
        {
            "metadata": {**named, "ownerReferences": [owner], **metadata},
            "status": {"conditions": [condition] if ended else []},
        }
    )


def pod(message: str) -> Pod:
    """The Job's pod, which has ended."""
    state = {"terminated": {"exitCode": 0, "message": message, "finishedAt": format_time(NOW)}}
    return POD.project(
        {
            "metadata": {"name": f"{NAME}-x", "namespace": WORKERS, "uid": "pod-uid"},
            "status": {
                "phase": "Succeeded",
                "containerStatuses": [{"name": "housekeeping", "state": state}],
            },
        }
    )


def said(report: HousekeepingReport) -> Pod:
    """The same, with a report."""
    return pod(report.encode().decode())


def observed(the_rig: Rig | None = None, *polecats: Polecat, **changes: Any) -> Observed:
    """One moment of a rig."""
    seen = Observed(the_rig or rig(), namespace(), polecats, frozenset(), None, None, fenced=True)
    return evolve(seen, **changes)


def decide(moment: Observed) -> Plan:
    return plan(moment, SCOPE, NOW)


QUIET: Mapping[str, Observed] = {
    "a rig without polecats": observed(),
    "polecats that never had a pod": observed(rig(), polecat("waits")),
    "suspended, and overdue": observed(rig({"suspend": True}, ran(2 * DAY)), worked()),
    "a namespace that is not there": observed(rig(None, ran(2 * DAY)), namespace=None),
    "a namespace that goes": observed(rig(None, ran(2 * DAY)), namespace=namespace(phase="Terminating")),
    "no fence": observed(rig(None, ran(2 * DAY)), fenced=False),
    "a Job that goes": observed(
        rig(None, ran()), job=job("Complete", deletionTimestamp=format_time(NOW)), pod=said(GOOD)
    ),
    "the Job of an earlier rig of that name": observed(
        rig(None, ran(2 * DAY)), job=job("Complete", uid="another")
    ),
}


@pytest.mark.parametrize("moment", QUIET.values(), ids=QUIET.keys())
def test_nothing_is_written_and_nothing_is_looked_at_again(moment: Observed) -> None:
    assert decide(moment) == Plan()


def test_a_job_that_no_rig_owns_is_told_of_where_the_next_run_is_due() -> None:
    """`kubectl delete rig --cascade=orphan` leaves one, which nobody takes away."""
    orphan = job("Complete", ownerReferences=[])
    assert decide(observed(rig(None, ran()), worked(), job=orphan)).actions == ()
    (action,) = decide(observed(rig(None, ran(2 * DAY)), worked(), job=orphan)).actions
    assert isinstance(action, Create)  # it is refused, since it neither adopts nor replaces a Job
    refusal = Refusal(action, NotOurs(JOB, action.key, None))
    told = plan_refused(observed(rig(None, ran(2 * DAY)), worked(), job=orphan), refusal, NOW)
    assert told.status is not None
    assert "controlled by nobody: it is neither used nor deleted; delete it" in str(told.status["conditions"])


def running(since: timedelta) -> Job:
    """The rig's Job, which was made so long ago and has not ended."""
    return job(creationTimestamp=format_time(NOW - since))


def test_a_job_that_runs_is_looked_at_again_when_it_should_have_ended() -> None:
    decided = decide(observed(rig(None, ran(2 * DAY)), job=running(timedelta(seconds=100))))
    assert decided == Plan(requeue_after=DEADLINE + OVERDUE - 100)


def test_a_job_that_does_not_end_is_told_of_once_and_still_recorded_when_it_does() -> None:
    """A suspended Job's deadline stands still, and the pod of one whose node is lost stays."""
    stuck = observed(rig(None, ran(2 * DAY)), job=running(timedelta(seconds=DEADLINE + OVERDUE)))
    decided = decide(stuck)
    assert (decided.actions, decided.requeue_after) == ((), None)
    assert [event.reason for event in decided.events] == ["JobOverdue"]
    assert decided.status is not None
    (condition,) = decided.status["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "JobOverdue")
    assert f"kubectl -n {WORKERS} describe job {NAME}" in condition["message"]

    told = evolve(stuck, rig=rig(None, decided.status))
    assert decide(told) == Plan()
    ended = decide(evolve(told, job=job("Complete", at=-timedelta(seconds=5)), pod=said(GOOD)))
    assert ended.status is not None
    assert ended.status["housekeeping"]["deletedRefs"] == 3


@pytest.mark.parametrize("suspend", [False, True])
def test_the_first_polecat_with_a_pod_begins_the_interval_by_one_write(suspend: bool) -> None:
    decided = decide(observed(rig({"suspend": suspend}), worked()))
    assert decided == Plan(status={"housekeeping": {"pendingSince": format_time(NOW)}})
    assert decide(observed(rig(None, decided.status), worked())) == Plan(requeue_after=DAY.total_seconds())


@pytest.mark.parametrize(("hours", "wait"), [(0, 24), (23, 1)])
def test_it_waits_for_its_time_without_polling(hours: int, wait: int) -> None:
    moment = observed(rig(None, ran(timedelta(hours=hours))))
    assert decide(moment) == Plan(requeue_after=wait * 3600.0)


def test_another_interval_counts_from_where_the_old_one_did() -> None:
    moment = observed(rig({"interval": "25h"}, ran(DAY)))
    assert decide(moment) == Plan(requeue_after=3600.0)


def create(moment: Observed, scope: Scope = SCOPE) -> JSON:
    """The Job that is created, and nothing else."""
    decided = plan(moment, scope, NOW)
    (action,) = decided.actions
    assert isinstance(action, Create)
    assert decided == Plan((action,))
    return dict(action.body)


def test_a_job_is_made_when_it_is_time() -> None:
    body = create(observed(rig(None, ran(DAY)), worked()))
    (owner,) = body["metadata"]["ownerReferences"]
    assert (body["metadata"]["name"], body["metadata"]["namespace"]) == (NAME, WORKERS)
    assert (owner["kind"], owner["uid"], owner["blockOwnerDeletion"]) == ("Rig", "rig-project", False)
    spec, template = body["spec"], body["spec"]["template"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (2, 900)
    # A pod with the annotation would take a slot of the rig.
    assert "annotations" not in template["metadata"]
    assert template["metadata"]["labels"] == body["metadata"]["labels"]
    assert template["metadata"]["labels"][labels.RIG] == "project"
    (container,) = template["spec"]["containers"]
    assert (container["image"], container["args"]) == ("workload:1", ["housekeeping"])
    assert template["spec"]["automountServiceAccountToken"] is False
    assert template["spec"]["restartPolicy"] == "Never"
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    assert volumes["git-credentials"]["secret"]["secretName"] == "git-credentials"
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys()


def test_on_openshift_the_job_sets_no_ids_and_the_rigs_pod_settings_are_its_own() -> None:
    settings = evolve(SETTINGS, run_as_user=None, egress=Egress(ca_config_map="ca"))
    pods = {"nodeSelector": {"a": "b"}, "imagePullSecrets": [{"name": "pull"}]}
    the_rig = RIG.project({**rig_body(defaults={"kubernetes": pods}), "status": ran(DAY)})
    pod_spec = create(observed(the_rig), Scope(settings))["spec"]["template"]["spec"]
    assert pod_spec["securityContext"].keys() == {"runAsNonRoot", "seccompProfile"}
    assert (pod_spec["nodeSelector"], pod_spec["imagePullSecrets"]) == ({"a": "b"}, [{"name": "pull"}])
    assert "ca" in {volume["name"] for volume in pod_spec["volumes"]}


@pytest.mark.parametrize(
    ("report", "polecats", "pending"),
    [(GOOD, 0, True), (evolve(GOOD, remaining=0), 0, False), (evolve(GOOD, remaining=0), 1, True)],
    ids=["something is left", "nothing is left", "nothing is left, but somebody works"],
)
def test_what_came_of_it_is_written_once_and_then_the_job_is_deleted(
    report: HousekeepingReport, polecats: int, pending: bool
) -> None:
    ended = job("Complete", timedelta(seconds=5))
    moment = observed(rig(None, ran(DAY)), *[worked()] * polecats, job=ended, pod=said(report))
    decided = decide(moment)
    assert decided.actions == ()
    assert [(note.type, note.reason, note.message) for note in decided.events] == [
        ("Normal", "RefsRemoved", "removed 3 refs")
    ]
    assert decided.status is not None
    at = format_time(NOW - timedelta(seconds=5))
    assert decided.status["housekeeping"] == {
        **({"pendingSince": at} if pending else {}),
        "lastTime": at,
        "deletedRefs": 3,
        "remainingRefs": report.remaining,
        "message": "removed 3 refs",
    }
    (condition,) = decided.status["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == (CONDITION, "True", "Succeeded")

    written = observed(rig(None, decided.status), job=ended, pod=said(report))
    assert decide(written) == Plan((Delete(JOB, ended.metadata.key, "job-uid"),))


def test_a_look_that_removed_nothing_is_no_event() -> None:
    moment = observed(rig(None, ran(DAY)), job=job("Complete"), pod=said(evolve(GOOD, deleted=0)))
    assert decide(moment).events == ()


FAILURES: Mapping[str, tuple[Observed, str, str]] = {
    "refused by the server": (observed(job=job("Complete"), pod=said(BAD)), "RefsRefused", "server refused"),
    "an error of its own": (
        observed(job=job("Failed"), pod=said(evolve(BAD, reason="GitServerUnreachable"))),
        "GitServerUnreachable",
        "server refused",
    ),
    "no word": (observed(job=job("Failed"), pod=pod("")), "NoResult", "Because: of that"),
    "no pod any more": (
        observed(job=job("Failed", timedelta(seconds=PATIENCE))),
        "NoResult",
        f"kubectl -n {WORKERS} get events",
    ),
    "success, and yet killed": (observed(job=job("Failed"), pod=said(GOOD)), "NoResult", "Because"),
}


@pytest.mark.parametrize(("moment", "reason", "words"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failure_is_a_condition_and_one_event_and_is_tried_again_at_its_time(
    moment: Observed, reason: str, words: str
) -> None:
    decided = decide(moment)
    assert decided.status is not None
    (condition,) = decided.status["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", reason)
    assert words in condition["message"]
    assert [(note.type, note.reason) for note in decided.events] == [("Warning", reason)]
    assert decided.status["housekeeping"]["pendingSince"] == decided.status["housekeeping"]["lastTime"]
    assert len(decided.status["housekeeping"]["message"].encode()) <= 256
    again = decide(evolve(moment, rig=rig(None, {"conditions": [condition]})))
    assert again.events == ()


def test_a_pod_that_the_cache_has_not_seen_ending_is_waited_for() -> None:
    moment = observed(rig(None, ran(DAY)), job=job("Complete", timedelta(seconds=10)))
    assert decide(moment) == Plan(requeue_after=PATIENCE - 10)


def test_a_job_that_the_server_refuses_is_told_and_not_tried_before_its_time() -> None:
    moment = observed(rig(None, ran(DAY)), worked())
    (action,) = decide(moment).actions
    decided = plan_refused(moment, Refusal(action, Forbidden("quota")), NOW)
    assert decided.status is not None
    assert decided.status["housekeeping"]["remainingRefs"] == 4
    assert decided.status["conditions"][0]["reason"] == "JobRefused"
    assert decide(observed(rig(None, decided.status), worked())) == Plan(requeue_after=DAY.total_seconds())


def test_the_ready_condition_is_the_rig_controllers() -> None:
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "",
        "lastTransitionTime": format_time(NOW),
    }
    moment = observed(rig(None, {"conditions": [ready]}), job=job("Complete"), pod=said(GOOD))
    decided = decide(moment)
    assert decided.status is not None
    assert decided.status.keys() == {"housekeeping", "conditions"}
    assert [condition["type"] for condition in decided.status["conditions"]] == [CONDITION]


def test_a_polecat_lives_unless_it_was_merged_long_ago_and_has_no_pod_at_work() -> None:
    keep = timedelta(hours=336)
    annotated = worked("restored", metadata={"annotations": {labels.RECOVERY_KEY: "older"}})
    polecats = (
        polecat("waits"),
        annotated,
        merged("just", keep - timedelta(seconds=1)),
        merged("long", keep),
        merged("busy", keep),
    )
    moment = observed(rig(), *polecats, at_work=frozenset({"busy-uid"}))
    told = housekeeping_settings(moment, ("a",), NOW)
    for key in ("waits-uid", "older", "just-uid", "busy-uid"):
        assert f"{WORKERS}/{key}" in told.living
        assert f"{WORKERS}/{key}" not in told.landed
    assert f"{WORKERS}/long-uid" in told.landed
    assert f"{WORKERS}/long-uid" not in told.living
    assert f"{WORKERS}/restored-uid" not in told.living
    assert (told.namespaces, told.told_at, told.keep) == (("a",), int(NOW.timestamp()), 1_209_600)


def test_a_scrape_tells_what_is_left_and_whether_the_last_look_went_well() -> None:
    rigs, registry = Store(RIG), CollectorRegistry()
    registry.register(HousekeepingCollector(rigs))
    decided = decide(observed(job=job("Complete"), pod=said(BAD)))
    rigs.partition().put(rig(None, decided.status))
    told = {"rig": "project", "reason": "RefsRefused"}
    assert registry.get_sample_value("gastown_rig_housekeeping_succeeded", told) == 0
    assert registry.get_sample_value("gastown_rig_recovery_refs", {"rig": "project"}) == 4


def test_a_key_that_another_polecat_lives_by_has_not_landed() -> None:
    landed = merged("long", timedelta(days=30))
    heir = worked("heir", metadata={"annotations": {labels.RECOVERY_KEY: "long-uid"}})
    told = housekeeping_settings(observed(rig(), landed, heir), (), NOW)
    assert f"{WORKERS}/long-uid" in told.living
    assert f"{WORKERS}/long-uid" not in told.landed


@pytest.mark.parametrize(
    ("status", "woken"),
    [(None, 1), ({"housekeeping": {"lastTime": format_time(NOW)}}, 1), (ran(), 0)],
    ids=["never looked at", "nothing was left", "the interval runs"],
)
def test_a_polecat_that_begins_wakes_its_rig_only_where_no_interval_runs(
    status: JSON | None, woken: int
) -> None:
    rigs = Store(RIG)
    rigs.partition().put(rig(None, status))
    assert len([*rigs_that_wait(rigs, worked())]) == woken
    assert [*rigs_that_wait(Store(RIG), worked())] == []
