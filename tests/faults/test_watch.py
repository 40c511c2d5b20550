"""What the reflector makes of a server that misbehaves (pitfalls 1 to 6)."""

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from aiohttp import web
from anyio.lowlevel import checkpoint
from attrs import evolve

from gastown_operator.runtime.objects import PartialObject
from gastown_operator.runtime.reflector import CLIENT_GRACE, IDLE_LIMIT, Phase
from tests.faults.conftest import CONFIG_MAP, Rig
from tests.faults.scripted_server import (
    Answer,
    ScriptedServer,
    bookmark,
    line,
    refuse,
    say,
    stall,
    status,
    stream,
)

pytestmark = pytest.mark.anyio
PATH = "/api/v1/namespaces/default/configmaps"


def config_map(name: str, version: int = 0) -> dict[str, object]:
    metadata = {"name": name, "namespace": "default"}
    if version:
        metadata |= {"resourceVersion": str(version), "uid": f"uid-{name}"}
    return {"metadata": metadata}


@asynccontextmanager
async def following(rig: Rig) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(rig.reflector.run)
        yield
        group.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    """Let the others run, in real time, until something is so."""
    with anyio.fail_after(15):
        while not condition():
            await checkpoint()


async def live(rig: Rig) -> None:
    with anyio.fail_after(15):
        await rig.reflector.synced.wait()
    await until(lambda: rig.reflector.phase is Phase.LIVE)


async def test_streams_the_present_objects_and_then_the_changes(rig: Rig) -> None:
    rig.server.put(f"{PATH}/a", config_map("a"))
    async with following(rig):
        await live(rig)
        assert rig.names() == ["a"]
        rig.server.put(f"{PATH}/b", config_map("b"))
        await until(lambda: rig.names() == ["a", "b"])
        rig.server.drop(f"{PATH}/a")
        await until(lambda: rig.names() == ["b"])
    assert rig.happened() == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]
    assert [event.initial for event in rig.events] == [True, False, False]
    assert len(rig.server.sent(verb="GET", watches=True)) == 1
    assert not rig.server.sent(verb="GET", watches=False)


@pytest.mark.parametrize("code", [400, 422])
async def test_lists_in_pages_where_the_server_has_no_streaming_lists(rig: Rig, code: int) -> None:
    rig.server.put(f"{PATH}/a", config_map("a"))
    rig.server.script("GET", refuse(code, "Invalid", "sendInitialEvents is forbidden"), watches=True)
    async with following(rig):
        await live(rig)
        rig.server.put(f"{PATH}/b", config_map("b"))
        await until(lambda: rig.names() == ["a", "b"])
    assert len(rig.server.sent(verb="GET", watches=False)) == 1
    assert rig.server.sent(verb="GET", watches=False)[0].query["limit"] == "500"


async def test_every_page_counts_and_an_expired_page_is_read_in_one_piece(rig: Rig) -> None:
    first = '{"metadata":{"resourceVersion":"9","continue":"next"},"items":[]}'
    rig.server.put(f"{PATH}/a", config_map("a"))
    rig.server.script("GET", refuse(422, "Invalid"), watches=True)
    rig.server.script("GET", say(first), refuse(410, "Expired"), watches=False)
    async with following(rig):
        await live(rig)
        assert rig.names() == ["a"]
    continued = [request.query.get("continue", "") for request in rig.server.sent(verb="GET", watches=False)]
    assert continued == ["", "next", ""]


@pytest.mark.parametrize(
    "gone",
    [
        refuse(410, "Gone"),
        refuse(410, "Expired"),
        stream(line("ERROR", status(410, "Expired", "too old resource version"))),
        stream(line("ERROR", status(410, "Gone"))),
        refuse(504, "Timeout", "Too large resource version: 999, current: 5"),
        refuse(504, "Timeout", causes=("ResourceVersionTooLarge",)),
    ],
    ids=[
        "status Gone",
        "status Expired",
        "event Expired",
        "event Gone",
        "too large by text",
        "too large by cause",
    ],
)
async def test_starts_over_once_when_its_version_is_of_no_use(rig: Rig, gone: Answer) -> None:
    """Pitfalls 1 and 2: whatever the shape, one relist after a pause, and deletions that were missed are told."""
    rig.server.put(f"{PATH}/a", config_map("a"))
    rig.server.put(f"{PATH}/b", config_map("b"))
    rig.store.add_index("name", lambda value: (value.metadata.name,))
    start = b"".join(line("ADDED", item) for item in rig.server.objects.values())
    first = stream(start, line("BOOKMARK", bookmark(102, end=True)))
    rig.server.script("GET", first, gone, watches=True)
    async with following(rig):
        assert 0.8 <= await rig.clock.next_sleep() <= 1.6
        await rig.server.received(2, watches=True)
        rig.server.drop(f"{PATH}/b")
        paused = await rig.clock.next_sleep()
        await until(lambda: rig.names() == ["a"])
    assert 1.6 <= paused <= 3.2
    assert len(rig.server.sent(watches=True)) == 3
    assert rig.happened() == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "b")]
    assert rig.events[-1].final_state_unknown
    assert rig.store.by_index("name", "b") == ()


