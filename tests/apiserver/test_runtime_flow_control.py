"""API priority and fairness that refuses: a manager waits as it is told, and makes no storm."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import anyio
import pytest
from attrs import define
from prometheus_client import CollectorRegistry

from gastown_operator.runtime.client import Client, RetryPolicy
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.errors import TooManyRequests
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.objects import ObjectKey, PartialObject, Resource
from gastown_operator.runtime.transport import Transport
from tests.apiserver.accounts import COPIER_RULES, Account
from tests.apiserver.copier import (
    POLL,
    cached,
    copier,
    copies,
    copies_of,
    create_originals,
    live,
    running,
    until,
)
from tests.support.cluster import CONFIG_MAP

pytestmark = pytest.mark.anyio

FLOW_CONTROL = "flowcontrol.apiserver.k8s.io"
SCHEMA = Resource(
    FLOW_CONTROL, "v1", "FlowSchema", "flowschemas", namespaced=False, project=PartialObject.project
)
LEVEL = Resource(
    FLOW_CONTROL,
    "v1",
    "PriorityLevelConfiguration",
    "prioritylevelconfigurations",
    namespaced=False,
    project=PartialObject.project,
)
NAMES = [f"o-{number}" for number in range(6)]


@define
class Throttle:
    """A priority level with a single seat and no queue, for one ServiceAccount alone."""

    admin: Client
    account: Account
    connection: Connection
    name: str

    async def create(self) -> None:
        """Begin to limit. A level with no share of its own runs one request at a time."""
        reject = {"limitResponse": {"type": "Reject"}}
        shares = {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0}
        level = {"metadata": {"name": self.name}, "spec": {"type": "Limited", "limited": shares | reject}}
        await self.admin.create(LEVEL, level, "test")
        account = {"name": self.account.name, "namespace": self.account.namespace}
        everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}
        spec = {
            "matchingPrecedence": 2,
            "priorityLevelConfiguration": {"name": self.name},
            "rules": [
                {
                    "subjects": [{"kind": "ServiceAccount", "serviceAccount": account}],
                    "resourceRules": [everything],
                }
            ],
        }
        await self.admin.create(SCHEMA, {"metadata": {"name": self.name}, "spec": spec}, "test")

    async def remove(self) -> None:
        """Limit no more."""
        for resource in (SCHEMA, LEVEL):
            await self.admin.delete(resource, ObjectKey("", self.name))

    @asynccontextmanager
    async def occupied(self) -> AsyncIterator[None]:
        """Take the one seat: by a write whose body does not come. Nobody else of this account may be at work meanwhile."""
        with anyio.fail_after(60):
            while True:
                # The server learns of the level and of who belongs there a moment after they are stored.
                writer = await self._begin_a_write()
                if await self._taken():
                    break
                writer.transport.abort()
        yield
        writer.transport.abort()

    async def _begin_a_write(self) -> asyncio.StreamWriter:
        address = urlsplit(self.connection.server)
        authorization = await self.connection.credentials.authorization()
        _, writer = await asyncio.open_connection(address.hostname, address.port, ssl=self.connection.tls)
        head = (
            f"POST {CONFIG_MAP.path(self.account.namespace)} HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Authorization: {authorization}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
        )
        writer.write(head.encode() + b"{")
        await writer.drain()
        return writer

    async def _taken(self) -> bool:
        """Whether the level refuses soon, which a write that was counted elsewhere does not bring about."""
        transport = Transport(self.connection, Metrics(CollectorRegistry()), "probe")
        client = Client(transport, retry=RetryPolicy(attempts=1))
        try:
            for _ in range(50):
                try:
                    await client.list_page(CONFIG_MAP, self.account.namespace, limit=1)
                except TooManyRequests:
                    return True
                await anyio.sleep(POLL)
            return False
        finally:
            await transport.close()


@define
class Answers:
    """How a manager's requests were answered."""

    manager: Manager
    host: str

    def of(self, code: int, *methods: str) -> float:
        family = "rest_client_requests_total"
        labels = [{"code": str(code), "method": method, "host": self.host} for method in methods]
        return sum(self.manager.registry.get_sample_value(family, each) or 0.0 for each in labels)


@pytest.fixture
async def throttle(
    connection: Connection, admin: Client, namespace: str, tmp_path: Path
) -> AsyncIterator[Throttle]:
    account = Account(admin, namespace)
    await account.create(*COPIER_RULES)
    mounted = account.mounted(tmp_path, connection)
    made = Throttle(admin, account, mounted, f"runtime-test-{uuid4().hex[:8]}")
    yield made
    await made.remove()


async def test_refused_writes_wait_as_they_are_told(
    admin: Client, namespace: str, throttle: Throttle
) -> None:
    manager = Manager(throttle.connection, Options("runtime-test", namespaces=(namespace,)))
    cache, made = manager.store(CONFIG_MAP), copier(manager, concurrency=2)
    answers = Answers(manager, urlsplit(throttle.connection.server).netloc)
    async with running(manager):
        await until(lambda: manager.readyz.run().healthy, "ready")
        await throttle.create()
        async with throttle.occupied():
            started = anyio.current_time()
            await create_originals(admin, namespace, NAMES)
            await until(lambda: answers.of(429, "POST") >= len(NAMES), "every object was refused once")
            await until(lambda: answers.of(429, "POST") >= 2 * len(NAMES), "and again")
            seconds = anyio.current_time() - started
            assert answers.of(201, "POST") == 0
        attempts = answers.of(429, "POST") / len(NAMES)
        assert attempts <= 1 + seconds, f"{attempts:.1f} attempts each in {seconds:.1f} s, told to wait 1 s"
        await until(lambda: copies(cache).keys() == copies_of(NAMES), "all copies", 40)
        assert cached(cache) == await live(admin, CONFIG_MAP, namespace)
    assert made.refusals == []


async def test_a_manager_that_is_refused_from_the_beginning_starts_when_it_is_let(
    admin: Client, namespace: str, throttle: Throttle
) -> None:
    manager = Manager(throttle.connection, Options("runtime-test", namespaces=(namespace,)))
    cache, _ = manager.store(CONFIG_MAP), copier(manager)
    answers = Answers(manager, urlsplit(throttle.connection.server).netloc)
    await create_originals(admin, namespace, NAMES[:5])
    await throttle.create()
    async with AsyncExitStack() as seat:
        await seat.enter_async_context(throttle.occupied())
        async with running(manager):
            await until(lambda: "429" in manager.readyz.run().text, "it says why it is not ready")
            await until(lambda: answers.of(429, "GET") >= 2, "it tries again")
            await seat.aclose()
            await until(lambda: copies(cache).keys() == copies_of(NAMES[:5]), "the copies")
            assert manager.readyz.run().healthy
    assert answers.of(429, "GET") <= 6
