"""What to do about the refs of a rig: pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import evolve, frozen

from gastown_operator.api import names
from gastown_operator.api.batch import JOB, Job, JobEnd
from gastown_operator.api.codec import to_json
from gastown_operator.api.common import Condition, ConditionStatus
from gastown_operator.api.conditions import bounded, get_condition, set_condition
from gastown_operator.api.core import Pod
from gastown_operator.api.housekeeping import HousekeepingStatus
from gastown_operator.api.polecat import Polecat
from gastown_operator.api.rig import RIG, Rig
from gastown_operator.api.rig_status import RigStatus
from gastown_operator.api.validation import rig_problems
from gastown_operator.controllers.git_job import DEADLINE, git_job
from gastown_operator.controllers.housekeeping.observe import PROGRAM, Observed
from gastown_operator.controllers.housekeeping.told import housekeeping_settings
from gastown_operator.controllers.settings import OperatorSettings
from gastown_operator.runtime.execution import NotOurs, Refusal
from gastown_operator.runtime.plan import Create, Delete, EventNote, Plan
from gastown_operator.workload.housekeeping_report import HousekeepingReport, decode
from gastown_operator.workload.message import Outcome

CONDITION: Final = "HousekeepingSucceeded"
#: Seconds; a Job's end may be in the cache before its pod's is.
PATIENCE: Final = 30.0
#: Seconds past its own deadline in which a Job's pod has ended too, if all is well.
OVERDUE: Final = 300.0
_MESSAGE_BYTES: Final = 256
_ACTION: Final = "Housekeeping"


@frozen
class Scope:
    """What all rigs' housekeeping has in common.

    Attributes:
        settings: of the operator.
        namespaces: whose polecats the operator sees; none for all.
    """

    settings: OperatorSettings
    namespaces: tuple[str, ...] = ()


def plan(observed: Observed, scope: Scope, now: datetime) -> Plan:
    """The next step of a rig: wait for something to remove, wait for the time, run the Job, record its result, delete it."""
    rig, job, namespace = observed.rig, observed.job, observed.namespace
    if rig.metadata.deletion_timestamp is not None or namespace is None or namespace.phase == "Terminating":
        return Plan()  # the Job is owned by the rig, and in the namespace
    if job is not None and _is_of_a_rig(job):
        return _of_job(observed, job, now)
    former = rig.status.housekeeping or HousekeepingStatus()
    if former.pending_since is None:
        return _begin(rig, former, now) if any(map(has_begun, observed.polecats)) else Plan()
    if rig.spec.housekeeping.suspend:
        return Plan()  # what comes and goes meanwhile is seen to later
    due = former.pending_since + rig.spec.housekeeping.interval
    if due > now:
        return Plan(requeue_after=(due - now).total_seconds())
    if rig_problems(rig) or not observed.fenced:
        return Plan()  # the rig's own condition says so, or the Event that tells of its NetworkPolicy
    told = housekeeping_settings(observed, scope.namespaces, now)
    name = names.housekeeping_job(rig.metadata.name)
    return Plan((Create(JOB, git_job(name, PROGRAM, told.environment(), rig, scope.settings)),))


def plan_refused(observed: Observed, refusal: Refusal, now: datetime) -> Plan:
    """What to say when the API server does not take the Job; it is tried again when the next run is due."""
    if isinstance(refusal.error, NotOurs):
        text = f"{refusal.error}: it is neither used nor deleted; delete it"
    else:
        text = f"the API server refused the Job: {refusal.error}; correct what it names"
    text = f"{text}; it is tried again when the next run is due"
    return _recorded(observed, _unheard(observed.rig, "JobRefused", text, Outcome.CONFIG_ERROR), now)


def has_begun(polecat: Polecat) -> bool:
    """Whether it ever had a pod, which may have pushed something."""
    return bool(polecat.status.attempt)


def _begin(rig: Rig, former: HousekeepingStatus, now: datetime) -> Plan:
    """From now on there may be something to remove one day."""
    return Plan(status=_written(rig.status, evolve(former, pending_since=_seconds(now))))


def _is_of_a_rig(job: Job) -> bool:
    """Whether it is this rig's, or goes with an earlier rig. One that stays has its name refused to ours, which is told."""
    owner = job.metadata.controller
    return owner is not None and owner.kind == RIG.kind


