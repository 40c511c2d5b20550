"""Who may read the metrics, when the API server that decides it fails, lags or lies, and when strangers come in crowds."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp import web
from attrs import define, field, frozen
from prometheus_client import CollectorRegistry

from gastown_operator.runtime import access
from gastown_operator.runtime.access import Access, MetricsSecurity
from gastown_operator.runtime.client import Client
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.errors import ConfigurationError
from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.server import Address, metrics_application, serve
from gastown_operator.runtime.testing import VirtualClock
from gastown_operator.runtime.transport import Transport
from tests.faults.conftest import until
from tests.faults.scripted_server import Answer, Raw, Recorded, ScriptedServer, cut, refuse, say, stall

pytestmark = pytest.mark.anyio

TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"
RIGHTS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
FOREVER = 1000


@frozen
class Scrape:
    status: int
    text: str
    headers: Any


@define
class Judge:
    """Reviews as an API server does that knows these tokens; `rights` are the users that may get /metrics."""

    users: dict[str, Raw] = field(factory=dict)
    rights: set[str] = field(factory=set)
    held: anyio.Event | None = None
    at_once: int = 0
    most_at_once: int = 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.held is not None and request.path == TOKENS:
                await self.held.wait()
            body = await request.json()
        finally:
            self.at_once -= 1
        return web.json_response({**body, "status": self._status(request.path, body["spec"])}, status=201)

    def _status(self, path: str, spec: Raw) -> Raw:
        if path == RIGHTS:
            return {"allowed": spec["user"] in self.rights}
        user = self.users.get(spec["token"])
        return (
            {"authenticated": True, "user": user} if user else {"user": {}, "error": "invalid bearer token"}
        )


@define
class Site:
    """A guarded /metrics, its API server, and virtual time."""

    server: ScriptedServer
    judge: Judge
    clock: VirtualClock
    session: aiohttp.ClientSession
    guard: Access

    async def scrape(self, token: str | None = None, method: str = "GET", **headers: str) -> Scrape:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        async with self.session.request(method, "/metrics", headers=headers) as response:
            return Scrape(response.status, await response.text(), response.headers)

    def reviews(self, path: str) -> list[Recorded]:
        return self.server.sent(path=path)

    async def patiently(self, token: str) -> tuple[Scrape, float]:
        """Scrape while time passes; return also how much passed."""
        scrapes: list[Scrape] = []
        started = self.clock.monotonic()

        async def scrape() -> None:
            scrapes.append(await self.scrape(token))
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(scrape)
            while True:
                await self.clock.next_sleep()
        return scrapes[0], self.clock.monotonic() - started


@asynccontextmanager
async def site_on(server: ScriptedServer) -> AsyncIterator[Site]:
    clock, judge = VirtualClock(), Judge()
    judge.users["good"] = {
        "username": "prometheus",
        "uid": "u-1",
        "groups": ["monitoring"],
        "extra": {"k": ["v"]},
    }
    judge.rights.add("prometheus")
    transport = Transport(Connection(server.url), Metrics(CollectorRegistry()), "tests")
    security = MetricsSecurity(Path("/unused"), authenticate=True)
    guard = security.access(Client(transport, clock), clock, Random(7))  # noqa: S311 - jitter, not cryptography
    assert guard is not None
    application = metrics_application(CollectorRegistry(), guard)
    async with (
        serve(application, Address("127.0.0.1", 0)) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        yield Site(server, judge, clock, session, guard)
    await transport.close()


@pytest.fixture
async def site(server: ScriptedServer) -> AsyncIterator[Site]:
    async with site_on(server) as made:
        server.script("POST", *[made.judge] * FOREVER)
        yield made


async def test_who_is_known_and_may_gets_the_metrics_and_the_api_server_is_asked_everything_once(
    site: Site,
) -> None:
    for method in ("GET", "HEAD", "GET"):
        assert (await site.scrape("good", method)).status == 200
    [review] = site.reviews(TOKENS)
    assert review.body["spec"] == {"token": "good"}
    assert (review.body["apiVersion"], review.body["kind"]) == ("authentication.k8s.io/v1", "TokenReview")
    [review] = site.reviews(RIGHTS)
    assert review.body["spec"] == {
        "user": "prometheus",
        "uid": "u-1",
        "groups": ["monitoring"],
        "extra": {"k": ["v"]},
        "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
    }


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer  ", "Basic Z29vZA==", "good", "Bearer gööd", "Bearer go\tod"]
)
async def test_what_is_no_bearer_token_is_refused_without_asking(site: Site, header: str) -> None:
    scrape = await site.scrape(**({"Authorization": header} if header else {}))
    assert scrape.status == 401
    assert scrape.headers["WWW-Authenticate"] == "Bearer"
    assert scrape.text.startswith("Unauthorized: ")
    assert site.server.requests == []


async def test_the_scheme_is_read_in_any_case_as_the_standard_wants(site: Site) -> None:
    assert (await site.scrape(Authorization="bearer  good ")).status == 200


async def test_a_token_that_is_not_accepted_is_refused_and_the_refusal_kept_for_a_minute(site: Site) -> None:
    for _ in range(3):
        scrape = await site.scrape("bad")
        assert (scrape.status, scrape.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert scrape.text == "Unauthorized: the API server does not accept the token\n"
    assert len(site.reviews(TOKENS)) == 1
    site.judge.users["bad"] = site.judge.users["good"]
    site.clock.move(60)
    assert (await site.scrape("bad")).status == 200


async def test_who_is_known_and_may_not_is_told_so_for_half_a_minute(site: Site) -> None:
    site.judge.rights.clear()
    for _ in range(2):
        scrape = await site.scrape("good")
        assert (scrape.status, scrape.text) == (403, "Forbidden: prometheus may not get /metrics\n")
    assert len(site.reviews(RIGHTS)) == 1
    site.judge.rights.add("prometheus")
    site.clock.move(30)
    assert (await site.scrape("good")).status == 200


async def test_a_revoked_token_works_for_a_minute_at_most_and_a_right_for_five(site: Site) -> None:
    assert (await site.scrape("good")).status == 200
    site.judge.rights.clear()
    for _ in range(4):
        site.clock.move(60)
        assert (await site.scrape("good")).status == 200
    assert (len(site.reviews(TOKENS)), len(site.reviews(RIGHTS))) == (5, 1)
    site.clock.move(60)
    assert (await site.scrape("good")).status == 403
    user = site.judge.users.pop("good")
    site.clock.move(60)
    assert (await site.scrape("good")).status == 401
    site.judge.users["good"] = user
    assert (await site.scrape("good")).status == 401


async def test_other_methods_and_paths_are_nobodys_business(site: Site) -> None:
    assert (await site.scrape("good", "POST")).status == 405
    async with site.session.get("/other") as response:
        assert response.status == 404
    assert site.server.requests == []


def body(**status: Any) -> Answer:
    """Answer any review with this status."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({**await request.json(), "status": status}, status=201)

    return answer


