"""The servers answer as the API server's endpoints do, to many at once, and without stopping the others."""

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import aiohttp
import anyio
import pytest
from aiohttp import web
from anyio.lowlevel import checkpoint
from attrs import frozen
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from gastown_operator.runtime import server
from gastown_operator.runtime.errors import ConfigurationError
from gastown_operator.runtime.health import Checks
from gastown_operator.runtime.server import Address, health_application, metrics_application, serve

LOCAL = Address("127.0.0.1", 0)
PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"


def checks(**problems: str | None) -> Checks:
    made = Checks("readyz")
    for name, problem in problems.items():
        made.add(name, lambda problem=problem: problem)  # type: ignore[misc] # a default binds it per check
    return made


def test_checks_read_like_the_api_servers() -> None:
    good, bad = checks(a=None), checks(a=None, b="no lease", c=None)
    assert good.run().text == "ok"
    assert good.run(verbose=True).text == "[+]a ok\nreadyz check passed\n"
    assert bad.run().text == "[+]a ok\n[-]b failed: no lease\n[+]c ok\nreadyz check failed\n"
    excluded = bad.run(exclude=["b"], verbose=True).text
    assert excluded == "[+]a ok\n[+]b excluded: ok\n[+]c ok\nreadyz check passed\n"
    assert not bad.run_one("b").healthy
    assert list(bad.names()) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="already"):
        bad.add("b", lambda: None)


def test_excluding_what_is_no_check_is_a_warning_and_no_failure() -> None:
    report = checks(a=None).run(exclude=["y", "x"], verbose=True)
    warning = 'warn: some health checks cannot be excluded: no matches for "x","y"'
    assert report.text == f"[+]a ok\n{warning}\nreadyz check passed\n"
    assert report.healthy


def test_without_checks_who_answers_is_well() -> None:
    nothing = checks()
    assert nothing.run(verbose=True).text == "[+]ping ok\nreadyz check passed\n"
    assert nothing.run(exclude=["ping"], verbose=True).text == "[+]ping excluded: ok\nreadyz check passed\n"
    assert nothing.run_one("ping").healthy


@asynccontextmanager
async def served(application: web.Application) -> AsyncIterator[aiohttp.ClientSession]:
    """Serve, and return a client of the server."""
    async with serve(application, LOCAL) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        yield client


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/readyz", 500, "[+]a ok\n[-]b/c failed: no lease\nreadyz check failed\n"),
        ("/readyz/a", 200, "ok"),
        ("/readyz/b/c", 500, "internal server error: no lease\n"),
        ("/readyz/b/c?exclude=b/c", 500, "internal server error: no lease\n"),
        ("/readyz/d", 404, "404: Not Found"),
        ("/readyz?exclude=b/c", 200, "ok"),
        (
            "/readyz?exclude=b/c&exclude=a&verbose",
            200,
            "[+]a excluded: ok\n[+]b/c excluded: ok\nreadyz check passed\n",
        ),
        ("/healthz", 200, "ok"),
        ("/healthz/ping", 200, "ok"),
    ],
)
async def test_health_is_served(path: str, status: int, text: str) -> None:
    application = health_application(Checks("healthz"), checks(**{"a": None, "b/c": "no lease"}))
    async with served(application) as client, client.get(path) as response:
        assert response.status == status
        assert await response.text() == text
        assert response.content_type == "text/plain"
        assert status == 404 or response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.anyio
async def test_health_may_be_asked_for_without_its_text() -> None:
    async with served(health_application(checks(a="no"))) as client, client.head("/readyz") as response:
        assert response.status == 500


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":8080", Address("", 8080)),
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("[::1]:9", Address("::1", 9)),
        ("0", None),
        ("", None),
    ],
)
def test_addresses_are_parsed(text: str, address: Address | None) -> None:
    assert Address.parse(text) == address


