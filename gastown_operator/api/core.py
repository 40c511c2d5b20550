"""Projections of core kinds: only the fields that controllers read. There may be thousands of pods, so they are small."""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from sys import intern
from typing import Final, TypeVar

from attrs import frozen

from gastown_operator.runtime.objects import (
    MalformedObjectError,
    ObjectMeta,
    Raw,
    Resource,
    parse_metadata,
    parse_time,
)

T = TypeVar("T")


class PodPhase(StrEnum):
    """The kubelet's summary of a pod."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"

    @property
    def terminal(self) -> bool:
        """Whether no container of the pod will run again."""
        return self in _TERMINAL


#: Members by value, and the terminal ones, looked up once: Enum's own ways are slow, and every event of a pod asks.
_PHASES: Final = {phase.value: phase for phase in PodPhase}
_TERMINAL: Final = (PodPhase.SUCCEEDED, PodPhase.FAILED)


@frozen
class Waiting:
    """A container that has not started."""

    reason: str
    message: str


@frozen
class Running:
    """A container that runs."""

    started_at: datetime | None


@frozen
class Terminated:
    """A container that has ended. `message` is what it wrote to its termination log."""

    exit_code: int
    signal: int
    reason: str
    message: str
    started_at: datetime | None
    finished_at: datetime | None


@frozen
class ContainerStatus:
    """What the kubelet says about one container. At most one of the three states is set."""

    name: str
    ready: bool
    started: bool
    restart_count: int
    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


@frozen
class PodCondition:
    """A condition of a pod, such as `PodScheduled` or `DisruptionTarget`."""

    type: str
    status: str
    reason: str
    message: str


@frozen
class Container:
    """A container of a pod's specification."""

    name: str
    image: str


@frozen
class Pod:
    """What controllers read of a Pod."""

    metadata: ObjectMeta
    node_name: str
    init_containers: tuple[Container, ...]
    containers: tuple[Container, ...]
    phase: PodPhase
    reason: str
    message: str
    conditions: tuple[PodCondition, ...]
    init_container_statuses: tuple[ContainerStatus, ...]
    container_statuses: tuple[ContainerStatus, ...]

    def container(self, name: str) -> ContainerStatus | None:
        """Return the status of the named container, init container or not, if the kubelet has reported one."""
        statuses = (*self.init_container_statuses, *self.container_statuses)
        return next((status for status in statuses if status.name == name), None)

    def condition(self, type_: str) -> PodCondition | None:
        """Return the condition of that type, if there is one."""
        return next((condition for condition in self.conditions if condition.type == type_), None)


@frozen
class Namespace:
    """What controllers read of a Namespace."""

    metadata: ObjectMeta
    phase: str


@frozen
class Node:
    """What controllers read of a Node."""

    metadata: ObjectMeta
    kubelet_version: str
    unschedulable: bool


def _pod(raw: Raw) -> Pod:
    spec, status = _map(raw, "spec"), _map(raw, "status")
    return Pod(
        metadata=parse_metadata(raw),
        node_name=_word(spec, "nodeName"),
        init_containers=_each(spec, "initContainers", _container),
        containers=_each(spec, "containers", _container),
        phase=_phase(status),
        reason=_word(status, "reason"),
        message=_text(status, "message"),
        conditions=_each(status, "conditions", _condition),
        init_container_statuses=_each(status, "initContainerStatuses", _container_status),
        container_statuses=_each(status, "containerStatuses", _container_status),
    )


def _namespace(raw: Raw) -> Namespace:
    return Namespace(parse_metadata(raw), _word(_map(raw, "status"), "phase"))


def _node(raw: Raw) -> Node:
    return Node(
        metadata=parse_metadata(raw),
        kubelet_version=_word(_map(_map(raw, "status"), "nodeInfo"), "kubeletVersion"),
        unschedulable=_map(raw, "spec").get("unschedulable") is True,
    )


def _phase(status: Raw) -> PodPhase:
    value = status.get("phase") or "Pending"
    phase = _PHASES.get(value) if isinstance(value, str) else None
    if phase is None:
        raise MalformedObjectError(f"status.phase {value!r} is not a pod phase")
    return phase


def _container(raw: Raw) -> Container:
    return _shared_container(_text(raw, "name"), _text(raw, "image"))


def _condition(raw: Raw) -> PodCondition:
    if raw.get("message"):
        return PodCondition(
            _word(raw, "type"), _word(raw, "status"), _word(raw, "reason"), _text(raw, "message")
        )
    return _shared_condition(_text(raw, "type"), _text(raw, "status"), _text(raw, "reason"))


# What many pods have in common is made and kept once.


@lru_cache(maxsize=1024)
def _shared_container(name: str, image: str) -> Container:
    return Container(intern(name), intern(image))


@lru_cache(maxsize=1024)
def _shared_condition(type_: str, status: str, reason: str) -> PodCondition:
    return PodCondition(intern(type_), intern(status), intern(reason), "")


def _container_status(raw: Raw) -> ContainerStatus:
    state = _map(raw, "state")
    return ContainerStatus(
        _word(raw, "name"),
        raw.get("ready") is True,
        raw.get("started") is True,
        _integer(raw, "restartCount"),
        None if state.get("waiting") is None else _waiting(_map(state, "waiting")),
        None if state.get("running") is None else _running(_map(state, "running")),
        None if state.get("terminated") is None else _terminated(_map(state, "terminated")),
    )


def _waiting(raw: Raw) -> Waiting:
    return Waiting(_word(raw, "reason"), _text(raw, "message"))


def _running(raw: Raw) -> Running:
    return Running(_time(raw, "startedAt"))


def _terminated(raw: Raw) -> Terminated:
    return Terminated(
        exit_code=_integer(raw, "exitCode"),
        signal=_integer(raw, "signal"),
        reason=_word(raw, "reason"),
        message=_text(raw, "message"),
        started_at=_time(raw, "startedAt"),
        finished_at=_time(raw, "finishedAt"),
    )


def _map(raw: Raw, name: str) -> Raw:
    value = raw.get(name)
    if isinstance(value, dict):
        return value
    if value is None:
        return {}
    raise MalformedObjectError(f"{name} is not an object")


def _each(raw: Raw, name: str, project: Callable[[Raw], T]) -> tuple[T, ...]:
    value = raw.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not _OBJECTS.issuperset(map(type, value)):
        raise MalformedObjectError(f"{name} is not a list of objects")
    return tuple(map(project, value))


def _text(raw: Raw, name: str) -> str:
    value = raw.get(name)
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    raise MalformedObjectError(f"{name} is not a string")


def _word(raw: Raw, name: str) -> str:
    """A string that many objects share: interned, so that all of them share one copy."""
    return intern(_text(raw, name))


def _integer(raw: Raw, name: str) -> int:
    value = raw.get(name)
    if type(value) is int:
        return value
    if value is None:
        return 0
    raise MalformedObjectError(f"{name} is not an integer")


def _time(raw: Raw, name: str) -> datetime | None:
    text = _text(raw, name)
    try:
        return parse_time(text) if text else None
    except ValueError:
        raise MalformedObjectError(f"{name} {text!r} is not an RFC 3339 time") from None


_OBJECTS: Final = frozenset({dict})

POD: Final = Resource("", "v1", "Pod", "pods", namespaced=True, project=_pod)
NODE: Final = Resource("", "v1", "Node", "nodes", namespaced=False, project=_node)
NAMESPACE: Final = Resource("", "v1", "Namespace", "namespaces", namespaced=False, project=_namespace)