@pytest.mark.parametrize(
    "failure",
    [
        refuse(500, "InternalError"),
        refuse(503, "ServiceUnavailable"),
        refuse(429, "TooManyRequests"),
        refuse(504, "Timeout"),
        say("<html>bad gateway</html>", 502, "text/html"),
        say("<html>log in</html>", 200, "text/html"),
        say("{}", 201),
        cut,
    ],
)
@pytest.mark.parametrize("failing", [TOKENS, RIGHTS])
async def test_a_review_that_fails_for_the_moment_is_repeated(
    server: ScriptedServer, failure: Answer, failing: str
) -> None:
    async with site_on(server) as site:
        before = [] if failing == TOKENS else [site.judge]
        server.script("POST", *before, failure, failure, *[site.judge] * FOREVER)
        scrape, seconds = await site.patiently("good")
        assert scrape.status == 200
        assert len(site.reviews(failing)) == 3
        assert 0.5 + 0.75 <= seconds <= (0.5 + 0.75) * 1.2


async def test_repeating_waits_as_long_as_the_server_asks(server: ScriptedServer) -> None:
    async with site_on(server) as site:
        server.script("POST", refuse(429, "TooManyRequests", retry_after="4"), *[site.judge] * FOREVER)
        scrape, seconds = await site.patiently("good")
    assert (scrape.status, seconds) == (200, 4.0)