@pytest.mark.parametrize("text", ["8080", "host:", "host:http", ":70000"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not an address"):
        Address.parse(text)


@pytest.mark.anyio
async def test_an_address_that_is_taken_is_a_configuration_error() -> None:
    async with serve(health_application(Checks("healthz")), LOCAL) as port:
        again = serve(health_application(Checks("healthz")), Address("127.0.0.1", port))
        with pytest.raises(ConfigurationError, match=rf"cannot listen on 127\.0\.0\.1:{port}: "):
            await again.__aenter__()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        # What Prometheus sends.
        ("application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.3", OPENMETRICS),
        ("application/openmetrics-text;version=one", PLAIN),
        ("text/plain;version=;q", PLAIN),
    ],
)
async def test_metrics_come_in_the_format_that_was_asked_for(
    registry: CollectorRegistry, accept: str, content_type: str
) -> None:
    made = Counter("made", "Things", ["name"], registry=registry)
    Counter("others", "Other things", registry=registry)
    for name in "ab":
        made.labels(name)
    headers = {"Accept": accept} if accept else {}
    async with served(metrics_application(registry)) as client:
        async with client.get("/metrics", headers=headers) as response:
            text = await response.text()
            assert response.headers["Content-Type"] == content_type
        async with client.head("/metrics", headers=headers) as response:
            assert response.status == 200
            assert await response.read() == b""
        async with client.post("/metrics") as response:
            assert response.status == 405
    assert text.count('made_total{name="b"} 0.0\n') == 1
    assert text.count("others_total 0.0\n") == 1
    assert text.count("# EOF\n") == (1 if content_type == OPENMETRICS else 0)
    assert text.endswith("# EOF\n") == (content_type == OPENMETRICS)


@frozen(eq=False)
class Many(Collector):
    """Many families; each notes how often the loop has turned before."""

    turns: list[None]
    seen: list[int]

    def collect(self) -> Iterable[Metric]:
        for number in range(20):
            self.seen.append(len(self.turns))
            family = GaugeMetricFamily(f"family_{number}", "text", labels=["x"])
            family.add_metric(["y"], number)
            yield family


@pytest.mark.anyio
async def test_others_run_while_a_large_registry_is_written(registry: CollectorRegistry) -> None:
    many = Many([], [])
    registry.register(many)
    many.seen.clear()

    async def turn() -> None:
        while True:
            many.turns.append(None)
            await checkpoint()

    async with served(metrics_application(registry)) as client, anyio.create_task_group() as group:
        group.start_soon(turn)
        async with client.get("/metrics") as response:
            families = list(text_string_to_metric_families(await response.text()))
        group.cancel_scope.cancel()
    assert len(families) == 20
    assert len(set(many.seen)) == 20


@pytest.mark.anyio
async def test_idle_connections_shut_nobody_out(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 8)
    async with serve(metrics_application(registry), LOCAL) as port:
        idle = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(30)]
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"http://127.0.0.1:{port}/metrics") as response,
        ):
            assert response.status == 200
        with anyio.fail_after(5), pytest.raises(anyio.EndOfStream):
            await idle[0].receive()
        for stream in idle:
            await stream.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("beginning", [b"", b"GET /metrics HTTP/1.1\r\nHost: "])
async def test_who_never_finishes_a_request_is_sent_away(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    monkeypatch.setattr(server, "KEEPALIVE_TIMEOUT", 0.1)
    async with (
        serve(metrics_application(registry), LOCAL) as port,
        await anyio.connect_tcp("127.0.0.1", port) as stream,
    ):
        await stream.send(beginning)
        with anyio.fail_after(10), pytest.raises(anyio.EndOfStream):
            await stream.receive()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "header",
    [
        b"Authorization: Bearer s3cret-\x00",
        b"Authorization: Bearer s3cret-" + b"x" * 9000,
        b"Authorization Bearer s3cret",
    ],
)
async def test_what_a_malformed_request_holds_is_not_logged(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture, header: bytes
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        serve(metrics_application(registry), LOCAL) as port,
        await anyio.connect_tcp("127.0.0.1", port) as stream,
    ):
        await stream.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
        assert b" 400 " in (await stream.receive()).splitlines()[0]
    assert "s3cret" not in caplog.text


@frozen(eq=False)
class Mending(Collector):
    """Fails as long as there is a bug."""

    bugs: list[str]

    def collect(self) -> Iterable[Metric]:
        if self.bugs:
            raise RuntimeError(self.bugs.pop())
        return ()


@pytest.mark.anyio
async def test_a_bug_in_a_collector_is_logged_and_ends_one_scrape_only(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    bugs: list[str] = []
    registry.register(Mending(bugs))
    bugs.append("a bug of ours")
    async with served(metrics_application(registry)) as client:
        for status in (500, 200):
            async with client.get("/metrics") as response:
                assert response.status == status
    assert "a bug of ours" in caplog.text
