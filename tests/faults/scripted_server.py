"""An API server in this process that does what a real one does on its worst day.

`api` is a small honest API (create, get, list, watch, apply, merge patch, delete) over one dictionary; `script` puts
answers before it, one for each request that matches, to delay, cut, refuse or lie. Every request is kept in `requests`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import anyio
import orjson
from aiohttp import web
from attrs import define, field, frozen

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Raw = dict[str, Any]


@frozen
class Recorded:
    """A request as it arrived."""

    verb: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]

    @property
    def watches(self) -> bool:
        return "watch" in self.query


@define
class _Rule:
    verb: str
    watches: bool | None
    answers: list[Answer]

    def matches(self, request: Recorded) -> bool:
        return (
            bool(self.answers)
            and self.verb == request.verb
            and (self.watches is None or self.watches == request.watches)
        )


@define
class ScriptedServer:
    """The server, its scripts and its memory."""

    objects: dict[str, Raw] = field(factory=dict)
    requests: list[Recorded] = field(factory=list)
    history: list[tuple[int, str, str, Raw]] = field(factory=list)
    version: int = 100
    held: bool = False
    url: str = ""
    _rules: list[_Rule] = field(factory=list)
    _changed: anyio.Event = field(factory=anyio.Event)
    _arrived: anyio.Event = field(factory=anyio.Event)
    _uids: Iterator[int] = field(factory=count)

    # What a test says

    def script(self, verb: str, *answers: Answer, watches: bool | None = None) -> None:
        """Answer the next requests of this verb (for GET: watches, or not) so, each answer once."""
        self._rules.append(_Rule(verb, watches, list(answers)))

    def hold_events(self) -> None:
        """Let the watches lag: nothing is sent until `release_events`."""
        self.held = True

    def release_events(self) -> None:
        """Send what was held."""
        self.held = False
        self._notify()

    async def received(self, number: int, **like: Any) -> list[Recorded]:
        """Wait until so many requests like this (verb, watches) came; return all of them."""
        while True:
            found = [request for request in self.requests if _like(request, like)]
            if len(found) >= number:
                return found
            self._arrived = anyio.Event()
            await self._arrived.wait()

    def sent(self, **like: Any) -> list[Recorded]:
        """Return the requests like this that came until now."""
        return [request for request in self.requests if _like(request, like)]

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
        """Delete an object, as another client would."""
        self.version += 1
        gone = self.objects.pop(path)
        gone = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}}
        self._record("DELETED", path, gone)
        return gone

    # What the server does

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ScriptedServer"]:
        """Serve on a port of its own."""
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.01, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.read()
        recorded = Recorded(
            request.method,
            request.path,
            dict(request.query),
            orjson.loads(text) if text else None,
            dict(request.headers),
        )
        self.requests.append(recorded)
        self._arrived.set()
        for rule in self._rules:
            if rule.matches(recorded):
                return await rule.answers.pop(0)(request)
        return await self.api(request)

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
                items = [item for path, item in self.objects.items() if _within(path, request.path)]
                return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": items})
            case "POST":
                return await self._create(request)
            case "PATCH":
                return await self._patch(request)
            case _:
                return self._delete(request)

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
            return refusal(404, "NotFound")
        conditions = ((name, body.get("metadata", {}).get(name)) for name in ("uid", "resourceVersion"))
        if any(wanted and wanted != known["metadata"][name] for name, wanted in conditions):
            return refusal(409, "Conflict")
        return web.json_response(self.put(path, merged(known, body)))

    def _delete(self, request: web.Request) -> web.Response:
        if request.path not in self.objects:
            return refusal(404, "NotFound")
        return web.json_response(self.drop(request.path))

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        """Send what happened since a version, or what is there and then what happens."""
        response = await opened(request)
        initial = "sendInitialEvents" in request.query
        seen = self.version if initial else int(request.query["resourceVersion"])
        if initial:
            for path, item in list(self.objects.items()):
                if _within(path, request.path):
                    await response.write(line("ADDED", item))
            await response.write(line("BOOKMARK", bookmark(seen, end=True)))
        while True:
            changed = self._changed
            for version, kind, path, item in self.history[:] if not self.held else []:
                if version > seen and _within(path, request.path):
                    seen = version
                    await response.write(line(kind, item))
            await changed.wait()

    def _record(self, kind: str, path: str, item: Raw) -> None:
        self.history.append((self.version, kind, path, item))
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


def _within(path: str, collection: str) -> bool:
    """Tell whether an object's path is in a collection: of its namespace, or of all of them."""
    parent = path.rpartition("/")[0]
    everywhere = parent.split("/namespaces/")[0] + "/" + parent.rpartition("/")[2]
    return collection in {parent, everywhere}


def _like(request: Recorded, like: dict[str, Any]) -> bool:
    return all(getattr(request, name) == value for name, value in like.items())


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


def cut_off(request: web.Request) -> None:
    """Break the connection without a farewell."""
    transport = request.transport
    if transport is not None:
        transport.abort()


def refuse(code: int, reason: str, message: str = "", **more: Any) -> Answer:
    """Answer with a Status."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return refusal(code, reason, message, **more)

    return answer


def say(text: str, code: int = 200, content_type: str = "text/plain", **headers: str) -> Answer:
    """Answer with something that is no Kubernetes object."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=code, content_type=content_type, headers=headers)

    return answer


def stream(*parts: bytes, then: str = "close") -> Answer:
    """Stream these bytes, then `close`, `cut` or `stall`."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = await opened(request)
        for part in parts:
            await response.write(part)
        if then == "stall":
            await anyio.sleep_forever()
        if then == "cut":
            cut_off(request)
        return response

    return answer


async def stall(_: web.Request) -> web.StreamResponse:
    """Accept the request and never answer."""
    await anyio.sleep_forever()
    raise AssertionError


async def cut(request: web.Request) -> web.StreamResponse:
    """Break the connection instead of answering."""
    cut_off(request)
    return web.Response()


def commit_then_cut(server: ScriptedServer) -> Answer:
    """Do what was asked, and break the connection before saying so."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await server.api(request)
        cut_off(request)
        return web.Response()

    return answer