async def test_never_resumes_from_a_synthetic_event(rig: Rig) -> None:
    """Pitfall 3: initial events come in no order, so a cut among them leaves nothing to resume from."""
    initial = stream(line("ADDED", config_map("a", 900)), line("ADDED", config_map("b", 17)), then="cut")
    rig.server.script("GET", initial, watches=True)
    async with following(rig):
        await rig.clock.next_sleep()
        await live(rig)
    again = rig.server.sent(watches=True)[1].query
    assert "resourceVersion" not in again
    assert again["sendInitialEvents"] == "true"
    assert rig.names() == []


async def test_resumes_from_bookmarks_and_live_events(rig: Rig) -> None:
    rig.server.version = 500
    first = stream(line("BOOKMARK", bookmark(200, end=True)), line("BOOKMARK", bookmark(300)), then="cut")
    second = stream(line("ADDED", config_map("a", 310)), then="cut")
    rig.server.script("GET", first, second, watches=True)
    async with following(rig):
        await rig.clock.next_sleep()
        await rig.clock.next_sleep()
        await rig.server.received(3, watches=True)
    versions = [request.query.get("resourceVersion") for request in rig.server.sent(watches=True)]
    assert versions == [None, "300", "310"]


async def test_a_cut_in_the_middle_of_a_line_loses_nothing(rig: Rig) -> None:
    rig.server.put(f"{PATH}/a", config_map("a"))
    item = line("ADDED", rig.server.objects[f"{PATH}/a"])
    rig.server.script("GET", stream(line("BOOKMARK", bookmark(100, end=True)), item[:30]), watches=True)
    async with following(rig):
        await rig.clock.next_sleep()
        await until(lambda: rig.names() == ["a"])
    assert rig.server.sent(watches=True)[1].query["resourceVersion"] == "100"


START = line("BOOKMARK", bookmark(100, end=True))
LIVE_BOOKMARK = line("BOOKMARK", bookmark(100))


@pytest.mark.parametrize(
    ("silent", "reason"),
    [
        (stall, "idle"),
        (stream(line("ADDED", config_map("a", 7)), then="stall"), "idle"),
        (stream(START, LIVE_BOOKMARK, then="stall"), "idle"),
        (stream(START, then="stall"), "deadline"),
    ],
    ids=["no answer", "half the start", "bookmarks cease", "never a bookmark"],
)
async def test_a_silent_connection_is_given_up(rig: Rig, silent: Answer, reason: str) -> None:
    """Pitfall 4: soon where a sign of life is due, and in any case when the watch has had its time."""
    rig.server.script("GET", silent, watches=True)
    async with following(rig):
        await rig.server.received(1, watches=True)
        await anyio.wait_all_tasks_blocked()
        await until(lambda: silent is stall or bool(rig.sample(LAST_EVENT, resource="configmaps")))
        whole = int(rig.server.requests[0].query["timeoutSeconds"]) + CLIENT_GRACE
        limit = whole if reason == "deadline" else IDLE_LIMIT
        await rig.clock.advance(limit - 1)
        assert rig.given_up() == ""
        with anyio.fail_after(15):
            while rig.given_up() == "":
                await rig.clock.advance(0.25)
        assert rig.clock.monotonic() <= limit + 1
        await rig.clock.next_sleep()
        await live(rig)
    assert rig.sample("informer_watch_restarts_total", resource="configmaps", reason=reason) == 1


LAST_EVENT = "informer_last_event_timestamp_seconds"


async def test_a_server_that_sends_no_bookmarks_is_not_troubled(rig: Rig) -> None:
    """Seen on a real apiserver: a kind in which nothing has happened since it started gets none."""
    rig.server.script("GET", stream(START, LIVE_BOOKMARK, then="stall"), stream(then="stall"), watches=True)
    async with following(rig):
        await live(rig)
        await rig.clock.advance(IDLE_LIMIT)
        await rig.clock.next_sleep()
        await rig.server.received(2, watches=True)
        await live(rig)
        await anyio.wait_all_tasks_blocked()
        await rig.clock.advance(3 * IDLE_LIMIT)
    assert len(rig.server.sent(watches=True)) == 2


