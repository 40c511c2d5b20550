"""Keys, metadata and addresses of kinds."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown_operator.runtime.objects import (
    MalformedObjectError,
    ObjectKey,
    ObjectMeta,
    OwnerReference,
    PartialObject,
    Resource,
    format_micro_time,
    format_time,
    parse_metadata,
    parse_time,
)

POD = Resource("", "v1", "Pod", "pods", namespaced=True, project=PartialObject.project)
ROLE = Resource(
    "rbac.authorization.k8s.io",
    "v1",
    "ClusterRole",
    "clusterroles",
    namespaced=False,
    project=PartialObject.project,
)


def test_reads_all_metadata() -> None:
    raw = {
        "metadata": {
            "name": "a",
            "namespace": "ns",
            "uid": "u",
            "resourceVersion": "12",
            "generation": 3,
            "labels": {"l": "1"},
            "annotations": {"a": "2"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "x"},
                {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "y", "controller": True},
            ],
            "finalizers": ["f"],
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "deletionTimestamp": "2026-01-02T03:04:05+02:00",
            "managedFields": [{"manager": "m"}],
        }
    }
    assert parse_metadata(raw) == ObjectMeta(
        name="a",
        namespace="ns",
        uid="u",
        resource_version=12,
        generation=3,
        labels={"l": "1"},
        annotations={"a": "2"},
        owner_references=(
            OwnerReference("v1", "Pod", "p", "x"),
            OwnerReference("apps/v1", "Deployment", "d", "y", controller=True),
        ),
        finalizers=("f",),
        creation_timestamp=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        deletion_timestamp=datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC),
    )


def test_absent_and_null_fields_are_empty() -> None:
    empty = dict.fromkeys(("labels", "annotations", "finalizers", "ownerReferences", "generation"))
    assert parse_metadata({"metadata": {"name": "a", **empty}}) == ObjectMeta("a")
    assert parse_metadata({"metadata": {"name": "a"}}).controller is None


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        (None, "metadata is not an object"),
        ({"name": 3}, r"metadata\.name is not a string"),
        ({"generation": "3"}, "generation is not an integer"),
        ({"resourceVersion": "abc"}, "resourceVersion 'abc' is not a number"),
        ({"labels": {"a": 1}}, "labels is not a map of strings"),
        ({"annotations": "a"}, "annotations is not a map of strings"),
        ({"finalizers": "f"}, "finalizers is not a list"),
        ({"finalizers": [1]}, "finalizers is not a list of strings"),
        ({"ownerReferences": [{}]}, "ownerReferences has a malformed entry"),
        ({"ownerReferences": ["x"]}, "ownerReferences has a malformed entry"),
        ({"creationTimestamp": "yesterday"}, "creationTimestamp 'yesterday' is not an RFC 3339 time"),
        ({"deletionTimestamp": "2026-01-02T03:04:05"}, "deletionTimestamp .* is not an RFC 3339 time"),
    ],
)
def test_says_what_does_not_fit(metadata: Mapping[str, Any] | None, complaint: str) -> None:
    with pytest.raises(MalformedObjectError, match=complaint):
        PartialObject.project({"metadata": metadata})


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    ["name", "labels", "finalizers", "ownerReferences", "generation", "resourceVersion", "creationTimestamp"]
)


@given(st.dictionaries(fields, json, max_size=4))
def test_whatever_the_server_sends_is_projected_or_refused(metadata: dict[str, Any]) -> None:
    with suppress(MalformedObjectError):
        parse_metadata({"metadata": metadata})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (POD.path(), "/api/v1/pods"),
        (POD.path("ns"), "/api/v1/namespaces/ns/pods"),
        (POD.path("ns", "a", "status"), "/api/v1/namespaces/ns/pods/a/status"),
        (POD.path("ns", "../b"), "/api/v1/namespaces/ns/pods/..%2Fb"),
        (ROLE.path("ignored"), "/apis/rbac.authorization.k8s.io/v1/clusterroles"),
        (ROLE.path("", "system:node"), "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode"),
    ],
)
def test_knows_where_its_objects_are(path: str, expected: str) -> None:
    assert path == expected


def test_names_read_as_people_write_them() -> None:
    assert [str(ObjectKey("ns", "a")), str(ObjectKey("", "a"))] == ["ns/a", "a"]
    assert [str(POD), str(ROLE)] == ["pods", "clusterroles.rbac.authorization.k8s.io"]
    assert [POD.api_version, ROLE.api_version] == ["v1", "rbac.authorization.k8s.io/v1"]


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])))
def test_times_come_back_as_they_went(moment: datetime) -> None:
    if moment.year < 1000 or moment.astimezone(UTC).year < 1000:
        return
    assert parse_time(format_micro_time(moment)) == moment
    assert parse_time(format_time(moment)) == moment.replace(microsecond=0)
