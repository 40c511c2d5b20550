"""A process that caches many pods and says how much memory that took: `python -m tests.faults.pod_cache COUNT`."""

import re
import sys
from pathlib import Path

import anyio
import orjson

from gastown_operator.api.core import POD
from gastown_operator.runtime.store import Store
from tests.unit.api.test_core import pod


def resident() -> float:
    """Return the resident memory of this process in MiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found.group(1)) / 1024 if found else 0.0


async def main(count: int) -> None:
    """Cache pods as a reflector does, each from its own bytes, and print the memory before and after."""
    store = Store(POD)
    partition = store.partition()
    before, table = resident(), partition.scratch()
    for number in range(count):
        table.put(POD.project(orjson.loads(orjson.dumps(pod(f"polecat-{number}")))))
    await partition.replace(table, 1)
    print(orjson.dumps({"objects": len(store), "before": before, "after": resident()}).decode())  # noqa: T201


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]))