@pytest.mark.parametrize(
    "failure",
    [
        stream(),
        stream(line("BOOKMARK", bookmark(100, end=True))),
        stream(line("ADDED", {"metadata": {"name": "a"}})),
        stream(b'{"type":"ADDED"}\n'),
        stream(b'{"type":"ADDED","object":3}\n'),
        say(""),
        say("Too many requests", 429),
        say("<html>Bad gateway</html>", 502, "text/html"),
        say("<html>hello</html>", 200, "text/html"),
        refuse(500, "InternalError"),
    ],
    ids=[
        "closed at once",
        "only a bookmark",
        "no bookmark",
        "no object",
        "not an object",
        "empty",
        "429 text",
        "502 HTML",
        "200 HTML",
        "500",
    ],
)
async def test_never_storms_a_server_that_fails_at_once(rig: Rig, failure: Answer) -> None:
    """Pitfalls 5 and 6: whatever a server answers, at most six requests in ten seconds, and nothing of it is an object."""
    rig.server.script("GET", *[failure] * 50, watches=True)
    rig.server.script("GET", *[failure] * 50, watches=False)
    async with following(rig):
        with anyio.fail_after(15):
            while rig.clock.monotonic() < 10:
                await rig.clock.next_sleep()
    assert 2 <= len(rig.server.requests) <= 6
    assert rig.happened() == []


async def test_waits_as_long_as_the_server_asks(rig: Rig) -> None:
    rig.server.script("GET", refuse(429, "TooManyRequests", retry_after="7"), watches=True)
    async with following(rig):
        assert await rig.clock.next_sleep() == 7
        await live(rig)


async def test_a_kind_that_is_not_there_yet_is_looked_for_every_ten_seconds(rig: Rig) -> None:
    rig.server.script("GET", refuse(404, "NotFound"), refuse(404, "NotFound"), watches=True)
    async with following(rig):
        assert await rig.clock.next_sleep() == 10
        assert await rig.clock.next_sleep() == 10
        assert "404 NotFound" in rig.reflector.problem
        await live(rig)


async def test_serves_what_it_has_while_it_may_not_read(rig: Rig) -> None:
    rig.server.put(f"{PATH}/a", config_map("a"))
    start = line("ADDED", rig.server.objects[f"{PATH}/a"])
    end = line("BOOKMARK", bookmark(101, end=True))
    rig.server.script(
        "GET", stream(start, end), refuse(403, "Forbidden"), refuse(403, "Forbidden"), watches=True
    )
    async with following(rig):
        await rig.clock.next_sleep()
        await rig.clock.next_sleep()
        await until(lambda: len(rig.server.sent(watches=True)) == 3 and rig.reflector.phase is Phase.BACKOFF)
        assert rig.names() == ["a"]
        assert not rig.reflector.ready
        assert str(rig.reflector).startswith("configmaps Backoff (GET /api/v1/configmaps: 403 Forbidden")
        await rig.clock.next_sleep()
        await until(lambda: rig.reflector.ready)


async def test_an_object_that_does_not_fit_is_reported_once_and_the_others_go_on(rig: Rig) -> None:
    bad = {"metadata": {"name": "bad", "namespace": "default", "labels": "none", "resourceVersion": "120"}}
    worse = {"metadata": {"name": "bad", "namespace": "default", "labels": "none", "resourceVersion": "121"}}
    parts = [
        line("ADDED", bad),
        line("ADDED", config_map("a", 105)),
        line("BOOKMARK", bookmark(119, end=True)),
        line("MODIFIED", worse),
        line("ADDED", config_map("b", 122)),
    ]
    rig.server.script("GET", stream(*parts, then="stall"), watches=True)
    async with following(rig):
        await until(lambda: rig.names() == ["a", "b"])
    assert rig.malformed == [bad]
    assert rig.sample("informer_malformed_objects_total", resource="configmaps") == 1
    assert rig.store.resource_version == 122


