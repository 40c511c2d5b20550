"""Objects stored under the older operator's CRDs stay readable and writable after ours are applied over them.

The CRDs of these tests have an API group of their own, so that others can use the same API server meanwhile.
"""

import copy
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from attrs import evolve, frozen

from gastown_operator.api.codec import to_json
from gastown_operator.api.crd import definition
from gastown_operator.api.kinds import KINDS, Kind
from gastown_operator.api.schema import Schema
from gastown_operator.runtime.objects import Resource
from tests.apiserver.client import CRDS, JSON, Client, await_served
from tests.apiserver.schemas import VERSIONS, enumerations, filled, older, root
from tests.support.waiting import eventually

CHANGES: dict[str, JSON] = {
    "rigs": {"settings": {"maxPolecats": 9}},
    "polecats": {"beadID": "gt-2"},
    "convoys": {"parallelism": 3},
    "witnesses": {"escalationTarget": "slack"},
    "refineries": {"targetBranch": "trunk"},
    "beadstores": {"syncInterval": "10m"},
}


@frozen
class Stored:
    """An object as it was stored before the upgrade."""

    kind: Kind
    resource: Resource[Any]
    before: JSON


@frozen
class Upgrade:
    """A group whose CRDs were the older operator's and are now ours, and the objects stored in between."""

    group: str
    objects: tuple[Stored, ...]
    bare: tuple[Stored, ...]


def regrouped(crd: Schema, group: str) -> Schema:
    """Return the CustomResourceDefinition for another API group."""
    moved = copy.deepcopy(crd)
    moved["spec"]["group"] = group
    moved["metadata"] = {"name": f"{crd['spec']['names']['plural']}.{group}"}
    return moved


def apply_all(client: Client, crds: list[Schema]) -> None:
    for crd in crds:
        client.apply(f"{CRDS}/{crd['metadata']['name']}", crd)
    for crd in crds:
        await_served(client, crd)


def store(
    client: Client, kind: Kind, resource: Resource[Any], namespace: str, schema: Schema
) -> Iterator[Stored]:
    """Store one object per variant, with every field of the schema set."""
    for variant in range(enumerations(schema)):
        metadata: JSON = {
            "name": f"variant-{variant}",
            "finalizers": [f"gastown.io/{kind.resource.plural}-cleanup"],
        }
        if resource.namespaced:
            metadata["namespace"] = namespace
        spec, status = (filled(schema["properties"][part], variant) for part in ("spec", "status"))
        created = client.create(resource, {"metadata": metadata, "spec": spec}).object()
        before = client.patch(resource, created, {"status": status}, "status").object()
        assert before["spec"].items() >= spec.items()
        assert before["status"] == status
        yield Stored(kind, resource, before)


def store_bare(client: Client, kind: Kind, resource: Resource[Any], namespace: str) -> Stored:
    """Store an object without a spec, which the older schemas of these kinds allow."""
    metadata = {"name": "bare"} | ({"namespace": namespace} if resource.namespaced else {})
    return Stored(kind, resource, client.create(resource, {"metadata": metadata}).object())


@pytest.fixture(params=VERSIONS)
def upgrade(request: pytest.FixtureRequest, client: Client, namespace: str) -> Iterator[Upgrade]:
    group = f"older-{uuid4().hex[:8]}.gastown.test"
    before = [regrouped(older(kind, request.param), group) for kind in KINDS]
    after = [regrouped(definition(kind), group) for kind in KINDS]
    resources = [evolve(kind.resource, group=group) for kind in KINDS]
    try:
        apply_all(client, before)
        objects: list[Stored] = []
        bare: list[Stored] = []
        for kind, resource, crd in zip(KINDS, resources, before, strict=True):
            objects += store(client, kind, resource, namespace, root(crd))
            if "spec" not in root(crd).get("required", ()):
                bare.append(store_bare(client, kind, resource, namespace))
        apply_all(client, after)
        await_new_schemas(client, resources, namespace)
        yield Upgrade(group, tuple(objects), tuple(bare))
    finally:
        for resource in resources:
            release(client, resource)
        for crd in after:
            client.request("DELETE", f"{CRDS}/{crd['metadata']['name']}").object()


def await_new_schemas(client: Client, resources: list[Resource[Any]], namespace: str) -> None:
    """Wait until the server prunes and defaults by our schemas, seen by fields that only they have."""
    rigs, polecats = resources[0], resources[1]
    rig = {"metadata": {"name": f"probe-{namespace}"}, "spec": {"gitURL": "u", "beadsPrefix": "gt"}}
    polecat = {"metadata": {"name": "probe", "namespace": namespace}, "spec": {"rig": "r", "priority": 1}}

    def served() -> bool:
        new_rig = client.create(rigs, rig, dry_run=True)
        new_polecat = client.create(polecats, polecat, dry_run=True)
        return (
            new_rig.ok
            and "refPrefix" in new_rig.body["spec"]
            and "priority" in new_polecat.body.get("spec", {})
        )

    eventually(served, "the new schemas are in force")


def release(client: Client, resource: Resource[Any]) -> None:
    """Remove the finalizers, so that the objects can go with their CRD."""
    listed = client.request("GET", resource.path())
    for stored in listed.body.get("items", ()) if listed.ok else ():
        client.patch(resource, stored, {"metadata": {"finalizers": None}}).object()


def same_or_more(before: Any, after: Any) -> bool:
    """Whether everything stored before is still there, unchanged; the server may have added defaults."""
    if isinstance(before, dict) and isinstance(after, dict):
        return all(name in after and same_or_more(value, after[name]) for name, value in before.items())
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(same_or_more, before, after))
    return bool(before == after)


@pytest.mark.timeout(120)
def test_stored_objects_stay_readable_and_writable(client: Client, upgrade: Upgrade) -> None:
    assert len(upgrade.objects) >= len(KINDS)
    for stored in upgrade.objects:
        now = client.get(stored.resource, stored.before)
        assert same_or_more(stored.before["spec"], now["spec"])
        assert now["status"] == stored.before["status"]
        assert stored.resource.project(now).metadata.name == now["metadata"]["name"]
        assert_writable(client, stored)
    for stored in upgrade.bare:
        stored.resource.project(client.get(stored.resource, stored.before))
        client.patch(stored.resource, stored.before, {"metadata": {"annotations": {"a": "b"}}}).object()
        client.patch(stored.resource, stored.before, {"status": {"conditions": []}}, "status").object()


def assert_writable(client: Client, stored: Stored) -> None:
    """Metadata, spec and status can be changed as people, other programs and our controllers do."""
    resource, before = stored.resource, stored.before
    change = CHANGES[resource.plural]
    client.patch(resource, before, {"metadata": {"annotations": {"a": "b"}, "finalizers": []}}).object()
    changed = client.patch(resource, before, {"spec": change}).object()
    assert same_or_more(change, changed["spec"])
    patched = client.patch(
        resource, before, {"status": {"phase": before["status"]["phase"]}}, "status"
    ).object()
    status = to_json(resource.project(patched).status)
    applied = client.apply_status(resource, before, status, "gastown-upgrade").object()
    assert same_or_more(status, applied["status"])
