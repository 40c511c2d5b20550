"""Projection of NetworkPolicy: whose it is, and its specification as one text that can be compared."""

from typing import Final

import orjson
from attrs import frozen

from gastown_operator.runtime.objects import MalformedObjectError, ObjectMeta, Raw, Resource, parse_metadata


@frozen
class NetworkPolicy:
    """What controllers read of a NetworkPolicy; `spec` is canonical."""

    metadata: ObjectMeta
    spec: str


def canonical(spec: Raw) -> str:
    """Return a specification as text that is equal for equal ones: the API server leaves out lists that are empty."""
    said = {name: value for name, value in spec.items() if value not in ([], None)}
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()


def _network_policy(raw: Raw) -> NetworkPolicy:
    spec = raw.get("spec") or {}
    if not isinstance(spec, dict):
        raise MalformedObjectError("spec is not an object")
    return NetworkPolicy(parse_metadata(raw), canonical(spec))


NETWORK_POLICY: Final = Resource(
    "networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", namespaced=True, project=_network_policy
)
