"""The guarded metrics endpoint against a real API server: service accounts, RBAC, tokens that ended, renewed certificates."""

import base64
import json
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import anyio
import pytest
import yaml
from attrs import define, field, frozen
from prometheus_client import CollectorRegistry

from gastown_operator.runtime.access import MetricsSecurity
from gastown_operator.runtime.certificates import CHECK_INTERVAL
from gastown_operator.runtime.client import Client
from gastown_operator.runtime.configuration import Connection, StaticToken
from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.objects import PartialObject, Raw, Resource
from gastown_operator.runtime.server import Address, metrics_application, serve
from gastown_operator.runtime.testing import VirtualClock
from gastown_operator.runtime.transport import Transport
from tests.apiserver.client import JSON
from tests.apiserver.client import Client as Admin
from tests.apiserver.rights import REVIEW, allowed, questions
from tests.support.cluster import SERVICE_ACCOUNT
from tests.support.key_pairs import KeyPair, MountedSecret, make_pair
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

RBAC = "rbac.authorization.k8s.io"
ROLE = Resource(RBAC, "v1", "ClusterRole", "clusterroles", namespaced=False, project=PartialObject.project)
BINDING = Resource(
    RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False, project=PartialObject.project
)

REVIEWER = [
    {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
    {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
]
SCRAPER = [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@frozen
class Accounts:
    """Service accounts of a namespace, each with the cluster-wide rights that it was given."""

    admin: Admin
    namespace: str
    made: list[tuple[Resource[Any], str]] = field(factory=list)

    def account(self, name: str, rules: list[JSON] | None = None) -> str:
        """Make an account with these rights, and return a token of it."""
        self.admin.create(SERVICE_ACCOUNT, {"metadata": self._metadata(name)}).object()
        if rules:
            self.grant(name, rules)
        return self.token(name)

    def grant(self, name: str, rules: list[JSON]) -> None:
        """Give an account these rights."""
        role = f"{self.namespace}-{name}"
        reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}
        subject = {"kind": "ServiceAccount", **self._metadata(name)}
        self._make(ROLE, {"metadata": {"name": role}, "rules": rules})
        self._make(BINDING, {"metadata": {"name": role}, "roleRef": reference, "subjects": [subject]})
        user = f"system:serviceaccount:{self.namespace}:{name}"
        for question in questions(user, rules):
            eventually(partial(self._allowed, question), f"{name} has its rights")

    def token(self, name: str) -> str:
        """Request a token."""
        path = SERVICE_ACCOUNT.path(self.namespace, name, "token")
        return str(self.admin.request("POST", path, {"spec": {}}).object()["status"]["token"])

    def delete(self, name: str) -> None:
        """Delete an account, which revokes its tokens."""
        self.admin.request("DELETE", SERVICE_ACCOUNT.path(self.namespace, name)).object()

    def clean(self) -> None:
        for resource, name in self.made:
            self.admin.request("DELETE", resource.path(name=name)).object()

    def _allowed(self, question: Raw) -> bool:
        return allowed(self.admin.create(REVIEW, dict(question)).object())

    def _metadata(self, name: str) -> JSON:
        return {"name": name, "namespace": self.namespace}

    def _make(self, resource: Resource[Any], body: JSON) -> None:
        self.admin.create(resource, body).object()
        self.made.append((resource, body["metadata"]["name"]))


@pytest.fixture
def accounts(client: Admin, namespace: str) -> Iterator[Accounts]:
    made = Accounts(client, namespace)
    yield made
    made.clean()


def connected_as(token: str) -> Connection:
    """Return a connection on which nothing but this token speaks: without the kubeconfig's client certificate."""
    cluster = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    return Connection(cluster["server"], ssl.create_default_context(cadata=authority), StaticToken(token))


@define
class Operator:
    """A process with guarded metrics, which may review unless a test takes that from it."""

    url: str
    clock: VirtualClock
    secret: MountedSecret
    registry: CollectorRegistry
    trusting: ssl.SSLContext

    async def scrape(self, token: str | None, method: str = "GET") -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        async with aiohttp.ClientSession(headers=headers) as session:
            return await self.scrape_in(session, self.trusting, method)

    async def scrape_in(
        self, session: aiohttp.ClientSession, trusting: ssl.SSLContext, method: str = "GET"
    ) -> tuple[int, str]:
        """Scrape on a connection of the session, or on a new one if it has none with this trust."""
        async with session.request(method, self.url, ssl=trusting) as response:
            return response.status, await response.text()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, KeyPair]:
    directory = tmp_path_factory.mktemp("pairs")
    return {name: make_pair(directory, name) for name in ("first", "second")}


@pytest.fixture
def rules() -> list[JSON]:
    return REVIEWER


@pytest.fixture
async def operator(
    accounts: Accounts, tmp_path: Path, pairs: Mapping[str, KeyPair], rules: list[JSON]
) -> AsyncIterator[Operator]:
    clock, registry = VirtualClock(), CollectorRegistry()
    secret = MountedSecret(tmp_path / "secret")
    secret.write("v1", pairs["first"].certificate, pairs["first"].key)
    security = MetricsSecurity(secret.directory, authenticate=True)
    connection = connected_as(accounts.account("operator", rules))
    transport = Transport(connection, Metrics(registry), "test-operator")
    access = security.access(Client(transport), clock, Random(7))  # noqa: S311 - jitter, not cryptography
    tls = security.certificate(registry, clock)
    async with serve(metrics_application(registry, access), Address("127.0.0.1", 0), tls) as port:
        yield Operator(
            f"https://127.0.0.1:{port}/metrics", clock, secret, registry, pairs["first"].trusting()
        )
    await transport.close()


async def test_a_service_account_reads_the_metrics_if_rbac_lets_it(
    operator: Operator, accounts: Accounts
) -> None:
    token = accounts.account("prometheus", SCRAPER)
    status, text = await operator.scrape(token)
    assert status == 200
    assert "# TYPE rest_client_requests_total counter" in text
    assert await operator.scrape(token, "HEAD") == (200, "")
    posts = 'rest_client_requests_total{code="201",host="'
    [line] = [line for line in (await operator.scrape(token))[1].splitlines() if line.startswith(posts)]
    assert line.endswith(" 2.0"), "one review of the token and one of the right"


async def test_a_service_account_without_the_right_is_told_so_until_it_has_it(
    operator: Operator, accounts: Accounts
) -> None:
    token = accounts.account("visitor")
    user = f"system:serviceaccount:{accounts.namespace}:visitor"
    assert await operator.scrape(token) == (403, f"Forbidden: {user} may not get /metrics\n")
    accounts.grant("visitor", SCRAPER)
    assert (await operator.scrape(token))[0] == 403
    operator.clock.move(30)
    assert (await operator.scrape(token))[0] == 200


@pytest.mark.parametrize("token", [None, "garbage", "a.b.c", "x" * 8000])
async def test_who_brings_nothing_or_garbage_is_unauthorized(operator: Operator, token: str | None) -> None:
    assert (await operator.scrape(token))[0] == 401


async def test_a_revoked_token_is_refused_once_the_answer_is_a_minute_old(
    operator: Operator, accounts: Accounts
) -> None:
    token = accounts.account("prometheus", SCRAPER)
    assert (await operator.scrape(token))[0] == 200
    accounts.delete("prometheus")
    assert (await operator.scrape(token))[0] == 200
    with anyio.fail_after(60):  # the API server believes its own answers for ten seconds
        operator.clock.move(60)
        while (await operator.scrape(token))[0] != 401:
            await anyio.sleep(0.2)
            operator.clock.move(60)


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def signed(claims: JSON, key: Path) -> str:
    """Return a token of these claims as the cluster's own key signs it (ES256)."""
    message = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "ES256"}, claims))
    signing = ["openssl", "dgst", "-sha256", "-sign", str(key)]
    der = subprocess.run(signing, input=message.encode(), capture_output=True, check=True).stdout
    # A sequence of two integers: 30 length 02 length r 02 length s.
    first = der[4 : 4 + der[3]]
    second = der[6 + len(first) :]
    halves = [int.from_bytes(number, "big").to_bytes(32, "big") for number in (first, second)]
    return f"{message}.{encoded(b''.join(halves))}"


