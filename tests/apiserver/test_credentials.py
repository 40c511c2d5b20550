"""Credentials that two replicas keep fresh for many readers, against a token endpoint whose refresh tokens are good once.

Time is real, and tokens live for seconds: what is refreshed 10 minutes before its end in earnest is refreshed at half of its life here.
"""

import base64
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from attrs import define, field

from gastown_operator.api.core import NAMESPACE, POD
from gastown_operator.api.polecat import POLECAT
from gastown_operator.api.rig import RIG
from gastown_operator.controllers.credential.state import REFUSED, STATE
from hack.render import render
from hack.token_server.server import CLIENT_ID, Fault, TokenServer
from tests.apiserver.client import JSON, Client
from tests.support.cluster import SECRET, Cluster, kubectl
from tests.support.installation import NAMESPACE as SYSTEM
from tests.support.installation import install, operator_kubeconfig
from tests.support.operator_process import OperatorProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

LIFETIME = 20.0  # refreshed at half of it, so a new leader on a busy machine has ten seconds
READERS = 20
FILE = ".credentials.json"


def encoded(**data: str) -> dict[str, str]:
    return {name.replace("__", "."): base64.b64encode(text.encode()).decode() for name, text in data.items()}


def decoded(secret: JSON) -> dict[str, str]:
    return {name: base64.b64decode(text).decode() for name, text in secret["data"].items()}


@define
class Site:
    """A cluster with two namespaces where a rig works, and credentials of the operator's."""

    cluster: Cluster
    tokens: TokenServer
    directory: Path
    suffix: str = field(factory=lambda: uuid4().hex[:8])
    processes: list[OperatorProcess] = field(factory=list)

    @property
    def oauth(self) -> str:
        return f"claude-{self.suffix}"

    @property
    def git(self) -> str:
        return f"git-{self.suffix}"

    @property
    def work(self) -> str:
        return f"work-{self.suffix}"

    @property
    def team(self) -> str:
        return f"team-{self.suffix}"

    def prepare(self) -> None:
        install()
        kubectl("apply", "-f", "-", stdin=render({}, (), credentials=(self.oauth, self.git)))
        for name in (self.work, self.team):
            self.cluster.create(NAMESPACE, {"metadata": {"name": name}})
        self.log_in(create=True)
        self.create_secret(SYSTEM, self.git, "kubernetes.io/basic-auth", encoded(username="u", password="p"))
        self.cluster.create(RIG, {"metadata": {"name": self.work}, "spec": self.rig_spec()})

    def rig_spec(self) -> JSON:
        return {
            "gitURL": "https://git.example.invalid/project.git",
            "beadsPrefix": "gt",
            "workNamespace": self.work,
            "allowedNamespaces": [self.work, self.team],
            "defaults": {
                "gitSecretRef": {"name": self.git},
                "providerSecretRef": {"name": self.oauth, "key": "access-token"},
            },
        }

    def create_secret(self, namespace: str, name: str, kind: str, data: JSON) -> None:
        body = {"metadata": {"name": name, "namespace": namespace}, "type": kind, "data": data}
        self.cluster.create(SECRET, body)

    def log_in(self, *, create: bool = False) -> None:
        """Put in what somebody has who has just logged in."""
        data = encoded(__credentials__json=self.tokens.credentials_file())
        if create:
            self.create_secret(SYSTEM, self.oauth, "Opaque", data)
        else:
            named = {"metadata": {"namespace": SYSTEM, "name": self.oauth}}
            self.cluster.client.patch(SECRET, named, {"data": data}).object()

    def clean(self) -> None:
        for process in self.processes:
            if process.runs:
                process.kill()
        self.cluster.delete(RIG, "", self.work)
        for name in (self.work, self.team):
            self.cluster.delete(NAMESPACE, "", name)
        for name in (self.oauth, self.git):
            self.cluster.delete(SECRET, SYSTEM, name)
        kubectl("delete", "--ignore-not-found", "clusterrole", "gastown-operator-copies")

    def start(self, number: int) -> OperatorProcess:
        directory = self.directory / f"replica-{number}"
        directory.mkdir()
        process = OperatorProcess(
            operator_kubeconfig(directory),
            directory / "operator.log",
            (
                *("--workload-image", "workload:1", "--leader-elect"),
                *("--leader-election-lease-duration", "4", "--leader-election-renew-deadline", "3"),
                *("--leader-election-retry-period", "0.3", "--credentials", f"{self.oauth},{self.git}"),
                *("--oauth-token-endpoint", self.tokens.url, "--oauth-client-id", CLIENT_ID),
            ),
        )
        self.processes.append(process)
        process.start()
        return process

    def copy(self, namespace: str, name: str) -> JSON | None:
        return self.cluster.get(SECRET, namespace, name)

    def source(self) -> JSON:
        found = self.cluster.get(SECRET, SYSTEM, self.oauth)
        assert found is not None
        return found

    def state(self) -> str:
        return str(self.source()["metadata"].get("annotations", {}).get(STATE, ""))

    def sling(self) -> None:
        """Ask for work."""
        spec = {
            "rig": self.work,
            "desiredState": "Working",
            "executionMode": "kubernetes",
            "taskDescription": "Fix it",
        }
        self.cluster.create(POLECAT, {"metadata": {"name": "toast", "namespace": self.work}, "spec": spec})

    def queued_reason(self) -> str:
        polecat = self.cluster.get(POLECAT, self.work, "toast") or {}
        conditions = polecat.get("status", {}).get("conditions", [])
        return next((str(each["reason"]) for each in conditions if each["type"] == "Queued"), "")

    def rig_reason(self) -> str:
        rig = self.cluster.get(RIG, "", self.work) or {}
        conditions = rig.get("status", {}).get("conditions", [])
        return next((str(each["reason"]) for each in conditions if each["type"] == "Ready"), "")


