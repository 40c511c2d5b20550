"""Projection of Job: whose it is, and how it ended."""

from datetime import datetime
from typing import Any, Final

from attrs import frozen

from gastown_operator.runtime.objects import (
    MalformedObjectError,
    ObjectMeta,
    Raw,
    Resource,
    parse_metadata,
    parse_time,
)


@frozen
class JobEnd:
    """How a Job ended: a condition of type Complete or Failed."""

    at: datetime
    complete: bool
    reason: str
    message: str


@frozen
class Job:
    """What controllers read of a Job; `end` is None while it may still run."""

    metadata: ObjectMeta
    end: JobEnd | None


def _job(raw: Raw) -> Job:
    return Job(parse_metadata(raw), _end(raw))


def _end(raw: Raw) -> JobEnd | None:
    """The condition that says so; Kubernetes sets at most one of the two."""
    try:
        conditions = (raw.get("status") or {}).get("conditions") or []
        ended = [it for it in conditions if it["type"] in ("Complete", "Failed") and it["status"] == "True"]
        return _of_condition(ended[0]) if ended else None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MalformedObjectError(f"status.conditions cannot be read: {error!r}") from None


def _of_condition(condition: dict[str, Any]) -> JobEnd:
    return JobEnd(
        at=parse_time(condition["lastTransitionTime"]),
        complete=condition["type"] == "Complete",
        reason=str(condition.get("reason") or ""),
        message=str(condition.get("message") or ""),
    )


JOB: Final = Resource("batch", "v1", "Job", "jobs", namespaced=True, project=_job)
