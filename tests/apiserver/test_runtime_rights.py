"""Rights that are taken away and given back while a manager runs."""

from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

from gastown_operator.runtime.client import Client
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.errors import Forbidden
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.objects import ObjectKey, PartialObject, Resource
from tests.apiserver.accounts import COPIER_RULES, Account
from tests.apiserver.copier import (
    POLL,
    cached,
    copier,
    copies,
    copies_of,
    create_originals,
    live,
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
        assert 2 <= requests(manager, link.connection, 403) <= 6


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
    await account.create(COPIER_RULES[1])
    manager = Manager(account.mounted(tmp_path, connection), Options("runtime-test", namespaces=(namespace,)))
    cache, made = manager.store(CONFIG_MAP), copier(manager)
    await create_originals(admin, namespace, ["a"])
    async with running(manager):
        await until(lambda: "configmaps is forbidden" in manager.readyz.run().text, "it says why")
        assert (len(cache), made.reconciles) == (0, 0)
        await account.limit(*COPIER_RULES)
        await until(lambda: copies(cache).keys() == copies_of(["a"]), "a copy")
        assert manager.readyz.run().healthy


async def until_refused(client: Client, resource: Resource[PartialObject], namespace: str) -> None:
    """Return when the API server knows of the change: rights reach it by a watch, too."""
    for _ in range(200):
        try:
            await client.list_page(resource, namespace)
        except Forbidden:
            return
        await anyio.sleep(POLL)
    raise AssertionError("the right is still there")


def requests(manager: Manager, connection: Connection, code: int, method: str = "GET") -> float:
    """Return how many requests were answered so."""
    host = urlsplit(connection.server).netloc
    return sample(manager, "rest_client_requests_total", code=str(code), method=method, host=host)
