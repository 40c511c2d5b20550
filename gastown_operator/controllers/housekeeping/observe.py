"""What the housekeeping controller looks at before it decides."""

from typing import Final

from attrs import frozen

from gastown_operator.api import names
from gastown_operator.api.batch import Job
from gastown_operator.api.conditions import is_true
from gastown_operator.api.core import Namespace, Pod, PodPhase
from gastown_operator.api.polecat import Polecat
from gastown_operator.api.rig import Rig
from gastown_operator.controllers.network.fence import Fence
from gastown_operator.controllers.polecat.admission import PODS_BY_OWNER, POLECATS_BY_RIG
from gastown_operator.controllers.polecat.status import MERGED
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.store import Store

PROGRAM: Final = "housekeeping"
"""Of the workload image; the container has its name too."""


@frozen
class Observed:
    """One moment of a rig.

    Attributes:
        namespace: the work namespace; None where it does not exist.
        polecats: all that name the rig.
        at_work: UIDs of those that are merged and have a pod which may still push.
        job: of the rig; None where there is none.
        pod: the pod of the job that ended last; None where none has.
        fenced: whether the NetworkPolicy of the rig's pods stands.
    """

    rig: Rig
    namespace: Namespace | None
    polecats: tuple[Polecat, ...]
    at_work: frozenset[str]
    job: Job | None
    pod: Pod | None
    fenced: bool


@frozen
class Caches:
    """The stores that the housekeeping controller reads."""

    rigs: Store[Rig]
    namespaces: Store[Namespace]
    polecats: Store[Polecat]
    pods: Store[Pod]
    jobs: Store[Job]
    fence: Fence

    def observe(self, rig: Rig) -> Observed:
        """Read everything from the caches, without awaiting: one consistent moment."""
        name, namespace = rig.metadata.name, rig.spec.work_namespace
        polecats = self.polecats.by_index(POLECATS_BY_RIG, name)
        job = self.jobs.get(ObjectKey(namespace, names.housekeeping_job(name)))
        return Observed(
            rig=rig,
            namespace=self.namespaces.get(ObjectKey("", namespace)),
            polecats=polecats,
            at_work=frozenset(it.metadata.uid for it in polecats if self._works_on(it)),
            job=job,
            pod=self._last_pod(job) if job is not None else None,
            fenced=self.fence.stands(name, namespace),
        )

    def _works_on(self, polecat: Polecat) -> bool:
        return is_true(polecat.status.conditions, MERGED) and not all(
            pod.phase.terminal for pod in self.pods.by_index(PODS_BY_OWNER, polecat.metadata.uid)
        )

    def _last_pod(self, job: Job) -> Pod | None:
        """Of a job that is complete, the pod that completed it: the cache may have an earlier one's failure alone."""
        complete = job.end is not None and job.end.complete
        ended = [
            pod
            for pod in self.pods.by_index(PODS_BY_OWNER, job.metadata.uid)
            if _finished_at(pod) and (not complete or pod.phase is PodPhase.SUCCEEDED)
        ]
        return max(ended, key=_finished_at, default=None)


def _finished_at(pod: Pod) -> float:
    """When its container ended, in seconds since 1970; 0 while it has not."""
    status = pod.container(PROGRAM)
    at = status.terminated.finished_at if status is not None and status.terminated is not None else None
    return at.timestamp() if at is not None else 0.0
