"""What the runtime knows of every Kubernetes object: keys, metadata, and how a kind is addressed and projected.

A projection is a frozen attrs class that keeps only the fields its readers need. It is what the caches hold,
so it must be immutable all the way down: tuples for lists, `MappingProxyType` for maps.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from sys import intern
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from urllib.parse import quote

from attrs import field, frozen

Raw = Mapping[str, Any]
"""A decoded JSON object as the API server sent it."""

EMPTY: Mapping[str, str] = MappingProxyType({})
_STRINGS = frozenset({str})


class MalformedObjectError(ValueError):
    """An object does not have the shape that its projection needs."""


class ObjectKey(NamedTuple):
    """Names an object within its kind; the namespace is empty for cluster-scoped kinds.

    A tuple rather than an attrs class: it is hashed on every event, and tuples hash in C.
    """

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@frozen
class OwnerReference:
    """One entry of `metadata.ownerReferences`."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False


@frozen
class ObjectMeta:
    """The metadata that controllers read; `managedFields` and the like are dropped.

    Resource versions are compared as integers, which Kubernetes guarantees since KEP-5504 (and etcd always gave).
    """

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: int = 0
    generation: int = 0
    labels: Mapping[str, str] = EMPTY
    annotations: Mapping[str, str] = EMPTY
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None

    @property
    def key(self) -> ObjectKey:
        """The object's key within its kind."""
        return ObjectKey(self.namespace, self.name)

    @property
    def controller(self) -> OwnerReference | None:
        """The owner that manages this object, of which the API server allows one at most."""
        for owner in self.owner_references:
            if owner.controller:
                return owner
        return None

    def controlled_by(self, owner: "ObjectMeta") -> bool:
        """Tell whether `owner` manages this object; a namesake that came after it does not."""
        controller = self.controller
        return controller is not None and bool(owner.uid) and controller.uid == owner.uid


class Object(Protocol):
    """Anything with Kubernetes metadata; every projection is one."""

    @property
    def metadata(self) -> ObjectMeta:
        """The object's metadata."""
        ...


@frozen
class PartialObject:
    """The projection of a kind of which only the metadata matters."""

    metadata: ObjectMeta

    @classmethod
    def project(cls, raw: Raw) -> "PartialObject":
        """Keep nothing but the metadata. Raises MalformedObjectError."""
        return cls(parse_metadata(raw))


T = TypeVar("T", bound=Object)
T_co = TypeVar("T_co", bound=Object, covariant=True)


@frozen(cache_hash=True)
class Resource(Generic[T_co]):
    """One served kind: where its objects live in the API, and the projection in which they are cached.

    `project` raises MalformedObjectError for an object that does not fit; the reflector then reports and skips it.
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    project: Callable[[Raw], T_co] = field(repr=False)

    @property
    def api_version(self) -> str:
        """`group/version`, or the bare version for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the URL path of a collection (no name), an object, or a subresource of it, percent-encoded."""
        segments = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace and self.namespaced:
            segments += ["namespaces", namespace]
        segments += [segment for segment in (self.plural, name, subresource) if segment]
        return "/" + "/".join(quote(segment, safe="") for segment in segments)

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


def parse_metadata(raw: Raw) -> ObjectMeta:
    """Project `raw["metadata"]`; `raw` is the whole object. Raises MalformedObjectError."""
    metadata = raw.get("metadata")
    if not isinstance(metadata, dict):
        raise MalformedObjectError("metadata is not an object")
    return ObjectMeta(
        name=_text(metadata, "name"),
        namespace=intern(_text(metadata, "namespace")),
        uid=_text(metadata, "uid"),
        resource_version=_version(metadata),
        generation=_integer(metadata, "generation"),
        labels=_strings(metadata, "labels"),
        annotations=_strings(metadata, "annotations"),
        owner_references=_owners(metadata),
        finalizers=_finalizers(metadata),
        creation_timestamp=_time(metadata, "creationTimestamp"),
        deletion_timestamp=_time(metadata, "deletionTimestamp"),
    )


def parse_time(text: str) -> datetime:
    """Parse an RFC 3339 time with an offset, as Kubernetes' Time and MicroTime. Raises ValueError."""
    return _moment(text)


@lru_cache(maxsize=4096)
def _moment(text: str) -> datetime:
    """As `parse_time`. Objects name the same moments again and again: what was made at once, and what is read once more."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no UTC offset")
    return moment.astimezone(UTC)


def format_time(moment: datetime) -> str:
    """Format an aware time as Kubernetes' Time: UTC, whole seconds, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(moment: datetime) -> str:
    """Format an aware time as Kubernetes' MicroTime (leases, events): UTC, six decimals, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _text(metadata: Raw, name: str) -> str:
    value = metadata.get(name)
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    raise MalformedObjectError(f"metadata.{name} is not a string")


def _integer(metadata: Raw, name: str) -> int:
    value = metadata.get(name)
    if value is None:
        return 0
    if not isinstance(value, int):
        raise MalformedObjectError(f"metadata.{name} is not an integer")
    return value


def _version(metadata: Raw) -> int:
    text = _text(metadata, "resourceVersion")
    try:
        return int(text) if text else 0
    except ValueError:
        raise MalformedObjectError(f"metadata.resourceVersion {text!r} is not a number") from None


def _strings(metadata: Raw, name: str) -> Mapping[str, str]:
    value = metadata.get(name)
    if not value:
        return EMPTY
    if not isinstance(value, dict) or not _STRINGS.issuperset(map(type, value.values())):
        raise MalformedObjectError(f"metadata.{name} is not a map of strings")
    return MappingProxyType(value)


def _finalizers(metadata: Raw) -> tuple[str, ...]:
    value = _list(metadata, "finalizers")
    if not _STRINGS.issuperset(map(type, value)):
        raise MalformedObjectError("metadata.finalizers is not a list of strings")
    return tuple(value)


def _owners(metadata: Raw) -> tuple[OwnerReference, ...]:
    try:
        return tuple(map(_owner, _list(metadata, "ownerReferences")))
    except (KeyError, TypeError, AttributeError):
        raise MalformedObjectError("metadata.ownerReferences has a malformed entry") from None


def _owner(entry: Raw) -> OwnerReference:
    return OwnerReference(
        api_version=intern(entry["apiVersion"]),
        kind=intern(entry["kind"]),
        name=entry["name"],
        uid=entry["uid"],
        controller=entry.get("controller") is True,
    )


def _list(metadata: Raw, name: str) -> Sequence[Any]:
    value = metadata.get(name)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise MalformedObjectError(f"metadata.{name} is not a list")
    return value


def _time(metadata: Raw, name: str) -> datetime | None:
    text = _text(metadata, name)
    try:
        return parse_time(text) if text else None
    except ValueError:
        raise MalformedObjectError(f"metadata.{name} {text!r} is not an RFC 3339 time") from None
