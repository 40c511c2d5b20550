"""Reading the lines of a watch, where nothing can be taken for granted but the bytes."""

import orjson

from gastown_operator.runtime.errors import UnexpectedResponse, from_status
from gastown_operator.runtime.objects import ObjectKey, Raw

_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


def decode_event(line: bytes) -> tuple[str, Raw]:
    """Decode a line into type and object. Raises ApiError for an ERROR event, or for what is no event."""
    try:
        event = orjson.loads(line)
        kind, raw = event["type"], event["object"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise UnexpectedResponse(f"not a watch event: {line[:200]!r}") from None
    if not isinstance(raw, dict):
        raise UnexpectedResponse(f"a watch event without an object: {line[:200]!r}")
    if kind == "ERROR":
        raise from_status(raw, verb="WATCH")
    return kind, raw


def key_of(raw: Raw) -> ObjectKey:
    """Return the key of an object of which nothing else may be right."""
    metadata = _metadata(raw)
    return ObjectKey(str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))


def uid_of(raw: Raw) -> str:
    """Return the UID of such an object, or nothing."""
    return str(_metadata(raw).get("uid") or "")


def version_of(raw: Raw) -> int:
    """Return the resource version of such an object, or 0."""
    text = _metadata(raw).get("resourceVersion")
    return int(text) if isinstance(text, str) and text.isdecimal() else 0


def ends_initial_events(raw: Raw) -> bool:
    """Tell whether a bookmark says that all present objects have been sent (KEP-3157)."""
    annotations = _metadata(raw).get("annotations")
    return isinstance(annotations, dict) and annotations.get(_INITIAL_EVENTS_END) == "true"


def _metadata(raw: Raw) -> Raw:
    metadata = raw.get("metadata")
    return metadata if isinstance(metadata, dict) else {}