async def test_a_review_that_keeps_failing_is_an_internal_error_and_not_remembered(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with site_on(server) as site:
        server.script("POST", *[refuse(500, "InternalError", "etcd is gone")] * 5, *[site.judge] * FOREVER)
        scrape, _ = await site.patiently("good")
        assert scrape.status == 500
        assert scrape.text.startswith("The API server could not be asked who you are")
        assert len(site.reviews(TOKENS)) == 5
        assert (await site.scrape("good")).status == 200
    [told] = [record for record in caplog.records if record.name.endswith(".access")]
    assert told.levelname == "ERROR"
    assert f"TokenReview: POST {TOKENS}: 500 InternalError: etcd is gone" in told.message


async def test_a_missing_right_of_our_own_is_not_repeated_and_named_in_the_log(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with site_on(server) as site:
        server.script("POST", *[refuse(403, "Forbidden", "cannot create tokenreviews")] * FOREVER)
        for _ in range(3):
            assert (await site.scrape("good")).status == 500
        assert len(site.reviews(TOKENS)) == 3
        assert caplog.text.count("cannot create tokenreviews") == 1
        site.clock.move(60)
        assert (await site.scrape("good")).status == 500
    assert caplog.text.count("cannot create tokenreviews") == 2


async def test_a_review_that_takes_too_long_is_given_up(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    scrapes: list[Scrape] = []
    async with site_on(server) as site, anyio.create_task_group() as group:
        server.script("POST", stall, *[site.judge] * FOREVER)

        async def scrape() -> None:
            scrapes.append(await site.scrape("good"))

        group.start_soon(scrape)
        await server.received(1, path=TOKENS)
        await site.clock.advance(9.9)
        assert scrapes == []
        await site.clock.advance(0.1)
        await until(lambda: scrapes)
        assert scrapes[0].status == 500
        assert (await site.scrape("good")).status == 200
    assert "TokenReview: not answered within 10 s" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        say("[]", 201),
        say('{"kind": "Status", "status": "Success"}', 201),
        say('{"kind": "TokenReview"}', 201),
        say('{"kind": "TokenReview", "status": null}', 201),
        say('{"kind": "TokenReview", "status": "authenticated"}', 201),
        say('{"kind": "SubjectAccessReview", "status": {"allowed": true}}', 201),
        body(authenticated="false"),
        body(authenticated="true", user={"username": "prometheus"}),
        body(authenticated=1, user={"username": "prometheus"}),
        body(authenticated=True),
        body(authenticated=True, user={}),
        body(authenticated=True, user={"username": ""}),
        body(authenticated=True, user={"username": ["prometheus"]}),
        body(authenticated=True, user={"username": "prometheus", "groups": "monitoring"}),
        body(authenticated=True, user={"username": "prometheus", "groups": [1]}),
        body(authenticated=True, user={"username": "prometheus", "extra": ["k"]}),
        body(authenticated=True, user={"username": "prometheus", "extra": {"k": "v"}}),
    ],
)
async def test_an_answer_that_is_no_token_review_admits_nobody(
    server: ScriptedServer, answer: Answer
) -> None:
    async with site_on(server) as site:
        server.script("POST", *[answer] * 5, *[site.judge] * FOREVER)
        scrape, _ = await site.patiently("good")
    assert scrape.status == 500


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (body(), 500),
        (body(allowed="true"), 500),
        (body(allowed=None), 500),
        (body(allowed=True, denied="false"), 500),
        (body(allowed=True, denied=True), 403),
        (body(allowed=False, evaluationError="cannot tell"), 403),
        (body(allowed=True, denied=False, reason="RBAC"), 200),
    ],
)
async def test_only_a_plain_yes_is_a_right(server: ScriptedServer, answer: Answer, status: int) -> None:
    async with site_on(server) as site:
        server.script("POST", site.judge, *[answer] * FOREVER)
        scrape, _ = await site.patiently("good")
    assert scrape.status == status


