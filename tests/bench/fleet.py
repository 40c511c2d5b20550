"""The rigs and polecats of a benchmark: their names, how they are made ready, and how they are taken away fast."""

import sys
from collections.abc import Iterator
from typing import Final

import anyio
import orjson
from attrs import frozen

from gastown_operator.api.core import NAMESPACE, POD
from gastown_operator.api.polecat import POLECAT
from gastown_operator.api.rig import RIG
from tests.bench import bodies
from tests.bench.direct import Access, Direct, direct
from tests.bench.stream_server_process import BenchmarkError
from tests.support.installation import install

AGENT: Final = "gastown-bench"
PER_RIG: Final = 100
SLOTS: Final = 100  # the most that a Rig may have
CLEAR_SECONDS: Final = 180.0
_ZERO_GRACE: Final = orjson.dumps({"gracePeriodSeconds": 0, "propagationPolicy": "Background"})


def say(text: str) -> None:
    """Print a line about the progress."""
    print(f"    {text}", file=sys.stderr, flush=True)  # noqa: T201 - for people who wait


@frozen
class Fleet:
    """Rigs that are numbered from `first` on, with as many polecats each. A rig's namespace has its name."""

    rigs: int
    per_rig: int = PER_RIG
    first: int = 0

    @classmethod
    def of(cls, polecats: int) -> "Fleet":
        """One rig for each hundred polecats."""
        return cls(max(1, polecats // PER_RIG), min(PER_RIG, polecats))

    @property
    def size(self) -> int:
        """How many polecats."""
        return self.rigs * self.per_rig

    def names(self) -> list[str]:
        """Return the names of the rigs."""
        return [f"bench-{number:02d}" for number in range(self.first, self.first + self.rigs)]

    def polecats(self) -> Iterator[tuple[str, str]]:
        """Yield rig and name of every polecat, each time of another rig."""
        for number in range(self.per_rig):
            for name in self.names():
                yield name, f"p{number:04d}"


def prepare(fleet: Fleet) -> Access:
    """Install what is shipped, and make the rigs and their namespaces, where they are not there yet."""
    install()
    access = Access.of_kubeconfig()
    anyio.run(_make, access, fleet)
    return access


def clear(access: Access, fleet: Fleet) -> None:
    """Take away all pods and polecats of a fleet; the rigs stay. Raises BenchmarkError when that takes too long."""
    anyio.run(_clear, access, fleet)


def count(access: Access, fleet: Fleet) -> int:
    """Return how many polecats of a fleet are Working now."""

    async def run() -> int:
        async with direct(access, AGENT) as api:
            lists = [await api.read(POLECAT.path(name)) for name in fleet.names()]
        return sum(
            item.get("status", {}).get("phase") == "Working" for page in lists for item in page["items"]
        )

    return anyio.run(run)


async def _make(access: Access, fleet: Fleet) -> None:
    async with direct(access, AGENT) as api:
        for name in fleet.names():
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await _ensure(api, NAMESPACE.path(), orjson.dumps(namespace))
            await _ensure(api, RIG.path(), orjson.dumps(bodies.rig(name, SLOTS)))


async def _ensure(api: Direct, path: str, body: bytes) -> None:
    try:
        await api.call("POST", path, body)
    except BenchmarkError as error:
        if "AlreadyExists" not in str(error):
            raise


async def _clear(access: Access, fleet: Fleet) -> None:
    async with direct(access, AGENT) as api:
        with anyio.move_on_after(CLEAR_SECONDS) as limit:
            async with anyio.create_task_group() as tasks:
                for name in fleet.names():
                    tasks.start_soon(_clear_namespace, api, name)
        if limit.cancelled_caught:
            raise BenchmarkError(
                f"the pods of {fleet.rigs} rigs were not gone within {CLEAR_SECONDS:.0f} s: is kwok well?"
            )


async def _clear_namespace(api: Direct, name: str) -> None:
    """First the polecats, so that nobody makes their pods anew, then the pods, and again until none is left."""
    while True:
        for kind in (POLECAT, POD):
            await api.call("DELETE", kind.path(name), _ZERO_GRACE)
        lists = [await api.read(f"{kind.path(name)}?limit=1") for kind in (POLECAT, POD)]
        if not any(found["items"] for found in lists):
            return
        await anyio.sleep(0.5)