@pytest.fixture
def site(client: Client, tmp_path: Path) -> Iterator[Site]:
    with TokenServer(LIFETIME) as tokens:
        made = Site(Cluster(client), tokens, tmp_path)
        try:
            made.prepare()
            yield made
        finally:
            made.clean()


@define
class Readers:
    """What gateways do: read the mirrored Secret for each request, and call the model with the token that is in it."""

    site: Site
    over: threading.Event = field(factory=threading.Event)

    def read(self, number: int) -> int:
        namespace = (self.site.work, self.site.team)[number % 2]
        calls = 0
        while not self.over.is_set():
            secret = self.site.copy(namespace, self.site.oauth)
            assert secret is not None
            assert set(secret["data"]) == {"access-token", "expires-at"}
            calls += self.call(decoded(secret)["access-token"])
            self.over.wait(0.25)
        return calls

    def call(self, token: str) -> int:
        tokens = self.site.tokens
        connection = HTTPConnection(tokens.address, tokens.port, timeout=10)
        try:
            connection.request("POST", "/v1/messages", b"{}", {"Authorization": f"Bearer {token}"})
            assert connection.getresponse().status == 200, "a 401 reached an agent"
        finally:
            connection.close()
        return 1


def leader(processes: list[OperatorProcess]) -> OperatorProcess:
    return next(
        each for each in processes if each.runs and "became leader" in each.log.read_text(errors="replace")
    )


def test_twenty_readers_meet_no_expired_token_over_three_lives_and_two_changes_of_leader(site: Site) -> None:
    """Each refresh token is spent once; one leader ends in order, the next is killed."""
    ledger = site.tokens.ledger
    replicas = [site.start(1), site.start(2)]
    eventually(lambda: site.copy(site.team, site.oauth) is not None, "the first copies")
    eventually(lambda: ledger.given >= 2 and site.copy(site.work, site.oauth) is not None, "a refresh")
    readers = Readers(site)
    began = time.monotonic()
    with ThreadPoolExecutor(READERS) as pool:
        running = [pool.submit(readers.read, number) for number in range(READERS)]
        try:
            eventually(lambda: ledger.given >= 3, "the second refresh")
            assert leader(replicas).stop() == 0
            eventually(lambda: ledger.given >= 4, "the refresh of the second leader")
            replicas.append(site.start(3))
            eventually(lambda: site.source()["data"] and idle(site), "the refresh is written")
            leader(replicas[1:]).kill()
            eventually(lambda: ledger.given >= 7, "refreshes of the third leader", 120)
            eventually(lambda: time.monotonic() - began > 3 * LIFETIME, "three lives", 3 * LIFETIME)
        finally:
            readers.over.set()
        calls = [future.result() for future in running]
    assert min(calls) > 20
    assert ledger.rejected == []
    assert set(ledger.spent.values()) == {1}
    assert json.loads(decoded(site.source())[FILE])["claudeAiOauth"]["subscriptionType"] == "max"