async def test_an_object_that_no_longer_fits_keeps_its_last_good_state(rig: Rig) -> None:
    """Served stale, it is at least not taken for deleted; not even by a relist."""
    bad = {"metadata": {"name": "a", "namespace": "default", "finalizers": 3, "resourceVersion": "120"}}
    first = stream(line("ADDED", config_map("a", 105)), line("BOOKMARK", bookmark(110, end=True)))
    second = stream(line("ADDED", bad), line("BOOKMARK", bookmark(120, end=True)), then="stall")
    rig.server.script("GET", first, refuse(410, "Gone"), second, watches=True)
    async with following(rig):
        await rig.clock.next_sleep()
        await rig.clock.next_sleep()
        await until(lambda: rig.store.resource_version == 120)
    assert rig.happened() == [("ADDED", "a")]
    assert rig.names() == ["a"]


async def test_lines_of_several_megabytes_pass(rig: Rig) -> None:
    big = config_map("big", 105)
    big["data"] = {"value": "x" * (3 * 1024 * 1024)}
    rig.server.script(
        "GET",
        stream(line("ADDED", big), line("BOOKMARK", bookmark(110, end=True)), then="stall"),
        watches=True,
    )
    async with following(rig):
        await live(rig)
        assert rig.names() == ["big"]


async def test_a_duplicate_event_is_told_once(rig: Rig) -> None:
    item = config_map("a", 120)
    parts = [line("BOOKMARK", bookmark(110, end=True)), line("ADDED", item), line("ADDED", item)]
    rig.server.script(
        "GET", stream(*parts, line("MODIFIED", config_map("a", 121)), then="stall"), watches=True
    )
    async with following(rig):
        await until(lambda: rig.store.resource_version == 121)
    assert rig.happened() == [("ADDED", "a"), ("MODIFIED", "a")]


async def test_an_event_of_an_unknown_kind_is_skipped(rig: Rig) -> None:
    parts = [line("BOOKMARK", bookmark(110, end=True)), line("SURPRISE", config_map("a", 111))]
    rig.server.script("GET", stream(*parts, line("ADDED", config_map("b", 112)), then="stall"), watches=True)
    async with following(rig):
        await until(lambda: rig.names() == ["b"])


async def test_a_line_without_end_is_given_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gastown_operator.runtime.transport.MAX_LINE", 1000)
    rig.server.script("GET", stream(b"x" * 2000, then="stall"), watches=True)
    async with following(rig):
        await rig.clock.next_sleep()
        await live(rig)


async def test_a_server_that_cannot_stream_its_start_is_listed_after_two_failures(rig: Rig) -> None:
    rig.server.put(f"{PATH}/a", config_map("a"))
    broken = stream(line("ADDED", rig.server.objects[f"{PATH}/a"]), then="cut")
    rig.server.script("GET", broken, broken, watches=True)
    async with following(rig):
        await rig.clock.next_sleep()
        await rig.clock.next_sleep()
        await live(rig)
        assert rig.names() == ["a"]
    assert len(rig.server.sent(verb="GET", watches=False)) == 1


async def test_changes_during_the_streamed_start_count(rig: Rig) -> None:
    gone = line("DELETED", config_map("b", 107))
    parts = [line("ADDED", config_map("a", 105)), line("ADDED", config_map("b", 104)), gone]
    parts += [line("MODIFIED", config_map("a", 108)), line("BOOKMARK", bookmark(110, end=True))]
    rig.server.script("GET", stream(*parts, then="stall"), watches=True)
    async with following(rig):
        await live(rig)
    assert rig.happened() == [("ADDED", "a")]
    assert rig.events[0].object.metadata.resource_version == 108


async def test_who_asks_for_a_new_reading_while_one_comes_in_gets_the_next(server: ScriptedServer) -> None:
    """The answer was given before the question, though it is read after it: after an election it may be too old."""
    asked: list[Coroutine[Any, Any, None]] = []
    waiting: list[int] = []

    def project(raw: Mapping[str, Any]) -> PartialObject:
        if not asked:
            asked.append(rig.reflector.refresh())
            asked[0].send(None)  # up to where it waits, in this very turn of the event loop
        return PartialObject.project(raw)

    async def second(request: web.Request) -> web.StreamResponse:
        waiting.append(len(rig.reflector._refreshes))
        return await server.api(request)

    rig = Rig(server, resource=evolve(CONFIG_MAP, project=project))
    end = line("BOOKMARK", bookmark(110, end=True))
    server.script(
        "GET", stream(line("ADDED", config_map("a", 105)) + end, then="stall"), second, watches=True
    )
    async with following(rig):
        await server.received(2, watches=True)
        await until(lambda: rig.names() == [])
    assert waiting == [1]
    assert rig.reflector._refreshes == []
    assert "sendInitialEvents" in server.sent(watches=True)[1].query
    asked[0].close()
    await rig.transport.close()
