"""What the polecat controller looks at before it decides."""

from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from gastown_operator.api.core import Pod
from gastown_operator.api.polecat import Polecat
from gastown_operator.api.rig import Rig
from gastown_operator.controllers.credential.problem import CredentialProblem, Credentials
from gastown_operator.controllers.network.fence import Fence
from gastown_operator.controllers.polecat.admission import (
    ACTIVE_PODS_BY_RIG,
    PODS_BY_OWNER,
    POLECATS_BY_BEAD,
    POLECATS_BY_RIG,
    Admission,
    Verdict,
    active_pods_by_rig,
    pods_by_owner,
    polecats_by_bead,
    polecats_by_rig,
)
from gastown_operator.controllers.polecat.budget import Grant
from gastown_operator.controllers.polecat.dependencies import (
    POLECATS_BY_DEPENDENCY,
    Base,
    bases,
    cycle,
    is_needed,
    polecats_by_dependency,
)
from gastown_operator.controllers.polecat.pod import pod_name
from gastown_operator.controllers.polecat.recovery import (
    POLECATS_BY_RECOVERY_KEY,
    key_holder,
    polecats_by_recovery_key,
)
from gastown_operator.runtime.execution import Refusal
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.store import IndexFunction, Store

POLECAT_INDEXES: Final[Mapping[str, IndexFunction[Polecat]]] = {
    POLECATS_BY_RIG: polecats_by_rig,
    POLECATS_BY_BEAD: polecats_by_bead,
    POLECATS_BY_DEPENDENCY: polecats_by_dependency,
    POLECATS_BY_RECOVERY_KEY: polecats_by_recovery_key,
}
POD_INDEXES: Final[Mapping[str, IndexFunction[Pod]]] = {
    PODS_BY_OWNER: pods_by_owner,
    ACTIVE_PODS_BY_RIG: active_pods_by_rig,
}


@frozen
class Observed:
    """One moment of a polecat and what belongs to it.

    Attributes:
        polecat: as cached.
        rig: None where it does not exist.
        pod: the pod of the current attempt.
        other_pods: pods of earlier attempts.
        name_taken_by: another polecat's pod under the name that the current attempt's needs.
        verdict: whether it may start, if it has no pod.
        grant: what its next attempt may cost, if it may start.
        bases: work of its dependencies that is not merged.
        cycle: names of the polecats that wait for each other in a circle with this one.
        credentials: what keeps the rig's polecats from working with its credentials, by the Secret's name.
        blocked: what of the rig's destinations that policy blocks.
        fenced: whether the NetworkPolicy of its pods stands.
        needed: whether a polecat that has not ended depends on this one.
        key_holder: another polecat that keeps it from the recovery key of its annotation.
        refusal: what the API server said to the pod when it was last tried, in this very reconcile.
    """

    polecat: Polecat
    rig: Rig | None
    pod: Pod | None
    other_pods: tuple[Pod, ...]
    name_taken_by: Pod | None
    verdict: Verdict
    grant: Grant = field(default=Grant())
    bases: tuple[Base, ...] = ()
    cycle: tuple[str, ...] = ()
    credentials: Mapping[str, CredentialProblem] = field(factory=dict)
    blocked: str = ""
    fenced: bool = True
    needed: bool = False
    key_holder: Polecat | None = None
    refusal: Refusal | None = None


def observe(
    polecat: Polecat, rigs: Store[Rig], admission: Admission, credentials: Credentials, fence: Fence
) -> Observed:
    """Read everything from the caches, without awaiting: one consistent moment."""
    metadata = polecat.metadata
    rig = rigs.get(ObjectKey("", polecat.spec.rig))
    name = pod_name(polecat)
    owned = admission.pods.by_index(PODS_BY_OWNER, metadata.uid)
    pod = next((pod for pod in owned if pod.metadata.name == name), None)
    named = admission.pods.get(ObjectKey(metadata.namespace, name)) if pod is None else None
    # Whoever was refused is no candidate, but may start once the reason is gone.
    wants = pod is None and rig is not None and polecat.status.finished_at is None
    verdict = admission.verdict(polecat, rig) if wants and rig is not None else Verdict()
    starts = wants and verdict.wait is None
    return Observed(
        polecat=polecat,
        rig=rig,
        pod=pod,
        other_pods=tuple(other for other in owned if other is not pod),
        name_taken_by=named,
        verdict=verdict,
        grant=admission.grant(polecat, rig) if starts and rig is not None else Grant(),
        bases=bases(admission.polecats, polecat) if starts else (),
        cycle=cycle(admission.polecats, polecat),
        credentials=credentials.holding(rig) if wants and rig is not None else {},
        blocked=fence.blocked(rig) if wants and rig is not None else "",
        fenced=fence.stands(rig.metadata.name, metadata.namespace) if rig is not None else True,
        needed=polecat.status.finished_at is not None and is_needed(admission.polecats, polecat),
        key_holder=key_holder(admission.polecats, polecat),
    )