def idle(site: Site) -> bool:
    """Whether no call is noted: what was refreshed last has been written, and is copied."""
    source = site.source()
    token = json.loads(decoded(source)[FILE])["claudeAiOauth"]["accessToken"]
    copies = [site.copy(namespace, site.oauth) for namespace in (site.work, site.team)]
    return "gastown.io/credential-refreshing" not in source["metadata"].get("annotations", {}) and all(
        copy is not None and decoded(copy)["access-token"] == token for copy in copies
    )


def test_a_refused_refresh_is_the_rigs_trouble_until_somebody_logs_in_again(site: Site) -> None:
    site.tokens.faults.append(Fault.REFUSE)
    site.start(1)
    eventually(lambda: site.rig_reason() == "CredentialExpired", "the rig says so")
    rig = site.cluster.get(RIG, "", site.work) or {}
    message = next(each["message"] for each in rig["status"]["conditions"] if each["type"] == "Ready")
    assert rig["status"]["phase"] == "Degraded"
    assert "invalid_grant" in message
    assert f"create secret generic {site.oauth}" in message
    assert "sk-ant" not in json.dumps(rig)
    calls = site.tokens.calls
    site.cluster.client.patch(RIG, rig, {"metadata": {"labels": {"look": "again"}}}).object()
    eventually(lambda: REFUSED in site.source()["metadata"]["annotations"], "it is remembered")
    site.sling()
    eventually(lambda: site.queued_reason() == "CredentialExpired", "work waits")
    assert site.cluster.objects(POD, site.work) == []

    site.log_in()
    eventually(lambda: site.cluster.objects(POD, site.work), "work begins")
    eventually(lambda: site.rig_reason() != "CredentialExpired", "the rig can work")
    eventually(lambda: site.state() == "Ready", "the state is ready")
    assert calls == 1
    assert max(site.tokens.ledger.spent.values()) == 1


def test_plain_credentials_are_copied_where_rigs_name_them_and_nowhere_else(site: Site) -> None:
    own = encoded(username="somebody", password="else")
    site.create_secret(site.team, site.git, "kubernetes.io/basic-auth", own)
    site.start(1)
    eventually(lambda: site.copy(site.work, site.git) is not None, "the copy")
    copy = site.copy(site.work, site.git)
    assert copy is not None
    assert (copy["type"], decoded(copy)) == ("kubernetes.io/basic-auth", {"username": "u", "password": "p"})
    assert site.copy("default", site.git) is None

    named: dict[str, Any] = {"metadata": {"namespace": SYSTEM, "name": site.git}}
    site.cluster.client.patch(SECRET, named, {"data": encoded(password="new")}).object()
    eventually(lambda: password(site, site.work) == "new", "the change is copied")
    site.cluster.delete(SECRET, site.work, site.git)
    eventually(lambda: site.copy(site.work, site.git) is not None, "a copy that was deleted comes back")

    stranger = site.copy(site.team, site.git)
    assert stranger is not None
    assert stranger["data"] == own
    assert stranger["metadata"].get("labels", {}) == {}
    eventually(lambda: site.rig_reason() == "CredentialNameTaken", "the rig says so")

    rig = site.cluster.get(RIG, "", site.work) or {}
    site.cluster.client.patch(RIG, rig, {"spec": {"defaults": {"gitSecretRef": {"name": "other"}}}}).object()
    eventually(lambda: site.copy(site.work, site.git) is None, "nobody needs the copy any more")
    assert site.copy(site.team, site.git) is not None


def password(site: Site, namespace: str) -> str:
    copy = site.copy(namespace, site.git)
    return decoded(copy)["password"] if copy is not None else ""