def _of_job(observed: Observed, job: Job, now: datetime) -> Plan:
    metadata, rig = job.metadata, observed.rig
    owner = metadata.controller
    if metadata.deletion_timestamp is not None or owner is None or owner.uid != rig.metadata.uid:
        return Plan()  # it goes; that of an earlier rig with this name is for the garbage collector
    if job.end is None:
        return _of_running_job(observed, job, now)
    former = rig.status.housekeeping
    if former is not None and former.last_time == job.end.at:
        return Plan((Delete(JOB, metadata.key, metadata.uid),))
    left = PATIENCE - (now - job.end.at).total_seconds()
    if observed.pod is None and left > 0:
        return Plan(requeue_after=left)
    return _recorded(observed, _report(rig, job.end, observed.pod), job.end.at)


def _of_running_job(observed: Observed, job: Job, now: datetime) -> Plan:
    """Its deadline ends it, unless that stands still or its pod's end is not seen: nothing else would ever tell of it."""
    made, former = job.metadata.creation_timestamp or now, observed.rig.status.housekeeping
    left = DEADLINE + OVERDUE - (now - made).total_seconds()
    if left > 0:
        return Plan(requeue_after=left)
    if former is not None and former.last_time is not None and former.last_time >= made:
        return Plan()  # told already
    key = job.metadata.key
    text = (
        f"Job {key.name} has not ended in {DEADLINE + OVERDUE:.0f} s: somebody suspended it, or the node of its pod is lost; see "
        f"kubectl -n {key.namespace} describe job {key.name}; where it is deleted, another one is made when the next run is due"
    )
    return _recorded(observed, _unheard(observed.rig, "JobOverdue", text), now)


def _report(rig: Rig, end: JobEnd, pod: Pod | None) -> HousekeepingReport:
    """What the program said, or what is said of it where it left no word."""
    status = pod.container(PROGRAM) if pod is not None else None
    report = (
        decode(status.terminated.message) if status is not None and status.terminated is not None else None
    )
    if report is not None and (end.complete or report.outcome is not Outcome.SUCCEEDED):
        return report
    text = (
        f"the Job left no word ({end.reason or 'Complete'}: {end.message or 'its pod is gone'}); it is made again when the next run is due; "
        f"kubectl -n {rig.spec.work_namespace} get events shows whether its pod could start"
    )
    return _unheard(rig, "NoResult", text)


def _unheard(
    rig: Rig, reason: str, text: str, outcome: Outcome = Outcome.INFRASTRUCTURE
) -> HousekeepingReport:
    """A report of a run that gave none: as much is left as before."""
    former = rig.status.housekeeping
    remaining = (former.remaining_refs or 0) if former is not None else 0
    return HousekeepingReport(outcome, reason, text, remaining=remaining)


def _recorded(observed: Observed, report: HousekeepingReport, at: datetime) -> Plan:
    """Write what came of a run; there is a next one while something is left, or may be."""
    rig, succeeded = observed.rig, report.outcome is Outcome.SUCCEEDED
    quiet = succeeded and report.remaining == 0 and not any(map(has_begun, observed.polecats))
    at = _seconds(at)
    after = HousekeepingStatus(
        pending_since=None if quiet else at,
        last_time=at,
        deleted_refs=report.deleted,
        remaining_refs=report.remaining,
        message=bounded(report.message, _MESSAGE_BYTES),
    )
    former = get_condition(rig.status.conditions, CONDITION)
    conditions = set_condition(
        (former,) if former is not None else (),
        CONDITION,
        ConditionStatus.TRUE if succeeded else ConditionStatus.FALSE,
        report.reason,
        report.message,
        observed_generation=rig.metadata.generation,
        now=at,
    )
    status = evolve(rig.status, conditions=conditions)
    return Plan(status=_written(status, after), events=_told(report, former))


def _told(report: HousekeepingReport, former: Condition | None) -> tuple[EventNote, ...]:
    """What was removed, since the next run's record takes the place of this one's; or a failure, when it begins."""
    if report.outcome is Outcome.SUCCEEDED:
        removed = EventNote("Normal", "RefsRemoved", report.message, _ACTION)
        return (removed,) if report.deleted else ()
    if former is not None and former.reason == report.reason:
        return ()
    return (EventNote("Warning", report.reason, report.message, _ACTION),)


def _written(status: RigStatus, after: HousekeepingStatus) -> Mapping[str, Any]:
    """The part of a rig's status that this controller owns."""
    own = get_condition(status.conditions, CONDITION)
    body = to_json(RigStatus(housekeeping=after, conditions=(own,) if own is not None else ()))
    return {name: body[name] for name in ("housekeeping", "conditions") if name in body}


def _seconds(moment: datetime) -> datetime:
    """In whole seconds, as the API stores times."""
    return moment.replace(microsecond=0)
