"""Which keys an event wakes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve

from gastown_operator.runtime.controller import (
    Controller,
    Result,
    for_object,
    generation_changed,
    mapped,
    owned_by,
)
from gastown_operator.runtime.objects import ObjectKey, ObjectMeta, OwnerReference, PartialObject, Resource
from gastown_operator.runtime.store import Event

RIG = Resource("example.com", "v2", "Rig", "rigs", namespaced=False, project=PartialObject.project)
POLECAT = Resource("example.com", "v2", "Polecat", "polecats", namespaced=True, project=PartialObject.project)
POD = Resource("", "v1", "Pod", "pods", namespaced=True, project=PartialObject.project)


def pod(*owners: OwnerReference) -> PartialObject:
    return PartialObject(ObjectMeta("pod", "ns", "u", owner_references=owners))


def owner(kind: str, name: str, *, group: str = "example.com", controller: bool = True) -> OwnerReference:
    return OwnerReference(f"{group}/v1", kind, name, "uid", controller=controller)


@pytest.mark.parametrize(
    ("old", "new", "kind", "expected"),
    [
        (None, pod(owner("Polecat", "a")), POLECAT, {ObjectKey("ns", "a")}),
        (None, pod(owner("Rig", "r")), RIG, {ObjectKey("", "r")}),
        (pod(owner("Polecat", "a")), None, POLECAT, {ObjectKey("ns", "a")}),
        (
            pod(owner("Polecat", "a")),
            pod(owner("Polecat", "b")),
            POLECAT,
            {ObjectKey("ns", "a"), ObjectKey("ns", "b")},
        ),
        (None, pod(owner("Polecat", "a", controller=False)), POLECAT, set()),
        (None, pod(owner("Polecat", "a", group="other.com")), POLECAT, set()),
        (None, pod(owner("Rig", "a")), POLECAT, set()),
        (None, pod(), POLECAT, set()),
    ],
)
def test_an_owned_object_wakes_the_owners_it_has_and_had(
    old: PartialObject | None, new: PartialObject | None, kind: Resource[Any], expected: set[ObjectKey]
) -> None:
    assert owned_by(POD, kind).keys(Event(old, new)) == expected


def test_an_object_wakes_itself_and_a_function_wakes_what_it_returns_once() -> None:
    event = Event(None, pod())
    assert for_object(POD).keys(event) == {ObjectKey("ns", "pod")}
    twice = mapped(POD, lambda seen: [ObjectKey("x", seen.object.metadata.name)] * 2)
    assert twice.keys(event) == {ObjectKey("x", "pod")}
    assert for_object(POD, lambda _: False).keys(event) == frozenset()


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        ({"resource_version": 5}, False),
        ({"generation": 2}, True),
        ({"labels": {"a": "b"}}, True),
        ({"annotations": {"a": "b"}}, True),
        ({"finalizers": ("f",)}, True),
        ({"deletion_timestamp": datetime(2026, 1, 1, tzinfo=UTC)}, True),
        ({"uid": "other"}, True),
    ],
)
def test_changes_of_status_alone_can_be_ruled_out(change: Mapping[str, Any], passes: bool) -> None:
    old = pod()
    new = PartialObject(evolve(old.metadata, **change))
    assert generation_changed(Event(old, new)) is passes
    assert generation_changed(Event(None, new))
    assert generation_changed(Event(old, None))


def test_an_event_without_objects_is_none() -> None:
    with pytest.raises(ValueError, match="old or a new"):
        _ = Event[PartialObject](None, None).object


class Idle:
    async def reconcile(self, key: ObjectKey) -> Result:
        raise AssertionError(key)


@pytest.mark.parametrize(("name", "concurrency"), [("Bad", 1), ("", 1), ("good", 0)])
def test_a_controller_is_checked_when_it_is_made(name: str, concurrency: int) -> None:
    with pytest.raises(ValueError, match=r"name|concurrency"):
        Controller(name, Idle(), [for_object(POD)], concurrency=concurrency)
