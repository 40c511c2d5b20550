"""Answers that are not what they should be, one at a time: none ends the process, and none is taken for another."""

import anyio
import pytest
from aiohttp import web
from anyio.lowlevel import checkpoint

from gastown_operator.runtime.errors import AlreadyExists, Invalid, TooManyRequests, UnexpectedResponse
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.transport import RETRY_AFTER_LIMIT
from tests.faults.conftest import CONFIG_MAP, Rig, until
from tests.faults.scripted_server import Answer, Raw, bookmark, line, refuse, say, status, stream

pytestmark = pytest.mark.anyio


async def test_a_refusal_that_comes_in_pieces_keeps_its_reason(rig: Rig) -> None:
    async def in_pieces(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=409, headers={"Content-Type": "application/json"})
        await response.prepare(request)
        text = web.json_response(status(409, "AlreadyExists")).text or ""
        for part in (text[:20], text[20:]):
            await response.write(part.encode())
            await checkpoint()
        return response

    rig.server.script("POST", in_pieces)
    with pytest.raises(AlreadyExists):
        await rig.client.create(CONFIG_MAP, {"metadata": {"name": "x", "namespace": "ns"}}, "tests")


@pytest.mark.parametrize(
    "text",
    [
        '{"metadata": {"resourceVersion": "5"}, "items": [null]}',
        '{"metadata": {"resourceVersion": ["5"]}, "items": []}',
    ],
)
async def test_a_list_that_is_none_is_tried_again(rig: Rig, text: str) -> None:
    rig.server.script("GET", refuse(422, "Invalid"), watches=True)
    rig.server.script("GET", say(text), watches=False)
    with pytest.raises(UnexpectedResponse):
        await rig.client.list_page(CONFIG_MAP)
    rig.server.script("GET", say(text), watches=False)
    async with anyio.create_task_group() as group:
        group.start_soon(rig.reflector.run)
        await until(rig.given_up)
        await rig.clock.next_sleep()
        await until(lambda: rig.reflector.ready)
        group.cancel_scope.cancel()


def object_of(name: str, uid: str, version: int, **metadata: object) -> Raw:
    named = {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": {**named, **metadata}}


def state_of(*objects: Raw, version: int) -> Answer:
    """Stream this state and stay."""
    return stream(
        *(line("ADDED", each) for each in objects),
        line("BOOKMARK", bookmark(version, end=True)),
        then="stall",
    )


async def test_a_malformed_namesake_is_not_taken_for_the_object_that_is_gone(rig: Rig) -> None:
    good, heir = object_of("a", "uid-1", 5), object_of("a", "uid-2", 9, labels=7)
    rig.server.script("GET", state_of(good, version=6), state_of(heir, version=10), watches=True)
    async with anyio.create_task_group() as group:
        group.start_soon(rig.reflector.run)
        await rig.reflector.synced.wait()
        await rig.reflector.refresh()
        group.cancel_scope.cancel()
    assert rig.happened() == [("ADDED", "a"), ("DELETED", "a")]
    assert rig.store.get(ObjectKey("ns", "a")) is None


async def test_what_does_not_fit_is_forgotten_when_it_is_gone(rig: Rig) -> None:
    bad = object_of("a", "uid-1", 5, labels=7)
    rig.server.script(
        "GET", state_of(bad, version=6), state_of(version=10), state_of(bad, version=12), watches=True
    )
    async with anyio.create_task_group() as group:
        group.start_soon(rig.reflector.run)
        await rig.reflector.synced.wait()
        await rig.reflector.refresh()
        assert rig.reflector.describe()["malformed"] == 0
        await rig.reflector.refresh()
        group.cancel_scope.cancel()
    assert len(rig.malformed) == 2


async def test_what_an_object_holds_is_told_to_nobody(rig: Rig) -> None:
    """The problem is shown at /readyz, to whoever asks."""
    rig.server.script("GET", stream(b'{"object":{"data":{"password":"geheim"}}}\n'), watches=True)
    async with anyio.create_task_group() as group:
        group.start_soon(rig.reflector.run)
        await until(rig.given_up)
        assert "not a watch event" in rig.given_up()
        assert "geheim" not in rig.given_up()
        group.cancel_scope.cancel()


async def test_a_body_that_cannot_be_written_is_refused_and_not_repeated(rig: Rig) -> None:
    """A user's value can be nested more deeply than JSON is written here; that is for the user to mend."""
    deep: Raw = {}
    for _ in range(300):
        deep = {"a": deep}
    with pytest.raises(Invalid, match="cannot be written as JSON"):
        await rig.client.create(CONFIG_MAP, {"metadata": {"name": "x", "namespace": "ns"}, "data": deep}, "t")
    assert rig.server.requests == []


async def test_one_object_of_a_list_may_be_too_deep_to_read(rig: Rig) -> None:
    deep = b"[" * 2000 + b"]" * 2000
    good = b'{"metadata": {"name": "b", "namespace": "ns", "uid": "u", "resourceVersion": "4"}}'
    text = b'{"metadata": {"resourceVersion": "5"}, "items": [{"metadata": {"name": "a"}, "x": %b}, %b]}'
    rig.server.script("GET", say((text % (deep, good)).decode()), watches=False)
    page = await rig.client.list_page(CONFIG_MAP)
    assert [item["metadata"]["name"] for item in page.items] == ["a", "b"]


async def test_a_server_is_asked_again_however_long_it_wants_to_be_left_alone(rig: Rig) -> None:
    rig.server.script("GET", refuse(429, "TooManyRequests", retry_after="86400"))
    with pytest.raises(TooManyRequests) as refused:
        await rig.client.get(CONFIG_MAP, ObjectKey("ns", "x"))
    assert refused.value.retry_after == RETRY_AFTER_LIMIT
