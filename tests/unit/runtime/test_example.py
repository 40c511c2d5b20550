"""The example of the documentation decides by a table."""

import pytest

from docs.examples.quota_operator import NAMESPACE, QUOTA, plan
from gastown_operator.runtime.helpers import controller_reference
from gastown_operator.runtime.objects import Object, PartialObject
from gastown_operator.runtime.plan import Create, Delete


def namespace(uid: str = "namespace-uid", **labels: str) -> PartialObject:
    return PartialObject.project({"metadata": {"name": "team", "uid": uid, "labels": labels}})


def quota(owner: Object | None) -> PartialObject:
    owners = [] if owner is None else [controller_reference(NAMESPACE, owner.metadata)]
    metadata = {"namespace": "team", "name": "small", "uid": "quota-uid", "ownerReferences": owners}
    return PartialObject.project({"metadata": metadata})


@pytest.mark.parametrize(
    ("found", "present", "actions"),
    [
        (namespace(size="small"), None, [Create]),
        (namespace(size="small"), quota(namespace()), []),
        (namespace(size="large"), quota(namespace()), [Delete]),
        (namespace(size="large"), None, []),
        (namespace(), quota(None), []),
        (namespace(), quota(namespace(uid="of a namesake before")), []),
    ],
)
def test_a_small_namespace_has_a_quota_and_what_is_not_ours_is_left_alone(
    found: PartialObject, present: PartialObject | None, actions: list[type]
) -> None:
    decided = plan(found, present)
    assert [type(action) for action in decided.actions] == actions
    assert all(action.resource is QUOTA for action in decided.actions)
