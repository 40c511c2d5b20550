"""Rights that are taken away and given back while a manager runs."""

from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

from gastown_operator.runtime.client import Client
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.errors import Forbidden
from gastown_operator.runtime.helpers import controller_reference
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.objects import ObjectKey, PartialObject, Resource
from gastown_operator.runtime.plan import Create, Plan
from tests.apiserver.accounts import BLOCK_DELETION, COPIER_RULES, Account
from tests.apiserver.copier import (
    POLL,
    cached,
    copier,
    copies,
    copies_of,
    create_originals,
    live,
    original,
    relists,
    running,
    sample,
    until,
)
from tests.apiserver.link import Link
from tests.support.cluster import CONFIG_MAP, SECRET

pytestmark = pytest.mark.anyio

READ_SECRETS = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]}


async def test_a_manager_without_rights_serves_its_cache_and_goes_on_once_it_has_them_again(
    connection: Connection, admin: Client, namespace: str, tmp_path: Path
) -> None:
    account = Account(admin, namespace)
    await account.create(*COPIER_RULES)
    async with Link.to(account.mounted(tmp_path, connection)) as link:
        manager = Manager(link.connection, Options("runtime-test", namespaces=(namespace,)))
        cache, made = manager.store(CONFIG_MAP), copier(manager)
        await create_originals(admin, namespace, ["a", "b", "c"])
        async with running(manager):
            await until(lambda: copies(cache).keys() == copies_of(["a", "b", "c"]), "the first copies")
            before = cached(cache)

            await account.take()
            await until_refused(manager.client, CONFIG_MAP, namespace)
            await link.drop()  # a watch that has begun outlives the right to begin it
            await until(lambda: not manager.readyz.run().healthy, "not ready")
            await until(lambda: "configmaps is forbidden" in manager.readyz.run().text, "it says why")
            await admin.delete(CONFIG_MAP, ObjectKey(namespace, "c"))
            await create_originals(admin, namespace, ["d"])
            assert cached(cache) == before

            await account.give()
            await until(lambda: manager.readyz.run().healthy, "ready again")
            await until(lambda: copies(cache).keys() == copies_of(["a", "b", "d"]), "what was missed")
            assert cached(cache) == await live(admin, CONFIG_MAP, namespace)
        assert made.refusals == []
        assert relists(manager, CONFIG_MAP, "initial") == 1
        assert 2 <= requests(manager, link.connection, 403) <= 10


async def test_one_kind_that_may_not_be_read_does_not_stop_the_others(
    connection: Connection, admin: Client, namespace: str, tmp_path: Path
) -> None:
    account = Account(admin, namespace)
    await account.create(*COPIER_RULES, READ_SECRETS)
    async with Link.to(account.mounted(tmp_path, connection)) as link:
        manager = Manager(link.connection, Options("runtime-test", namespaces=(namespace,)))
        cache, _, secrets = manager.store(CONFIG_MAP), copier(manager), manager.store(SECRET)
        async with running(manager):
            await until(lambda: manager.readyz.run().healthy, "ready")
            await account.limit(*COPIER_RULES)
            await until_refused(manager.client, SECRET, namespace)
            await link.drop()
            await until(
                lambda: "secrets is forbidden" in manager.readyz.run().text, "it says what is missing"
            )
            await create_originals(admin, namespace, ["a"])
            await until(lambda: copies(cache).keys() == copies_of(["a"]), "a copy")
            assert "configmaps" not in manager.readyz.run().text

            await admin.create(SECRET, {"metadata": {"name": "s", "namespace": namespace}}, "test")
            await account.limit(*COPIER_RULES, READ_SECRETS)
            await until(lambda: secrets.get(ObjectKey(namespace, "s")) is not None, "the secret")
            assert manager.readyz.run().healthy


async def test_a_manager_that_starts_without_rights_waits_for_them(
    connection: Connection, admin: Client, namespace: str, tmp_path: Path
) -> None:
    account = Account(admin, namespace)
    await account.create(COPIER_RULES[-1])
    manager = Manager(account.mounted(tmp_path, connection), Options("runtime-test", namespaces=(namespace,)))
    cache, made = manager.store(CONFIG_MAP), copier(manager)
    await create_originals(admin, namespace, ["a"])
    async with running(manager):
        await until(lambda: "configmaps is forbidden" in manager.readyz.run().text, "it says why")
        assert (len(cache), made.reconciles) == (0, 0)
        await account.limit(*COPIER_RULES)
        await until(lambda: copies(cache).keys() == copies_of(["a"]), "a copy")
        assert manager.readyz.run().healthy


@pytest.mark.parametrize(
    ("blocking", "may_block", "made"), [(False, False, True), (True, False, False), (True, True, True)]
)
async def test_only_who_may_change_an_owners_finalizers_can_block_its_deletion(
    connection: Connection,
    admin: Client,
    namespace: str,
    tmp_path: Path,
    blocking: bool,
    may_block: bool,
    made: bool,
) -> None:
    account = Account(admin, namespace)
    rules = [rule for rule in COPIER_RULES if may_block or rule is not BLOCK_DELETION]
    await account.create(*rules)
    owner = PartialObject.project(await admin.create(CONFIG_MAP, original(namespace, "owner"), "test"))
    reference = controller_reference(CONFIG_MAP, owner.metadata, block_deletion=blocking)
    body = {"metadata": {"name": "owned", "namespace": namespace, "ownerReferences": [reference]}}
    manager = Manager(account.mounted(tmp_path, connection), Options("runtime-test", namespaces=(namespace,)))
    execution = await manager.executor("copier").execute(CONFIG_MAP, owner, Plan((Create(CONFIG_MAP, body),)))
    await manager.close()
    refused = execution.refusal
    assert made == (refused is None)
    if refused is not None:
        assert isinstance(refused.error, Forbidden)
        assert "blockOwnerDeletion" in str(refused.error)


async def until_refused(client: Client, resource: Resource[PartialObject], namespace: str) -> None:
    """Return when the API server knows of the change: rights reach it by a watch, too."""
    with anyio.fail_after(60):
        while True:
            try:
                await client.list_page(resource, namespace)
            except Forbidden:
                return
            await anyio.sleep(POLL)


def requests(manager: Manager, connection: Connection, code: int, method: str = "GET") -> float:
    """Return how many requests were answered so."""
    host = urlsplit(connection.server).netloc
    return sample(manager, "rest_client_requests_total", code=str(code), method=method, host=host)
