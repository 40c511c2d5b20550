"""A process that stands for the users, or for everybody at once: 24 writers, and one watch that sees what comes of it.

python -m tests.bench.crowd (user | bare) RIGS PER_RIG FIRST

`user` makes Polecats and waits until all are Working. `bare` makes the same Polecats, their pods and their statuses as
the operator does, and waits until all pods are Running: what the operator is compared with.
"""

import sys
from collections.abc import Iterator
from statistics import quantiles
from time import monotonic, process_time
from typing import Any, Final

import anyio
import orjson
from attrs import asdict, define, field, frozen

from gastown_operator.api.core import POD
from gastown_operator.api.polecat import POLECAT
from tests.bench import bodies
from tests.bench.bodies import Templates, filled
from tests.bench.direct import APPLY, Access, Direct, direct
from tests.bench.fleet import AGENT, Fleet, say

WRITERS: Final = 24
PROGRESS_SECONDS: Final = 5.0
JSON = dict[str, Any]


@frozen
class Outcome:
    """What a crowd saw, in seconds. `written` is when its last write was answered."""

    seconds: float
    written: float
    cpu: float
    p50: float
    p99: float


@define
class Crowd:
    """Writes for every polecat of a fleet, and notes when each was begun and when it had come where it should."""

    api: Direct
    fleet: Fleet
    templates: Templates | None = None
    _began: dict[tuple[str, str], float] = field(factory=dict)
    _took: list[float] = field(factory=list)
    _all: anyio.Event = field(factory=anyio.Event)

    async def run(self) -> Outcome:
        """Return when everything is written and seen."""
        kind = POLECAT if self.templates is None else POD
        version = await self.api.version(kind.path())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._see, kind.path(), version)
            tasks.start_soon(self._tell)
            cpu, start = process_time(), monotonic()
            await self._write_all()
            written = monotonic() - start
            await self._all.wait()
            seconds = monotonic() - start
            tasks.cancel_scope.cancel()
        cuts = quantiles(self._took, n=100, method="inclusive")
        return Outcome(seconds, written, process_time() - cpu, cuts[49], cuts[98])

    async def _write_all(self) -> None:
        polecats = self.fleet.polecats()
        async with anyio.create_task_group() as writers:
            for _ in range(min(WRITERS, self.fleet.size)):
                writers.start_soon(self._write, polecats)

    async def _write(self, polecats: Iterator[tuple[str, str]]) -> None:
        for rig, name in polecats:
            self._began[rig, name] = monotonic()
            body = orjson.dumps(bodies.polecat(rig, name))
            answer = await self.api.call("POST", POLECAT.path(rig), body)
            if self.templates is not None:
                await self._act(self.templates, rig, name, orjson.loads(answer)["metadata"]["uid"])

    async def _act(self, templates: Templates, rig: str, name: str, uid: str) -> None:
        """Do what the operator would do."""
        manager = f"fieldManager={bodies.FIELD_MANAGER}"
        pod = filled(templates.pod, rig, name, uid)
        await self.api.call("POST", f"{POD.path(rig)}?{manager}", pod)
        path = f"{POLECAT.path(rig, name, 'status')}?{manager}&force=true"
        await self.api.call("PATCH", path, filled(templates.status, rig, name, uid), APPLY)

    async def _see(self, path: str, version: str) -> None:
        there: set[tuple[str, str]] = set()
        wanted = "Working" if self.templates is None else "Running"
        async for _, found in self.api.watch(path, "", version):
            if found.get("status", {}).get("phase") != wanted:
                continue
            metadata = found["metadata"]
            polecat = metadata["namespace"], metadata["name"].removeprefix("polecat-")
            if polecat in self._began and polecat not in there:
                there.add(polecat)
                self._took.append(monotonic() - self._began[polecat])
                if len(there) == self.fleet.size:
                    self._all.set()

    async def _tell(self) -> None:
        while True:
            await anyio.sleep(PROGRESS_SECONDS)
            say(f"{len(self._began):,} of {self.fleet.size:,} polecats made, {len(self._took):,} at work")


async def _main(mode: str, rigs: int, per_rig: int, first: int) -> None:
    templates = Templates.make() if mode == "bare" else None
    async with direct(Access.of_kubeconfig(), f"{AGENT}-{mode}") as api:
        outcome = await Crowd(api, Fleet(rigs, per_rig, first), templates).run()
    sys.stdout.buffer.write(orjson.dumps(asdict(outcome)))


if __name__ == "__main__":
    chosen, rig_count, of_each, first_rig = sys.argv[1:]
    anyio.run(_main, chosen, int(rig_count), int(of_each), int(first_rig))