@pytest.fixture
def signing_key() -> Path:
    """The key that signs the cluster's tokens."""
    key = Path(f"/run/gastown-lab/{os.environ.get('GASTOWN_LAB', '')}/pki/service-account.key")
    if not key.exists():
        pytest.skip("only the lab lends its key")
    return key


async def test_an_expired_token_is_refused(operator: Operator, accounts: Accounts, signing_key: Path) -> None:
    token = accounts.account("prometheus", SCRAPER)
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert (await operator.scrape(signed(claims, signing_key)))[0] == 200
    earlier = {name: claims[name] - 7200 for name in ("iat", "nbf", "exp")}
    assert (await operator.scrape(signed(claims | earlier, signing_key)))[0] == 401


@pytest.mark.parametrize("rules", [REVIEWER[1:], REVIEWER[:1]], ids=["tokenreviews", "subjectaccessreviews"])
async def test_without_rights_of_its_own_the_operator_admits_nobody_and_says_what_it_lacks(
    operator: Operator, accounts: Accounts, rules: list[JSON], caplog: pytest.LogCaptureFixture
) -> None:
    status, text = await operator.scrape(accounts.account("prometheus", SCRAPER))
    assert status == 500
    assert "the log has the reason" in text
    missing = "subjectaccessreviews" if rules == REVIEWER[:1] else "tokenreviews"
    assert f'operator" cannot create resource "{missing}" in API group' in caplog.text


async def test_a_renewed_certificate_is_served_without_dropping_who_is_connected(
    operator: Operator, accounts: Accounts, pairs: Mapping[str, KeyPair]
) -> None:
    headers = {"Authorization": f"Bearer {accounts.account('prometheus', SCRAPER)}"}
    renewed = pairs["second"]
    async with aiohttp.ClientSession(headers=headers) as old, aiohttp.ClientSession(headers=headers) as new:
        assert (await operator.scrape_in(old, operator.trusting))[0] == 200
        operator.secret.write("v2", renewed.certificate, renewed.key)
        operator.clock.move(CHECK_INTERVAL)
        assert (await operator.scrape_in(new, renewed.trusting()))[0] == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await operator.scrape_in(new, operator.trusting)
        assert (await operator.scrape_in(old, operator.trusting))[0] == 200
    sample = operator.registry.get_sample_value
    assert sample("certwatcher_read_certificate_total") == 2
    assert sample("certwatcher_read_certificate_errors_total") == 0
