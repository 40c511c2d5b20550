"""Tokens that are rotated, and void before anybody expects it."""

from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import anyio
import pytest
from attrs import define, evolve
from prometheus_client import CollectorRegistry

from gastown_operator.runtime.client import Client
from gastown_operator.runtime.configuration import TOKEN_PERIOD, Connection, StaticToken
from gastown_operator.runtime.errors import Unauthorized
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.transport import Transport
from tests.apiserver.accounts import COPIER_RULES, Account, mount
from tests.apiserver.clocks import ShiftedClock
from tests.apiserver.copier import copier, copies, copies_of, create_originals, running, until
from tests.apiserver.link import Link
from tests.support.cluster import CONFIG_MAP, SECRET

pytestmark = pytest.mark.anyio

BOND = "bond"


@define
class Rotation:
    """A manager whose mounted token is bound to a Secret."""

    admin: Client
    account: Account
    directory: Path
    mounted: Connection
    clock: ShiftedClock

    async def bind(self) -> str:
        """Mount a token that is void once the Secret is deleted, and return it."""
        await self.admin.create(
            SECRET, {"metadata": {"name": BOND, "namespace": self.account.namespace}}, "test"
        )
        token = self.account.token(BOND)
        mount(self.directory, token)
        return token

    async def revoke(self, token: str) -> None:
        """Delete the Secret, and wait until the token is refused: the API server remembers good tokens for 10 s."""
        await self.admin.delete(SECRET, ObjectKey(self.account.namespace, BOND))
        transport = Transport(
            evolve(self.mounted, credentials=StaticToken(token)), Metrics(CollectorRegistry()), "probe"
        )
        client, deadline = Client(transport), monotonic() + 60
        try:
            while True:
                try:
                    await client.list_page(CONFIG_MAP, self.account.namespace, limit=1)
                except Unauthorized:
                    return
                assert monotonic() < deadline, "the token is still good"
                await anyio.sleep(0.2)
        finally:
            await transport.close()

    def unauthorized(self, manager: Manager) -> float:
        """Return how many reads and writes were answered 401."""
        host = urlsplit(self.mounted.server).netloc
        family = "rest_client_requests_total"
        values = [
            manager.registry.get_sample_value(family, {"code": "401", "method": method, "host": host})
            for method in ("GET", "POST", "PATCH")
        ]
        return sum(value or 0.0 for value in values)


@pytest.fixture
async def rotation(connection: Connection, admin: Client, namespace: str, tmp_path: Path) -> Rotation:
    account, clock = Account(admin, namespace), ShiftedClock()
    await account.create(*COPIER_RULES)
    return Rotation(admin, account, tmp_path, account.mounted(tmp_path, connection, clock), clock)


async def test_a_token_that_is_rotated_in_time_is_never_missed(rotation: Rotation, namespace: str) -> None:
    token = await rotation.bind()
    manager = Manager(rotation.mounted, Options("runtime-test", namespaces=(namespace,)))
    cache, _ = manager.store(CONFIG_MAP), copier(manager)
    async with running(manager):
        await create_originals(rotation.admin, namespace, ["a"])
        await until(lambda: copies(cache).keys() == copies_of(["a"]), "the first copy")
        mount(rotation.directory, rotation.account.token())
        rotation.clock.ahead += TOKEN_PERIOD
        await rotation.revoke(token)
        await create_originals(rotation.admin, namespace, ["b"])
        await until(lambda: copies(cache).keys() == copies_of(["a", "b"]), "a copy with the new token")
        assert manager.readyz.run().healthy
    assert rotation.unauthorized(manager) == 0


async def test_a_token_that_is_void_early_is_read_again_at_once(rotation: Rotation, namespace: str) -> None:
    """A 401 says more than a clock: neither a read, nor a write, nor a watch waits for the next regular look."""
    token = await rotation.bind()
    async with Link.to(rotation.mounted) as link:
        manager = Manager(link.connection, Options("runtime-test", namespaces=(namespace,)))
        cache, _ = manager.store(CONFIG_MAP), copier(manager)
        async with running(manager):
            await create_originals(rotation.admin, namespace, ["a"])
            await until(lambda: copies(cache).keys() == copies_of(["a"]), "the first copy")
            mount(rotation.directory, rotation.account.token())
            await rotation.revoke(token)
            await create_originals(rotation.admin, namespace, ["b"])
            await until(
                lambda: copies(cache).keys() == copies_of(["a", "b"]),
                "a copy with the new token",
                TOKEN_PERIOD / 2,
            )
            await link.drop()
            await create_originals(rotation.admin, namespace, ["c"])
            await until(
                lambda: copies(cache).keys() == copies_of(["a", "b", "c"]),
                "a watch with the new token",
                TOKEN_PERIOD / 2,
            )
            assert manager.readyz.run().healthy
        assert rotation.unauthorized(manager) <= 2
