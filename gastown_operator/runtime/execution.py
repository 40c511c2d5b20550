"""Carry out a plan: the thin, impure half of every controller."""

from collections.abc import Mapping
from typing import Any, Protocol

from attrs import define, field, frozen

from gastown_operator.runtime.client import Client
from gastown_operator.runtime.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    ConnectionFailed,
    Forbidden,
    Invalid,
    NotFound,
    RuntimeFailure,
    ServerTimeout,
)
from gastown_operator.runtime.metrics import WriteMetrics
from gastown_operator.runtime.objects import Object, ObjectKey, OwnerReference, Raw, Resource
from gastown_operator.runtime.plan import (
    Action,
    Apply,
    Create,
    Delete,
    EventNote,
    MergePatch,
    Plan,
    Regarding,
    controller_of,
)
from gastown_operator.runtime.wire import key_of, uid_of


class NotOurs(RuntimeFailure):
    """The name we need is taken by an object that we do not control; it is neither adopted nor deleted."""

    def __init__(self, resource: Resource[Any], key: ObjectKey, controller: OwnerReference | None) -> None:
        """Keep what was found: `controller` is who controls the object, or None."""
        whose = f"controlled by {controller.kind} {controller.name}" if controller else "controlled by nobody"
        super().__init__(f"{resource.kind} {key} exists and is {whose}")
        self.resource = resource
        self.key = key
        self.controller = controller


@frozen
class Refusal:
    """Why an action cannot be done as things are; data for the next `plan` of the same object.

    NotOurs: the name is taken. Forbidden: RBAC, quota or an admission policy. Invalid, BadRequest: the server refuses the object.
    """

    action: Action
    error: NotOurs | Forbidden | Invalid | BadRequest


@frozen
class Execution:
    """What came of a plan. After a refusal nothing later in the plan was done: neither status nor events.

    `versions` has the newest resource version that the actions gave to an object of each kind.
    """

    refusal: Refusal | None = None
    requeue_after: float | None = None
    versions: Mapping[Resource[Any], int] = field(factory=dict)


class Recorder(Protocol):
    """Where events go; never blocks."""

    def event(self, regarding: Regarding, note: EventNote) -> None:
        """Record an event."""
        ...


class Versions(Protocol):
    """Where the resource versions of our own writes are remembered, for the read-your-own-writes gate."""

    def record(self, key: ObjectKey, resource: Resource[Any], namespace: str, resource_version: int) -> None:
        """Remember that the reconcile of `key` wrote this version of an object of this kind in `namespace`."""
        ...


@define(eq=False, repr=False)
class Executor:
    """Writes with preconditions, under one field manager, and tells the gate what it wrote."""

    _client: Client
    _recorder: Recorder
    _field_manager: str
    _gate: Versions
    _metrics: WriteMetrics

    async def execute(self, resource: Resource[Any], target: Object, plan: Plan) -> Execution:
        """Do the plan for `target`, an object of `resource`, in order: actions, status, events.

        The status is written only if the object is still as `target` says: a plan for an older state, or by a former leader whose
        call was long on its way, must not overwrite a newer one.

        Raises ApiError for what time may heal; what it will not is returned as a refusal.
        """
        key = target.metadata.key
        versions: dict[Resource[Any], int] = {}
        seen = target.metadata.resource_version
        for action in plan.actions:
            try:
                version = versions[action.resource] = await self._act(key, action)
                if (action.resource, action.key) == (resource, key):
                    seen = version
            except (NotOurs, Forbidden, Invalid, BadRequest) as error:
                return Execution(Refusal(action, error), plan.requeue_after)
        if plan.status is None:
            self._metrics.elided.inc()
        else:
            await self._write_status(resource, target, seen, plan.status)
        for note in plan.events:
            self._recorder.event(regarding(resource, target), note)
        return Execution(requeue_after=plan.requeue_after, versions=versions)

    async def _act(self, reconciled: ObjectKey, action: Action) -> int:
        return self._remember(reconciled, action.resource, action.key, await self._answer(action))

    async def _answer(self, action: Action) -> Raw:
        match action:
            case Create():
                return await self._create(action)
            case Delete():
                return await self._delete(action)
            case Apply(resource, key, body, force):
                return await self._client.apply(resource, key, body, self._field_manager, force=force)
            case MergePatch(resource, key, body, subresource):
                return await self._client.merge_patch(
                    resource, key, body, self._field_manager, subresource=subresource
                )

    async def _create(self, action: Create) -> Raw:
        try:
            return await self._client.create(action.resource, action.body, self._field_manager)
        except AlreadyExists:
            return await self._adopted(action)
        except (ConnectionFailed, ServerTimeout) as lost:
            return await self._settled(action, lost)

    async def _settled(self, action: Create, lost: ApiError) -> Raw:
        """The answer was lost: the write may have happened, so look before anyone tries again."""
        try:
            return await self._adopted(action)
        except NotFound:
            raise lost from None

    async def _adopted(self, action: Create) -> Raw:
        live = await self._client.get(action.resource, action.key)
        ours, theirs = controller_of(action.body), controller_of(live)
        if ours is None or theirs is None or ours.uid != theirs.uid:
            raise NotOurs(action.resource, action.key, theirs)
        return live

    async def _delete(self, action: Delete) -> Raw:
        try:
            return await self._client.delete(
                action.resource,
                action.key,
                uid=action.uid,
                grace_period_seconds=action.grace_period_seconds,
            )
        except (NotFound, Conflict):
            return {}  # gone, or the name belongs to a later object: the one we meant does not exist

    async def _write_status(
        self, resource: Resource[Any], target: Object, seen: int, status: Mapping[str, Any]
    ) -> None:
        metadata = target.metadata
        body = {"metadata": {"uid": metadata.uid, "resourceVersion": str(seen)}, "status": status}
        try:
            answer = await self._client.apply_status(resource, metadata.key, body, self._field_manager)
        except NotFound:
            return  # deleted meanwhile: there is nobody left to tell
        self._metrics.issued.inc()
        self._remember(metadata.key, resource, metadata.key, answer)

    def _remember(
        self, reconciled: ObjectKey, resource: Resource[Any], written: ObjectKey, answer: Raw
    ) -> int:
        """Tell the gate which version we wrote, and return it; 0 where the answer has none (a finished deletion)."""
        version = int(answer.get("metadata", {}).get("resourceVersion") or 0)
        if version:
            self._gate.record(reconciled, resource, written.namespace, version)
        return version


def regarding(resource: Resource[Any], target: Object) -> Regarding:
    """Return the reference by which an event names `target`."""
    metadata = target.metadata
    return Regarding(
        resource.api_version, resource.kind, metadata.key, metadata.uid, metadata.resource_version
    )


def regarding_raw(resource: Resource[Any], raw: Raw) -> Regarding:
    """Return the reference to an object of which only the JSON is at hand, and that perhaps malformed."""
    return Regarding(resource.api_version, resource.kind, key_of(raw), uid_of(raw))
