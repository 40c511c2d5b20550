"""Our own runtime as a reader of the scripted server: a manager with the polecat controller's cache of pods.

A controller that does nothing is woken by the pods' owner, as the polecat controller is. It keeps, if it is told to, when each version of a
pod was first seen by a reconcile.

    python -m tests.bench.event_rate_reader --pods N [--moments] [--uvloop] URL
"""

import argparse
import time
from collections.abc import Mapping
from typing import Any

import anyio
from attrs import define, field

from gastown_operator.api import labels
from gastown_operator.api.core import POD, Pod
from gastown_operator.api.polecat import POLECAT
from gastown_operator.controllers.polecat.observe import POD_INDEXES
from gastown_operator.controllers.polecat.reconciler import CONCURRENCY
from gastown_operator.runtime.clock import SystemClock
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.controller import Controller, Result, owned_by
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.store import Event, Store
from tests.bench.stream_server_reader import Meter


@define(eq=False)
class Watcher:
    """Reconciles Polecats by looking at their pod, and notes when."""

    pods: Store[Pod]
    expected: int
    keep: bool
    complete: anyio.Event = field(factory=anyio.Event)
    reconciles: int = 0
    moments: dict[int, int] = field(factory=dict)

    async def reconcile(self, key: ObjectKey) -> Result:
        """Note the version of the pod that this reconcile sees, and the time (CLOCK_MONOTONIC, ns)."""
        now = time.monotonic_ns()
        self.reconciles += 1
        if self.reconciles == self.expected:
            self.complete.set()
        pod = self.pods.get(ObjectKey(key.namespace, f"polecat-{key.name}"))
        if self.keep and pod is not None:
            self.moments.setdefault(pod.metadata.resource_version, now)
        return Result()

    def report(self) -> Mapping[str, Any]:
        """Return what was seen."""
        return {"reconciles": self.reconciles, "moments": list(self.moments.items())}


async def run(arguments: argparse.Namespace) -> None:
    """Run the manager until the process is killed."""
    manager = Manager(Connection(arguments.url), Options(name="bench"), SystemClock())
    pods = manager.store(POD, POD_INDEXES, label_selector=labels.OURS)
    watcher = Watcher(pods, arguments.pods, arguments.moments)
    meter = Meter(more=watcher.report)

    def count(_: Event[Pod]) -> None:
        meter.events += 1

    pods.add_handler(count)
    manager.add(Controller("bench", watcher, [owned_by(POD, POLECAT)], concurrency=CONCURRENCY))
    async with anyio.create_task_group() as group:
        group.start_soon(manager.run)
        await watcher.complete.wait()
        meter.ready()


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--pods", type=int, required=True, help="how many there are: ready once all were reconciled"
    )
    parser.add_argument("--moments", action="store_true")
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("url")
    arguments = parser.parse_args()
    anyio.run(run, arguments, backend_options={"use_uvloop": arguments.uvloop})


if __name__ == "__main__":
    main()
