"""Small things that every controller needs: owner references and finalizers."""

from typing import Any

from gastown_operator.runtime.objects import ObjectKey, ObjectMeta, Resource
from gastown_operator.runtime.plan import MergePatch


def controller_reference(
    resource: Resource[Any], owner: ObjectMeta, *, namespace: str | None = None, block_deletion: bool = True
) -> dict[str, Any]:
    """Return the owner reference by which `owner`, an object of `resource`, controls an object in `namespace`.

    `namespace` defaults to the owner's own. Raises ValueError for an owner that the garbage collector would not find:
    one in another namespace, or a namespaced one of a cluster-scoped object ("").
    """
    if resource.namespaced and namespace is not None and namespace != owner.namespace:
        raise ValueError(f"{resource.kind} {owner.key} cannot own an object in namespace {namespace!r}")
    if not owner.uid:
        raise ValueError(f"{resource.kind} {owner.key} has no UID")
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": block_deletion,
    }


def has_finalizer(metadata: ObjectMeta, finalizer: str) -> bool:
    """Tell whether the object waits for this finalizer."""
    return finalizer in metadata.finalizers


def add_finalizer(resource: Resource[Any], metadata: ObjectMeta, finalizer: str) -> MergePatch:
    """Return the write that adds a finalizer; do it before the first effect that needs cleaning up."""
    return _finalizers(resource, metadata, (*metadata.finalizers, finalizer))


def remove_finalizer(resource: Resource[Any], metadata: ObjectMeta, *finalizers: str) -> MergePatch:
    """Return the write that removes finalizers and keeps those of others."""
    kept = tuple(each for each in metadata.finalizers if each not in finalizers)
    return _finalizers(resource, metadata, kept)


def _finalizers(resource: Resource[Any], metadata: ObjectMeta, finalizers: tuple[str, ...]) -> MergePatch:
    """Replace the list as a whole, which is safe only because the version says which list was read."""
    body = {
        "metadata": {
            "uid": metadata.uid,
            "resourceVersion": str(metadata.resource_version),
            "finalizers": list(finalizers),
        }
    }
    return MergePatch(resource, ObjectKey(metadata.namespace, metadata.name), body)
