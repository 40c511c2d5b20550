"""What a pure `plan` returns: the writes to make, as data.

A plan is carried out by `execution.Executor`, in this order: the actions, then the status, then the events.
"""

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

from gastown_operator.runtime.objects import ObjectKey, OwnerReference, Raw, Resource

EventType = Literal["Normal", "Warning"]


@frozen
class Create:
    """Create an object with a deterministic name and a controller reference.

    If the name is taken by an object of the same controller, that is success; by any other, `NotOurs`.
    """

    resource: Resource[Any]
    body: Raw

    @property
    def key(self) -> ObjectKey:
        """The key of the object to create."""
        metadata = self.body["metadata"]
        return ObjectKey(metadata.get("namespace", ""), metadata["name"])


@frozen
class Delete:
    """Delete exactly the object with this UID; that it is gone already is success."""

    resource: Resource[Any]
    key: ObjectKey
    uid: str
    grace_period_seconds: int | None = None


@frozen
class Apply:
    """Server-side apply of the fields in `body`. Without `metadata.uid` in it, a missing object is created.

    Without `force`, a field that another manager has set otherwise is a Conflict.
    """

    resource: Resource[Any]
    key: ObjectKey
    body: Raw = field(repr=False)
    force: bool = True


@frozen
class MergePatch:
    """JSON merge patch; preconditions are `metadata.uid` and `metadata.resourceVersion` of the body.

    Never for a list that others write too: a merge patch replaces it whole.
    """

    resource: Resource[Any]
    key: ObjectKey
    body: Raw
    subresource: str = ""


Action = Create | Delete | Apply | MergePatch


@frozen
class Regarding:
    """The object that an event is about."""

    api_version: str
    kind: str
    key: ObjectKey
    uid: str
    resource_version: int = 0


@frozen
class EventNote:
    """An Event to record about the reconciled object; `action` is what was being done (default: the reason)."""

    type: EventType
    reason: str
    message: str
    action: str = ""
    related: Regarding | None = None


@frozen
class Plan:
    """The outcome of one decision.

    `status` is the whole status that this controller owns, or None if it is as it should be: whoever plans compares.
    `requeue_after` in seconds asks for another look without an event.
    """

    actions: tuple[Action, ...] = ()
    status: Mapping[str, Any] | None = None
    events: tuple[EventNote, ...] = ()
    requeue_after: float | None = None


def controller_of(body: Raw) -> OwnerReference | None:
    """Return the controlling owner that an object's JSON names, if any."""
    for owner in body.get("metadata", {}).get("ownerReferences") or ():
        if owner.get("controller"):
            return OwnerReference(
                owner["apiVersion"], owner["kind"], owner["name"], owner["uid"], controller=True
            )
    return None
