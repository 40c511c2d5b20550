"""Reading the lines of a watch, where nothing can be taken for granted but the bytes."""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from gastown_operator.runtime.errors import UnexpectedResponse, from_status
from gastown_operator.runtime.objects import ObjectKey, Raw

MAX_DEPTH = (
    200  # levels that are kept of JSON too deep for the parser (orjson: 1024; the API server stores 10,000)
)
MAX_DIGITS = 20  # of a resource version; etcd's revisions have 64 bits
_INITIAL_EVENTS_END = "k8s.io/initial-events-end"
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


def decode_json(text: bytes) -> Any:
    """Decode JSON; what is nested too deeply for that is replaced by null. Raises orjson.JSONDecodeError.

    Users can store such values in fields without a schema. One object must not hide all others.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "depth" not in str(error):
            raise
    return orjson.loads(b"".join(_shallow(text)))


def _shallow(text: bytes) -> Iterator[bytes]:
    depth = kept = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        match token.group():
            case b"{" | b"[":
                depth += 1
                if depth == MAX_DEPTH + 1:
                    yield text[kept : token.start()]
            case b"}" | b"]":
                depth -= 1
                if depth == MAX_DEPTH:
                    yield b"null"
                    kept = token.end()
    yield text[kept:] if depth <= MAX_DEPTH else b""


def decode_event(line: bytes) -> tuple[str, Raw]:
    """Decode a line into type and object. Raises ApiError for an ERROR event, or for what is no event."""
    try:
        event = decode_json(line)
        kind, raw = event["type"], event["object"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise UnexpectedResponse(f"not a watch event: {len(line)} bytes") from None  # which may be a Secret's
    if not isinstance(raw, dict) or not isinstance(kind, str):
        raise UnexpectedResponse(f"a watch event without an object: {len(line)} bytes")
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
    if not isinstance(text, str) or len(text) > MAX_DIGITS or not (text.isascii() and text.isdecimal()):
        return 0
    return int(text)


def ends_initial_events(raw: Raw) -> bool:
    """Tell whether a bookmark says that all present objects have been sent (KEP-3157)."""
    annotations = _metadata(raw).get("annotations")
    return isinstance(annotations, dict) and annotations.get(_INITIAL_EVENTS_END) == "true"


def _metadata(raw: Raw) -> Raw:
    metadata = raw.get("metadata") if isinstance(raw, dict) else None
    return metadata if isinstance(metadata, dict) else {}
