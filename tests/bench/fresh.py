"""Something new for the operator: a Polecat that is made now, and the moment at which its pod is there."""

from collections.abc import Callable
from time import monotonic
from typing import Final

import anyio
import orjson
from attrs import define, field

from gastown_operator.api.core import POD
from gastown_operator.api.polecat import POLECAT
from tests.bench import bodies
from tests.bench.direct import Access, Direct, direct
from tests.bench.fleet import AGENT, Fleet
from tests.bench.stream_server_process import BenchmarkError

PERIOD: Final = 0.2
LIMIT: Final = 90.0
RIG_NUMBER: Final = 90  # beside those that are full


def rig_of_fresh() -> Fleet:
    """The rig that has a free slot for each of them."""
    return Fleet(rigs=1, per_rig=0, first=RIG_NUMBER)


@define
class Fresh:
    """Makes Polecats and sees their pods come."""

    api: Direct
    rig: str
    _made: int = field(init=False, default=0)

    async def first_handled(self, begin: Callable[[], None]) -> float:
        """Seconds from the call of `begin` to the first pod of a Polecat that was made after it.

        A new Polecat comes every moment, so that one of them is a fresh event whenever the operator has its caches.
        """
        version = await self.api.version(POD.path(self.rig))
        async with anyio.create_task_group() as tasks:
            began = monotonic()
            begin()
            tasks.start_soon(self._make_again_and_again)
            with anyio.move_on_after(LIMIT):
                async for kind, _ in self.api.watch(POD.path(self.rig), "", version):
                    if kind == "ADDED":
                        tasks.cancel_scope.cancel()
                        return monotonic() - began
        raise BenchmarkError(f"no Polecat that was made meanwhile had a pod within {LIMIT:.0f} s")

    async def _make_again_and_again(self) -> None:
        while True:
            self._made += 1
            body = bodies.polecat(self.rig, f"fresh-{self._made:05d}")
            await self.api.call("POST", POLECAT.path(self.rig), orjson.dumps(body))
            await anyio.sleep(PERIOD)


def first_handled(access: Access, begin: Callable[[], None]) -> float:
    """Seconds from `begin` until something that was made after it is acted on. Raises BenchmarkError."""

    async def run() -> float:
        (rig,) = rig_of_fresh().names()
        async with direct(access, AGENT) as api:
            return await Fresh(api, rig).first_handled(begin)

    return anyio.run(run)
