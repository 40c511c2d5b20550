"""Watches that fail in every way, in every order, while objects come and go: in the end the cache is what the server has (pitfalls 1 to 6)."""

from collections.abc import Iterator
from random import Random

import anyio
import pytest
from aiohttp import web
from anyio.lowlevel import checkpoint
from attrs import define, field

from gastown_operator.runtime.objects import ObjectKey, PartialObject
from gastown_operator.runtime.store import Event
from tests.faults.conftest import Rig
from tests.faults.scripted_server import (
    Answer,
    ScriptedServer,
    cut,
    cut_off,
    line,
    refuse,
    say,
    stall,
    status,
    stream,
)

pytestmark = pytest.mark.anyio

PATH = "/api/v1/namespaces/ns/configmaps"
STEPS = 60
FAULTS: tuple[Answer, ...] = (
    refuse(410, "Expired"),
    refuse(410, "Gone"),
    stream(line("ERROR", status(410, "Expired"))),
    refuse(504, "Timeout", causes=("ResourceVersionTooLarge",)),
    refuse(429, "TooManyRequests", retry_after="3"),
    refuse(500, "InternalError"),
    refuse(403, "Forbidden"),
    say("<html>Bad gateway</html>", 502, "text/html"),
    say("<html>Welcome</html>", 200, "text/html"),
    say(""),
    cut,
    stream(),
    stream(b'{"type":"ADDED","obj', then="cut"),
    stream(b"null\n"),
)
SILENCE: tuple[Answer, ...] = (stall, stream(b'{"type":"ADDED","obj', then="stall"))


@define
class Mirror:
    """Builds the state from the events alone: each must fit what came before."""

    state: dict[ObjectKey, PartialObject] = field(factory=dict)

    def hear(self, event: Event[PartialObject]) -> None:
        key = event.object.metadata.key
        assert event.old == self.state.get(key)
        if event.new is None:
            del self.state[key]
        else:
            self.state[key] = event.new


@define
class Weather:
    """Chooses what happens, by a seed."""

    server: ScriptedServer
    random: Random
    _storm: anyio.Event = field(factory=anyio.Event)

    def of_watches(self) -> Iterator[Answer]:
        """Choose how watches are answered: every other one honestly, until the connections are cut."""
        for _ in range(STEPS):
            fault = self.random.choice(FAULTS + SILENCE)
            yield fault if self.random.random() < 0.5 else self.honest_until_cut

    def of_lists(self) -> Iterator[Answer]:
        """Choose how lists are answered: every other one honestly."""
        for _ in range(STEPS):
            yield self.random.choice(FAULTS) if self.random.random() < 0.5 else self.server.api

    async def honest_until_cut(self, request: web.Request) -> web.StreamResponse:
        async with anyio.create_task_group() as group:
            group.start_soon(self.server.api, request)
            await self._storm.wait()
            group.cancel_scope.cancel()
        cut_off(request)
        return web.Response()

    def change(self) -> None:
        """Create, change or delete an object, or cut every connection."""
        path = f"{PATH}/{self.random.choice('abcdef')}"
        if self.random.random() < 0.15:
            self._storm.set()
            self._storm = anyio.Event()
        if path in self.server.objects and self.random.random() < 0.4:
            self.server.drop(path)
        else:
            self.server.put(path, {"metadata": {"name": path[-1], "namespace": "ns"}})


@pytest.mark.parametrize("seed", range(8))
async def test_after_the_storm_the_cache_is_what_the_server_has(rig: Rig, seed: int) -> None:
    weather = Weather(rig.server, Random(seed))  # noqa: S311 - a repeatable choice
    rig.server.shuffle, rig.server.copies = weather.random, 1 + seed % 2
    rig.server.script("GET", *weather.of_watches(), watches=True)
    rig.server.script("GET", *weather.of_lists(), watches=False)
    mirror = Mirror()
    rig.store.add_handler(mirror.hear)
    async with anyio.create_task_group() as group:
        group.start_soon(rig.reflector.run)
        for _ in range(STEPS):
            weather.change()
            for _ in range(weather.random.randrange(20)):
                await checkpoint()
            await rig.clock.advance(weather.random.choice([0.0, 0.1, 1.0, 10.0, 100.0]))
        requests = len(rig.server.requests)
        rig.server.forget_scripts()
        weather.change()
        with anyio.fail_after(20):
            while {value.metadata.resource_version for value in rig.store.values()} != versions(rig.server):
                await rig.clock.advance(5.0)
        group.cancel_scope.cancel()
    assert rig.names() == sorted(path[-1] for path in rig.server.objects)
    assert tuple(mirror.state[key] for key in sorted(mirror.state)) == rig.store.values()
    assert requests <= 2 * STEPS


def versions(server: ScriptedServer) -> set[int]:
    return {int(item["metadata"]["resourceVersion"]) for item in server.objects.values()}
