"""What the fault tests share."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from attrs import define, field
from prometheus_client import CollectorRegistry

from gastown_operator.runtime.client import Client, RetryPolicy
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.manager import Manager
from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.objects import PartialObject, Raw, Resource
from gastown_operator.runtime.reflector import Reflector, Selection
from gastown_operator.runtime.store import Event, Store
from gastown_operator.runtime.testing import VirtualClock
from gastown_operator.runtime.transport import Transport
from tests.faults.scripted_server import ScriptedServer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


CONFIG_MAP = Resource("", "v1", "ConfigMap", "configmaps", namespaced=True, project=PartialObject.project)


@define
class Rig:
    """A reflector of config maps on a scripted server, in virtual time."""

    server: ScriptedServer
    clock: VirtualClock = field(factory=VirtualClock)
    resource: Resource[PartialObject] = CONFIG_MAP
    registry: CollectorRegistry = field(factory=CollectorRegistry)
    events: list[Event[PartialObject]] = field(factory=list)
    malformed: list[Raw] = field(factory=list)
    metrics: Metrics = field(init=False)
    transport: Transport = field(init=False)
    client: Client = field(init=False)
    store: Store[PartialObject] = field(init=False)
    reflector: Reflector[PartialObject] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.metrics = Metrics(self.registry)
        self.transport = Transport(Connection(self.server.url), self.metrics, "tests")
        self.client = Client(self.transport, self.clock, RetryPolicy(attempts=1))
        self.store = Store(self.resource)
        self.store.add_handler(self.events.append)
        self.reflector = Reflector(
            self.resource,
            Selection(),
            self.store.partition(),
            self.client,
            self.transport,
            self.clock,
            Random(7),  # noqa: S311 - jitter, not cryptography
            self.metrics.informer("configmaps"),
            lambda _resource, raw, _error: self.malformed.append(raw),
        )

    def given_up(self) -> str:
        """Say why the reflector rests, if it does."""
        return self.reflector.problem

    def names(self) -> list[str]:
        return [value.metadata.name for value in self.store.values()]

    def happened(self) -> list[tuple[str, str]]:
        return [(event.type.value, event.object.metadata.name) for event in self.events]

    def sample(self, name: str, **labels: Any) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer().running() as running:
        yield running


@pytest.fixture
async def rig(server: ScriptedServer) -> AsyncIterator[Rig]:
    rig = Rig(server)
    yield rig
    await rig.transport.close()


@asynccontextmanager
async def running(manager: Manager) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(manager.run)
        yield
        manager.stop()


async def until(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    with anyio.fail_after(seconds):
        while not condition():
            await checkpoint()