async def crowd(site: Site, tokens: list[str], scrapes: list[Scrape]) -> None:
    """Scrape with all these tokens at once, and keep the answers in the order in which they come."""

    async def one(token: str) -> None:
        scrapes.append(await site.scrape(token))

    async with anyio.create_task_group() as group:
        for token in tokens:
            group.start_soon(one, token)


async def test_many_scrapes_with_one_token_are_one_review(site: Site) -> None:
    site.judge.held = anyio.Event()
    scrapes: list[Scrape] = []
    async with anyio.create_task_group() as group:
        group.start_soon(crowd, site, ["good"] * 50, scrapes)
        await site.server.received(1, path=TOKENS)
        await anyio.wait_all_tasks_blocked()
        site.judge.held.set()
    assert [scrape.status for scrape in scrapes] == [200] * 50
    assert (len(site.reviews(TOKENS)), len(site.reviews(RIGHTS))) == (1, 1)


async def test_a_crowd_of_strangers_is_reviewed_a_few_at_once_and_shuts_no_acquaintance_out(
    site: Site,
) -> None:
    site.judge.users["old"] = site.judge.users["good"]
    assert (await site.scrape("old")).status == 200
    site.clock.move(60)
    assert (await site.scrape("good")).status == 200
    site.judge.held = anyio.Event()
    strangers: list[Scrape] = []
    known: list[Scrape] = []
    async with anyio.create_task_group() as group:
        group.start_soon(crowd, site, [f"bad-{number}" for number in range(150)], strangers)
        # Four are under way and 32 wait; the others are sent away at once.
        await until(lambda: len(strangers) == 150 - 36)
        assert {scrape.status for scrape in strangers} == {503}
        assert {scrape.headers["Retry-After"] for scrape in strangers} == {"1"}
        assert (await site.scrape("good")).status == 200
        # Not even when a token has to be reviewed again: in a turn of its own.
        group.start_soon(crowd, site, ["old"], known)
        await site.server.received(2 + 4 + 1, path=TOKENS)
        site.judge.held.set()
    assert site.judge.most_at_once == 5
    assert [scrape.status for scrape in known] == [200]
    assert sorted(scrape.status for scrape in strangers) == [401] * 36 + [503] * 114


async def test_a_flood_of_tokens_displaces_nobody_who_was_accepted_and_takes_no_more_memory(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "KEPT", 2)
    async with site_on(server) as site:
        server.script("POST", *[site.judge] * FOREVER)
        assert (await site.scrape("good")).status == 200
        for number in range(20):
            assert (await site.scrape(f"bad-{number}")).status == 401
        assert (await site.scrape("good")).status == 200
        assert len(site.guard._refused) == 8
    assert [review.body["spec"]["token"] for review in site.reviews(TOKENS)].count("good") == 1


@pytest.mark.parametrize(
    "failure",
    [
        None,
        say("you sent s3cret-token", 502),
        say("s3cret-token", 200),
        refuse(400, "BadRequest", "cannot decode s3cret-token"),
        refuse(403, "Forbidden", "s3cret-token is no object"),
    ],
)
async def test_no_token_is_logged_whatever_becomes_of_it(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, failure: Answer | None
) -> None:
    caplog.set_level(logging.DEBUG)
    async with site_on(server) as site:
        server.script("POST", *[failure or site.judge] * FOREVER)
        scrape, _ = await site.patiently("s3cret-token")
    assert scrape.status == (500 if failure else 401)
    assert "s3cret" not in scrape.text
    assert "s3cret" not in caplog.text
    assert failure is None or "cannot decide who may read the metrics" in caplog.text


def test_tokens_are_not_asked_for_over_plain_http() -> None:
    with pytest.raises(ConfigurationError, match="cannot be authenticated over plain HTTP"):
        MetricsSecurity(authenticate=True)


async def test_without_security_there_is_neither_certificate_nor_guard(site: Site) -> None:
    security = MetricsSecurity()
    assert security.certificate(CollectorRegistry(), site.clock) is None
    client = Client(Transport(Connection(site.server.url), Metrics(CollectorRegistry()), "tests"))
    assert security.access(client, site.clock, Random()) is None  # noqa: S311 - jitter, not cryptography
