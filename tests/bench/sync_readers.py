"""One reading of all pods, in a process of its own: by our manager in either of its forms, or by a bare client.

python -m tests.bench.sync_readers bare|streaming|paged
"""

import argparse
import asyncio
import gc
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import anyio
import orjson
from attrs import define, field

from gastown_operator.api import labels
from gastown_operator.api.core import POD
from gastown_operator.controllers.polecat.observe import POD_INDEXES
from gastown_operator.controllers.polecat.reconciler import CONCURRENCY
from gastown_operator.runtime.configuration import Connection, load_connection
from gastown_operator.runtime.controller import Controller, Result, for_object
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.objects import ObjectKey

PAGE_SIZE: Final = 500
READ_BUFFER: Final = 4 * 1024 * 1024  # a whole page: the bare client shall not be slow for want of a setting
TICK: Final = 0.001  # seconds between two looks at the clock


@define(eq=False)
class Stalls:
    """How long the event loop did not turn: a timer of this loop that should come every millisecond, and how late it came."""

    longest: float = 0.0
    _timer: asyncio.TimerHandle | None = None
    _due: float = 0.0

    def watch(self) -> None:
        """Begin; call inside the loop."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + TICK
        self._timer = loop.call_at(self._due, self._tick)

    def stop(self) -> None:
        """End; what is still due counts."""
        self.longest = max(self.longest, asyncio.get_running_loop().time() - self._due)
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self.longest = max(self.longest, asyncio.get_running_loop().time() - self._due)
        self.watch()


@define(eq=False)
class First:
    """A reconciler that notes that the controllers have begun: the caches are complete, and their memory is settled."""

    begun: anyio.Event = field(factory=anyio.Event)

    async def reconcile(self, _: ObjectKey) -> Result:
        """Note it."""
        self.begun.set()
        return Result()


async def ours(connection: Connection, *, streaming: bool) -> Mapping[str, Any]:
    """From the start of the manager until its cache of pods is complete; stalls until the first reconcile."""
    manager = Manager(connection, Options(name="bench"))
    pods = manager.store(POD, POD_INDEXES, label_selector=labels.OURS)
    first, stalls = First(), Stalls()
    manager.add(Controller("bench", first, [for_object(POD)], concurrency=CONCURRENCY))
    (reflector,) = manager._reflectors
    reflector._can_stream = streaming
    memory, cpu = _memory(), time.process_time()
    stalls.watch()
    async with _running(manager):
        started = time.monotonic()
        await reflector.synced.wait()
        seconds, cpu = time.monotonic() - started, time.process_time() - cpu
        await first.begun.wait()
        stalls.stop()
    return _reading(seconds, cpu, len(pods), memory) | {"stall": stalls.longest}


@asynccontextmanager
async def _running(manager: Manager) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(manager.run)
        yield
        group.cancel_scope.cancel()


async def bare(connection: Connection) -> Mapping[str, Any]:
    """The same list in pages of the same size, read and decoded by aiohttp and orjson alone, and without collections, as ours."""
    gc.disable()
    count, token, memory, cpu = 0, "", _memory(), time.process_time()
    headers = {"Accept-Encoding": "identity"}
    started = time.monotonic()
    async with aiohttp.ClientSession(headers=headers, read_bufsize=READ_BUFFER) as session:
        while True:
            query = {"labelSelector": labels.OURS, "limit": str(PAGE_SIZE), "continue": token}
            url = f"{connection.server}/api/v1/pods"
            async with session.get(url, params=query, ssl=connection.tls or True) as response:
                page = orjson.loads(await response.read())
            count += len(page["items"])
            token = page["metadata"].get("continue") or ""
            if not token:
                return _reading(time.monotonic() - started, time.process_time() - cpu, count, memory)


def _reading(seconds: float, cpu: float, objects: int, memory: int) -> dict[str, Any]:
    return {"seconds": seconds, "cpu": cpu, "objects": objects, "bytes": _memory() - memory}


def _memory() -> int:
    """Return the most memory that the process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


READERS: Final[Mapping[str, Callable[[Connection], Awaitable[Mapping[str, Any]]]]] = {
    "bare": bare,
    "streaming": lambda connection: ours(connection, streaming=True),
    "paged": lambda connection: ours(connection, streaming=False),
}


async def run(arguments: argparse.Namespace) -> None:
    """Read once, and print the reading as JSON."""
    connection = Connection(arguments.url) if arguments.url else await load_connection()
    reading = await READERS[arguments.reader](connection)
    print(orjson.dumps(reading).decode())  # noqa: T201 - whoever started it reads this


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("reader", choices=list(READERS))
    parser.add_argument("url", nargs="?", help="of a scripted server (default: the cluster of KUBECONFIG)")
    anyio.run(run, parser.parse_args())


if __name__ == "__main__":
    main()
