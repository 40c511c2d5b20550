"""Secrets as the credential controller reads them: those of the names that it was given, and no others."""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from attrs import field, frozen

from gastown_operator.api import labels
from gastown_operator.runtime.objects import (
    EMPTY,
    MalformedObjectError,
    ObjectKey,
    ObjectMeta,
    Raw,
    Resource,
    parse_metadata,
)

COMPONENT: Final = "credential"
SOURCE: Final = "gastown.io/credential-source"
"""Annotation of a mirrored Secret: `namespace/name` of the one that it is a copy of."""
OPAQUE: Final = "Opaque"


@frozen
class Secret:
    """A Secret.

    Attributes:
        is_mirror: whether the operator made it, as a copy of its own.
        data: base64; kept of the operator's own Secrets only. Of others, `digest` tells whether they differ.
    """

    metadata: ObjectMeta
    type: str
    immutable: bool
    is_mirror: bool
    digest: str = field(repr=False)
    data: Mapping[str, str] = field(default=EMPTY, repr=False)


@frozen
class Projection:
    """Reads Secrets of one name. An instance for each name makes each a kind of its own to the caches, with a watch of its own."""

    key: ObjectKey

    def __call__(self, raw: Raw) -> Secret:
        """Keep what is read. Raises MalformedObjectError."""
        metadata = parse_metadata(raw)
        data = raw.get("data") or {}
        if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
            raise MalformedObjectError("data is not a map of strings")
        return Secret(
            metadata,
            str(raw.get("type") or OPAQUE),
            raw.get("immutable") is True,
            self._made_by_us(metadata),
            digest_of(data),
            MappingProxyType(data) if metadata.key == self.key else EMPTY,
        )

    def _made_by_us(self, metadata: ObjectMeta) -> bool:
        found = metadata.labels
        labelled = (found.get(labels.MANAGED_BY), found.get(labels.COMPONENT)) == (labels.OPERATOR, COMPONENT)
        return labelled and metadata.annotations.get(SOURCE) == str(self.key)


def secret_resource(key: ObjectKey) -> Resource[Secret]:
    """The kind under which Secrets of the key's name are cached; `key` is the one that the operator owns."""
    return Resource("", "v1", "Secret", "secrets", namespaced=True, project=Projection(key))


def digest_of(data: Mapping[str, str]) -> str:
    """A digest by which two maps can be compared without keeping them."""
    digest = hashlib.sha256()
    for name in sorted(data):
        digest.update(f"{len(name)}:{name}{len(data[name])}:{data[name]}".encode())
    return digest.hexdigest()
