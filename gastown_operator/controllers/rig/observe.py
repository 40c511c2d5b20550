"""What the rig controller looks at before it decides."""

from collections.abc import Iterable
from typing import Final

from attrs import frozen

from gastown_operator.api.common import Budget, Condition
from gastown_operator.api.convoy import Convoy
from gastown_operator.api.core import Namespace
from gastown_operator.api.polecat import Polecat
from gastown_operator.api.refinery import Refinery
from gastown_operator.api.rig import Rig
from gastown_operator.api.witness import Witness
from gastown_operator.controllers.credential.problem import CredentialProblem, Credentials
from gastown_operator.controllers.network.fence import Fence
from gastown_operator.controllers.polecat.admission import POLECATS_BY_RIG
from gastown_operator.controllers.polecat.outcome import RIG_CREDENTIAL_MISSING, RIG_CREDENTIAL_REJECTED
from gastown_operator.controllers.rig.credential import in_trouble, trouble
from gastown_operator.controllers.rig.spending import is_account
from gastown_operator.runtime.execution import Refusal
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.store import Store

CHILDREN_BY_RIG: Final = "rig"
RIGS_BY_WORK_NAMESPACE: Final = "work-namespace"


@frozen
class Child:
    """A Witness or a Refinery of a rig."""

    name: str
    conditions: tuple[Condition, ...]


@frozen
class Observed:
    """One moment of a rig.

    Attributes:
        namespace: the work namespace; None where it does not exist.
        polecats: how many polecats name the rig, where the operator sees them.
        convoys: how many of its convoys are unfinished.
        witness: the first Witness for the rig in its work namespace.
        refinery: the first Refinery for the rig in its work namespace.
        credential: what is wrong with the Secrets that the rig names, as far as the operator was given them.
        rejected: names of stuck polecats for which the model's provider refused the rig's credential, which has not worked since.
        unsent: names of those for which it asked for one, and the rig names none.
        watched: whether the operator looks into the work namespace at all.
        blocked: what of its destinations the NetworkPolicy of its pods blocks.
        accounts: polecats that are being deleted, whose cost is to be counted.
        spenders: all of its polecats, where it has a budget.
        refusals: what the API server said when the children were last tried, in this very reconcile.
    """

    rig: Rig
    namespace: Namespace | None
    polecats: int
    convoys: int
    witness: Child | None
    refinery: Child | None
    credential: CredentialProblem | None = None
    rejected: tuple[str, ...] = ()
    unsent: tuple[str, ...] = ()
    accounts: tuple[Polecat, ...] = ()
    spenders: tuple[Polecat, ...] = ()
    watched: bool = True
    blocked: str = ""
    refusals: tuple[Refusal, ...] = ()


@frozen
class Caches:
    """The stores that the rig controller reads."""

    rigs: Store[Rig]
    namespaces: Store[Namespace]
    polecats: Store[Polecat]
    convoys: Store[Convoy]
    witnesses: Store[Witness]
    refineries: Store[Refinery]
    credentials: Credentials
    fence: Fence

    def observe(self, rig: Rig) -> Observed:
        """Read everything from the caches, without awaiting: one consistent moment."""
        name, namespace = rig.metadata.name, rig.spec.work_namespace
        convoys = self.convoys.by_index(CHILDREN_BY_RIG, name)
        polecats = list(self.polecats.by_index(POLECATS_BY_RIG, name))
        troubled = in_trouble(rig, polecats)
        return Observed(
            rig=rig,
            namespace=self.namespaces.get(ObjectKey("", namespace)),
            polecats=len(polecats),
            convoys=sum(convoy.status.phase not in ("Complete", "Failed") for convoy in convoys),
            witness=_child(self.witnesses.by_index(CHILDREN_BY_RIG, name), namespace),
            refinery=_child(self.refineries.by_index(CHILDREN_BY_RIG, name), namespace),
            credential=self.credentials.problem(rig),
            rejected=_names(troubled, RIG_CREDENTIAL_REJECTED),
            unsent=_names(troubled, RIG_CREDENTIAL_MISSING),
            watched=self.polecats.covers(namespace),
            blocked=self.fence.blocked(rig),
            accounts=tuple(polecat for polecat in polecats if is_account(polecat)),
            spenders=tuple(polecats) if rig.spec.budget != Budget() else (),
        )


def by_rig(child: Witness | Refinery | Convoy) -> Iterable[str]:
    """Index: what names a rig in `spec.rigRef`."""
    return (child.spec.rig_ref,) if child.spec.rig_ref else ()


def by_work_namespace(rig: Rig) -> Iterable[str]:
    """Index: the rigs that work in a namespace."""
    return (rig.spec.work_namespace,)


def _names(troubled: Iterable[Polecat], reason: str) -> tuple[str, ...]:
    return tuple(sorted(str(polecat.metadata.key) for polecat in troubled if trouble(polecat) == reason))


def _child(found: Iterable[Witness] | Iterable[Refinery], namespace: str) -> Child | None:
    for child in found:
        if child.metadata.namespace == namespace and child.metadata.deletion_timestamp is None:
            return Child(child.metadata.name, child.status.conditions)
    return None
