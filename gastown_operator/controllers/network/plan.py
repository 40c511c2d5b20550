"""What to do about the policies of a namespace: pure."""

from collections.abc import Iterator

from gastown_operator.api import labels, names
from gastown_operator.api.networkpolicy import NETWORK_POLICY, NetworkPolicy, canonical
from gastown_operator.api.rig import RIG
from gastown_operator.controllers.network.observe import Observed
from gastown_operator.controllers.network.policy import BLOCKED, JSON, OUR_LABELS, WALL, rig_policy, wall
from gastown_operator.controllers.network.settings import NetworkSettings
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.plan import Apply, Delete, Plan

_OUR_ANNOTATIONS = (labels.RIG, BLOCKED)


def plan(observed: Observed, settings: NetworkSettings) -> Plan:
    """Return the policies to write because they are missing or differ, and those to delete because no rig and no pod needs them."""
    if observed.namespace.phase == "Terminating":
        return Plan()  # nothing can be created there, and all of it goes
    name = observed.namespace.metadata.name
    stored = {policy.metadata.name: policy for policy in observed.policies}
    wanted = {body["metadata"]["name"]: body for body in _wanted(observed, settings)}
    unwanted = [
        stored[each] for each in sorted(stored.keys() - wanted.keys()) if not _needed(stored[each], observed)
    ]
    return Plan(
        actions=(
            *(
                Apply(NETWORK_POLICY, ObjectKey(name, each), body)
                for each, body in wanted.items()
                if not _is_right(stored.get(each), body)
            ),
            *(Delete(NETWORK_POLICY, policy.metadata.key, policy.metadata.uid) for policy in unwanted),
        ),
    )


def _wanted(observed: Observed, settings: NetworkSettings) -> Iterator[JSON]:
    """The wall first. A rig that is being deleted gets nothing new, and keeps what it has until it is gone."""
    name = observed.namespace.metadata.name
    staying = [rig for rig in observed.rigs if rig.metadata.deletion_timestamp is None]
    if staying:
        yield wall(name)
    for rig in staying:
        yield rig_policy(rig, name, settings)


def _needed(policy: NetworkPolicy, observed: Observed) -> bool:
    """Whether a policy that is not wanted any more stays: for a rig that is being deleted, and for pods that still run."""
    if policy.metadata.name == WALL:
        return bool(observed.rigs or observed.pods)
    rig = policy.metadata.annotations.get(labels.RIG, "")
    of_rig = names.label_value(rig)
    return any(rig == going.metadata.name for going in observed.rigs) or any(
        pod.metadata.labels.get(labels.RIG) == of_rig for pod in observed.pods
    )


def _is_right(policy: NetworkPolicy | None, body: JSON) -> bool:
    """Whether what is stored is what we would write; others' labels, annotations and owners do not count.

    A rig that owns its policy, as it once did, would take it away before its pods have ended.
    """
    if policy is None or policy.spec != canonical(body["spec"]):
        return False
    metadata, wanted = policy.metadata, body["metadata"]
    return (
        all(metadata.labels.get(key) == value for key, value in OUR_LABELS.items())
        and all(metadata.annotations.get(key) == wanted["annotations"].get(key) for key in _OUR_ANNOTATIONS)
        and all(owner.kind != RIG.kind for owner in metadata.owner_references)
    )
