"""A reader that watches what the operator watches, decodes every line, and keeps nothing: python -m tests.bench.watcher."""

from typing import Any, Final

import anyio

from gastown_operator.api.convoy import CONVOY
from gastown_operator.api.core import NAMESPACE, POD
from gastown_operator.api.polecat import POLECAT
from gastown_operator.api.refinery import REFINERY
from gastown_operator.api.rig import RIG
from gastown_operator.api.witness import WITNESS
from gastown_operator.runtime.objects import Resource
from tests.bench.direct import Access, Direct, direct
from tests.bench.fleet import AGENT
from tests.bench.stream_server_reader import Meter

KINDS: Final[tuple[Resource[Any], ...]] = (POLECAT, RIG, POD, NAMESPACE, CONVOY, WITNESS, REFINERY)


async def _main() -> None:
    meter = Meter()
    async with direct(Access.of_kubeconfig(), f"{AGENT}-watcher") as api, anyio.create_task_group() as tasks:
        for kind in KINDS:
            path = kind.path()
            tasks.start_soon(_count, meter, api, path, await api.version(path))
        meter.ready()


async def _count(meter: Meter, api: Direct, path: str, version: str) -> None:
    async for _ in api.watch(path, "&allowWatchBookmarks=true", version):
        meter.events += 1


if __name__ == "__main__":
    anyio.run(_main)
