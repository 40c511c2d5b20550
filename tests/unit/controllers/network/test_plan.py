"""What is decided about the policies of a namespace."""

from typing import Any

import attrs

from gastown_operator.api import labels
from gastown_operator.api.core import POD, Pod
from gastown_operator.api.networkpolicy import NETWORK_POLICY, NetworkPolicy
from gastown_operator.api.rig import RIG, Rig
from gastown_operator.controllers.network.observe import Observed, namespaces_of, running_by_namespace
from gastown_operator.controllers.network.plan import plan
from gastown_operator.controllers.network.settings import NetworkSettings
from gastown_operator.runtime.objects import OwnerReference
from gastown_operator.runtime.plan import Apply, Delete, Plan
from tests.unit.controllers.objects import WORKERS, namespace, rig, rig_body

SETTINGS = NetworkSettings()
INSIDE = "ssh://git@10.250.0.1:2222/a.git"


def observed(*rigs: Rig, policies: tuple[NetworkPolicy, ...] = (), pods: tuple[Pod, ...] = ()) -> Observed:
    return Observed(namespace(), rigs, policies, pods)


def pod_of(name: str, phase: str = "Running") -> Pod:
    """A pod of a rig."""
    metadata = {"namespace": WORKERS, "name": f"polecat-of-{name}", "labels": {labels.RIG: name}}
    return POD.project({"metadata": metadata, "status": {"phase": phase}})


def bodies(decided: Plan) -> list[Any]:
    return [action.body for action in decided.actions if isinstance(action, Apply)]


def stored(decided: Plan) -> tuple[NetworkPolicy, ...]:
    """The policies of a decision as the API server would store them: empty lists are left out."""
    return tuple(_stored(action.body) for action in decided.actions if isinstance(action, Apply))


def _stored(body: Any) -> NetworkPolicy:
    spec = {name: value for name, value in body["spec"].items() if value != []}
    metadata = {"uid": f"uid-{body['metadata']['name']}", "resourceVersion": "1", **body["metadata"]}
    return NETWORK_POLICY.project({"metadata": metadata, "spec": spec})


def going(name: str) -> Rig:
    body = rig_body(name)
    body["metadata"]["deletionTimestamp"] = "2026-11-24T12:00:00Z"
    return RIG.project(body)


def written(decided: Plan) -> list[str]:
    return [action.key.name for action in decided.actions if isinstance(action, Apply)]


def deleted(decided: Plan) -> list[str]:
    return [action.key.name for action in decided.actions if isinstance(action, Delete)]


def test_a_namespace_gets_a_wall_and_a_policy_for_each_rig() -> None:
    decided = plan(observed(rig("one"), rig("two")), SETTINGS)
    assert written(decided) == ["default-deny-gastown", "gastown-one", "gastown-two"]
    assert {action.key.namespace for action in decided.actions} == {WORKERS}


def test_what_is_right_is_not_written_again() -> None:
    policies = stored(plan(observed(rig("one"), rig("two", gitURL=INSIDE)), SETTINGS))
    assert plan(observed(rig("one"), rig("two", gitURL=INSIDE), policies=policies), SETTINGS) == Plan()


def test_labels_annotations_and_owners_of_others_are_left_alone() -> None:
    wall, policy = stored(plan(observed(rig()), SETTINGS))
    metadata = attrs.evolve(
        policy.metadata,
        labels={**policy.metadata.labels, "team": "a"},
        annotations={**policy.metadata.annotations, "note": "b"},
    )
    policies = (wall, attrs.evolve(policy, metadata=metadata))
    assert plan(observed(rig(), policies=policies), SETTINGS) == Plan()


def test_drift_is_repaired() -> None:
    wall, policy = stored(plan(observed(rig()), SETTINGS))
    opened = attrs.evolve(policy, spec=policy.spec.replace('"port":443', '"port":444'))
    assert written(plan(observed(rig(), policies=(wall, opened)), SETTINGS)) == ["gastown-project"]
    assert written(plan(observed(rig(), policies=(policy,)), SETTINGS)) == ["default-deny-gastown"]


def test_a_changed_rig_changes_its_policy_alone() -> None:
    policies = stored(plan(observed(rig("one"), rig("two")), SETTINGS))
    changed = rig("two", network={"enforce": False})
    assert written(plan(observed(rig("one"), changed, policies=policies), SETTINGS)) == ["gastown-two"]


def test_a_rig_that_left_takes_its_policy_with_it() -> None:
    policies = stored(plan(observed(rig("one"), rig("two")), SETTINGS))
    decided = plan(observed(rig("one"), policies=policies), SETTINGS)
    assert (written(decided), deleted(decided)) == ([], ["gastown-two"])


def test_what_limits_pods_that_still_run_stays_without_their_rig() -> None:
    policies = stored(plan(observed(rig("one"), rig("two")), SETTINGS))
    decided = plan(observed(policies=policies, pods=(pod_of("two"),)), SETTINGS)
    assert (written(decided), deleted(decided)) == ([], ["gastown-one"])


def test_a_pod_that_has_ended_needs_no_policy() -> None:
    assert list(running_by_namespace(pod_of("one"))) == [WORKERS]
    assert [
        *running_by_namespace(pod_of("one", "Failed")),
        *running_by_namespace(pod_of("one", "Succeeded")),
    ] == []


def test_a_rig_is_not_left_the_owner_of_its_policy() -> None:
    wall, policy = stored(plan(observed(rig()), SETTINGS))
    owner = OwnerReference("gastown.gastown.io/v1alpha1", "Rig", "project", "rig-project", controller=True)
    owned = attrs.evolve(policy, metadata=attrs.evolve(policy.metadata, owner_references=(owner,)))
    decided = plan(observed(rig(), policies=(wall, owned)), SETTINGS)
    assert written(decided) == ["gastown-project"]
    assert all("ownerReferences" not in body["metadata"] for body in bodies(decided))


def test_nothing_of_ours_stays_in_a_namespace_that_no_rig_uses() -> None:
    policies = stored(plan(observed(rig()), SETTINGS))
    decided = plan(observed(policies=policies), SETTINGS)
    assert deleted(decided) == ["default-deny-gastown", "gastown-project"]
    assert all(isinstance(action, Delete) and action.uid for action in decided.actions)


def test_a_rig_that_is_being_deleted_keeps_what_it_has_and_gets_nothing_new() -> None:
    policies = stored(plan(observed(rig()), SETTINGS))
    assert plan(observed(going("project"), policies=policies), SETTINGS) == Plan()
    assert plan(observed(going("project")), SETTINGS) == Plan()


def test_nothing_is_written_into_a_namespace_that_is_being_deleted() -> None:
    assert plan(Observed(namespace(phase="Terminating"), (rig(),), ()), SETTINGS) == Plan()


def test_polecats_run_in_the_work_namespace_and_in_the_allowed_ones() -> None:
    assert list(namespaces_of(rig())) == [WORKERS]
    assert list(namespaces_of(rig(allowedNamespaces=["a", WORKERS, "b"]))) == [WORKERS, "a", "b"]
