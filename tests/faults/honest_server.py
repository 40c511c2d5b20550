"""A small honest API over one dictionary: create, get, list, watch, apply, merge patch, delete, with finalizers.

Watches can be made to lag, repeat themselves, or send their first events in another order, which a real server may do.
"""

from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

import anyio
import orjson
from aiohttp import web
from attrs import define, field

from gastown_operator.runtime.clock import Clock, SystemClock

Raw = dict[str, Any]
APPLY = "application/apply-patch+yaml"
DELETED_AT = "2026-01-01T00:00:00Z"


@define
class HonestServer:
    """Objects by path, and everything that happened to them.

    `lag`: seconds of `clock` by which every watch is behind. `shuffle`: orders the first events of a watch. `copies` of
    each event are sent.
    """

    objects: dict[str, Raw] = field(factory=dict)
    history: list[tuple[int, str, str, Raw, float]] = field(factory=list)
    version: int = 100
    held: bool = False
    clock: Clock = field(factory=SystemClock)
    lag: float = 0.0
    shuffle: Random | None = None
    copies: int = 1
    _changed: anyio.Event = field(factory=anyio.Event)
    _uids: Iterator[int] = field(factory=count)

    # What a test says

    def hold_events(self) -> None:
        """Let the watches lag: nothing is sent until `release_events`."""
        self.held = True

    def release_events(self) -> None:
        """Send what was held."""
        self.held = False
        self._notify()

    def put(self, path: str, body: Raw) -> Raw:
        """Create or change an object, as another client would."""
        self.version += 1
        known = self.objects.get(path)
        uid = known["metadata"]["uid"] if known else f"uid-{next(self._uids)}"
        metadata = {**body["metadata"], "uid": uid, "resourceVersion": str(self.version)}
        self.objects[path] = {**body, "metadata": metadata}
        self._record("MODIFIED" if known else "ADDED", path, self.objects[path])
        return self.objects[path]

    def drop(self, path: str) -> Raw:
        """Take an object away, as another client would whom no finalizer stops."""
        self.version += 1
        gone = self.objects.pop(path)
        gone = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}}
        self._record("DELETED", path, gone)
        return gone

    def delete(self, path: str) -> Raw:
        """Delete an object: at once, or once its last finalizer is gone."""
        known = self.objects[path]
        if not known["metadata"].get("finalizers"):
            return self.drop(path)
        if known["metadata"].get("deletionTimestamp"):
            return known
        return self.put(path, {**known, "metadata": {**known["metadata"], "deletionTimestamp": DELETED_AT}})

    # What the server does

    async def api(self, request: web.Request) -> web.StreamResponse:
        """Answer honestly."""
        match request.method:
            case "GET" if "watch" in request.query:
                return await self._watch(request)
            case "GET" if request.path in self.objects:
                return web.json_response(self.objects[request.path])
            case "GET" if request.path.count("/") >= 6:
                return refusal(404, "NotFound")
            case "GET":
                return web.json_response(self._list(request.path))
            case "POST":
                return await self._create(request)
            case "PATCH":
                return await self._patch(request)
            case _:
                return await self._delete(request)

    def _list(self, collection: str) -> Raw:
        items = [item for path, item in self.objects.items() if _within(path, collection)]
        return {"metadata": {"resourceVersion": str(self.version)}, "items": items}

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        path = f"{request.path}/{body['metadata']['name']}"
        if path in self.objects:
            return refusal(409, "AlreadyExists")
        return web.json_response(self.put(path, body), status=201)

    async def _patch(self, request: web.Request) -> web.Response:
        body = await request.json()
        path = request.path.removesuffix("/status")
        known = self.objects.get(path)
        if known is None:
            if request.content_type != APPLY or path != request.path or body["metadata"].get("uid"):
                return refusal(404, "NotFound")
            return web.json_response(self.put(path, body), status=201)
        if not _meant(known, body.get("metadata", {})):
            return refusal(409, "Conflict")
        changed = self.put(path, merged(known, body))
        if changed["metadata"].get("deletionTimestamp") and not changed["metadata"].get("finalizers"):
            changed = self.drop(path)
        return web.json_response(changed)

    async def _delete(self, request: web.Request) -> web.Response:
        known = self.objects.get(request.path)
        if known is None:
            return refusal(404, "NotFound")
        text = await request.read()
        options = orjson.loads(text) if text else {}
        if not _meant(known, options.get("preconditions", {})):
            return refusal(409, "Conflict")
        return web.json_response(self.delete(request.path))

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        """Send what happened since a version, or what is there and then what happens."""
        response = await opened(request)
        initial = "sendInitialEvents" in request.query
        seen = self.version if initial else int(request.query["resourceVersion"])
        if initial:
            for item in self._present(request.path):
                await response.write(line("ADDED", item) * self.copies)
            await response.write(line("BOOKMARK", bookmark(seen, end=True)))
        while True:
            changed = self._changed
            for version, kind, path, item, moment in self.history[:] if not self.held else []:
                if version > seen and _within(path, request.path):
                    seen = version
                    await self._wait_until(moment + self.lag)
                    await response.write(line(kind, item) * self.copies)
            await changed.wait()

    def _present(self, collection: str) -> list[Raw]:
        items = [item for path, item in self.objects.items() if _within(path, collection)]
        if self.shuffle is not None:
            self.shuffle.shuffle(items)
        return items

    async def _wait_until(self, moment: float) -> None:
        seconds = moment - self.clock.monotonic()
        if self.lag and seconds > 0:
            await self.clock.sleep(seconds)

    def _record(self, kind: str, path: str, item: Raw) -> None:
        self.history.append((self.version, kind, path, item, self.clock.monotonic()))
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def merged(known: Raw, change: Raw) -> Raw:
    """Return an object after a JSON merge patch (RFC 7396)."""
    result = {**known, **{name: value for name, value in change.items() if value is not None}}
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            before = known.get(name)
            result[name] = merged(before if isinstance(before, dict) else {}, value)
    return result


def _meant(known: Raw, conditions: Raw) -> bool:
    """Tell whether an object is the one that is meant, in the version that is meant."""
    wanted = ((name, conditions.get(name)) for name in ("uid", "resourceVersion"))
    return all(text is None or text == known["metadata"].get(name) for name, text in wanted)


def _within(path: str, collection: str) -> bool:
    """Tell whether an object's path is in a collection: of its namespace, or of all of them."""
    parent = path.rpartition("/")[0]
    everywhere = parent.split("/namespaces/")[0] + "/" + parent.rpartition("/")[2]
    return collection in {parent, everywhere}


def line(kind: str, item: Raw) -> bytes:
    """Return a watch event as it goes over the wire."""
    return orjson.dumps({"type": kind, "object": item}) + b"\n"


def bookmark(version: int, *, end: bool = False) -> Raw:
    """Return the object of a bookmark; `end` marks the end of the initial events."""
    annotations = {"k8s.io/initial-events-end": "true"} if end else {}
    return {"metadata": {"resourceVersion": str(version), "annotations": annotations}}


def status(code: int, reason: str, message: str = "", causes: tuple[str, ...] = ()) -> Raw:
    """Return a Status object."""
    details = {"causes": [{"reason": cause} for cause in causes]}
    return {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}


def refusal(
    code: int, reason: str, message: str = "", *, causes: tuple[str, ...] = (), retry_after: str = ""
) -> web.Response:
    """Return a Status as the answer."""
    headers = {"Retry-After": retry_after} if retry_after else {}
    return web.json_response(status(code, reason, message, causes), status=code, headers=headers)


async def opened(request: web.Request) -> web.StreamResponse:
    """Begin a chunked answer."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    return response
