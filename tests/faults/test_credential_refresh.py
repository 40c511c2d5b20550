"""Refreshing tokens that are good once, while endpoint, API server and people do what they do on their worst day."""

import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import anyio
import pytest
from attrs import define

from gastown_operator.api.core import NAMESPACE
from gastown_operator.api.rig import RIG
from gastown_operator.controllers.credential import reconciler as credentials
from gastown_operator.controllers.credential.oauth import OAuth, find_oauth
from gastown_operator.controllers.credential.reconciler import FIRST_PAUSE, PATIENCE
from gastown_operator.controllers.credential.secret import secret_resource
from gastown_operator.controllers.credential.settings import CredentialSettings
from gastown_operator.controllers.credential.state import LEAD, MESSAGE, REFRESHING, REFUSED, STATE
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.testing import EPOCH, VirtualClock
from hack.token_server.server import CLIENT_ID, Fault, TokenServer
from tests.faults.conftest import running, until
from tests.faults.scripted_server import Raw, ScriptedServer, commit_then_cut, refuse
from tests.unit.controllers.objects import WORKERS, rig_body

pytestmark = pytest.mark.anyio

KEY = ObjectKey("gastown-system", "claude-credentials")
RESOURCE = secret_resource(KEY)
SOURCE = RESOURCE.path(*KEY)
COPY = RESOURCE.path(WORKERS, KEY.name)
HOUR = 3600.0


@define
class Site:
    """An API server, a token endpoint, and the operator between them."""

    server: ScriptedServer
    tokens: TokenServer
    clock: VirtualClock
    manager: Manager

    def log_in(self, left: float = HOUR, **annotations: str) -> None:
        """Put in what somebody has whose token is good for so many seconds more."""
        document = json.loads(self.tokens.credentials_file())
        expires = self.clock.now() + timedelta(seconds=left)
        document["claudeAiOauth"]["expiresAt"] = int(expires.timestamp() * 1000)
        data = {".credentials.json": base64.b64encode(json.dumps(document).encode()).decode()}
        metadata = {"name": KEY.name, "namespace": KEY.namespace, "annotations": annotations}
        self.server.put(SOURCE, {"metadata": metadata, "data": data})

    def oauth(self) -> OAuth:
        found = find_oauth(RESOURCE.project(self.server.objects[SOURCE]))
        assert found is not None
        return found

    def annotation(self, name: str) -> str:
        return str(self.server.objects[SOURCE]["metadata"].get("annotations", {}).get(name, ""))

    def copied(self) -> str:
        """The access token that gateways see."""
        copy = self.server.objects.get(COPY)
        return base64.b64decode(copy["data"]["access-token"]).decode() if copy else ""

    def settled(self) -> bool:
        """Whether the newest tokens are written and copied."""
        return not self.annotation(REFRESHING) and self.copied() == self.oauth().access_token

    def annotate(self, **annotations: str) -> None:
        """Change the Secret as somebody else would."""
        known = self.server.objects[SOURCE]
        metadata = {**known["metadata"], "annotations": {**known["metadata"]["annotations"], **annotations}}
        self.server.put(SOURCE, {**known, "metadata": metadata})


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with TokenServer(HOUR) as made:
        yield made


@pytest.fixture
async def site(server: ScriptedServer, tokens: TokenServer) -> AsyncIterator[Site]:
    clock = VirtualClock()
    manager = Manager(Connection(server.url), Options("gastown"), clock)
    settings = CredentialSettings(
        names=(KEY.name,), namespace=KEY.namespace, endpoint=tokens.url, client_id=CLIENT_ID
    )
    credentials.register(manager, settings, clock, "tests")
    server.put(NAMESPACE.path("", WORKERS), {"metadata": {"name": WORKERS}, "status": {"phase": "Active"}})
    server.put(RIG.path("", "project"), rig_body())
    yield Site(server, tokens, clock, manager)
    tokens.released.set()


async def later(site: Site, condition: Callable[[], Any]) -> None:
    """Let time pass in small steps until something holds."""
    with anyio.fail_after(15):
        while not condition():
            await site.clock.advance(0.25)


async def reached(tokens: TokenServer, number: int) -> None:
    await until(lambda: tokens.calls >= number)


async def test_a_token_is_refreshed_ten_minutes_before_its_end_and_written_before_it_is_copied(
    site: Site,
) -> None:
    site.log_in(left=HOUR)
    first = site.oauth()
    async with running(site.manager):
        await until(lambda: site.copied() == first.access_token)
        await site.clock.advance(HOUR - LEAD.total_seconds() - 1)
        assert site.tokens.calls == 0
        await site.clock.advance(2)
        await later(site, lambda: site.copied() not in ("", first.access_token))
    second = site.oauth()
    due = EPOCH + timedelta(hours=2) - LEAD
    assert second.expires_at is not None
    assert due <= second.expires_at < due + timedelta(seconds=30)
    assert second.refresh_token != first.refresh_token
    assert json.dumps(second.document).count("subscriptionType") == 1
    paths = [request.path for request in site.server.requests if request.verb == "PATCH"]
    assert paths == [
        SOURCE,
        COPY,
        SOURCE,
        SOURCE,
        COPY,
    ]  # state and copy; note, new tokens, and then the copy
    copy = site.server.objects[COPY]
    assert set(copy["data"]) == {"access-token", "expires-at"}


async def test_an_endpoint_in_trouble_is_asked_again_and_the_state_says_so(site: Site) -> None:
    site.tokens.faults.extend([Fault.ERROR, Fault.ODD])
    site.log_in(left=60)
    async with running(site.manager):
        await until(lambda: site.annotation(STATE) == "Failing")
        assert "HTTP 500" in site.annotation(MESSAGE)
        await site.clock.advance(FIRST_PAUSE)
        await reached(site.tokens, 2)
        await until(lambda: "no access_token" in site.annotation(MESSAGE))
        await site.clock.advance(2 * FIRST_PAUSE)
        await until(lambda: site.annotation(STATE) == "Ready" and site.settled())
    assert site.annotation(MESSAGE) == ""
    assert site.tokens.calls == 3


async def test_an_endpoint_is_given_the_time_that_it_asks_for(site: Site) -> None:
    site.tokens.faults.append(Fault.BUSY)
    site.log_in(left=60)
    async with running(site.manager):
        await until(lambda: site.annotation(STATE) == "Failing")
        await site.clock.advance(29)  # the pause alone is shorter
        assert site.tokens.calls == 1
        await later(site, lambda: site.annotation(STATE) == "Ready")


async def test_a_token_that_runs_out_while_the_endpoint_fails_has_expired(site: Site) -> None:
    site.tokens.faults.extend([Fault.ERROR] * 20)
    site.log_in(left=8)
    async with running(site.manager):
        await until(lambda: site.annotation(STATE) == "Failing")
        await site.clock.advance(8.5)
        await until(lambda: site.annotation(STATE) == "Expired")
        site.tokens.faults.clear()
        await site.clock.advance(300)
        await until(lambda: site.annotation(STATE) == "Ready" and site.settled())


async def test_after_a_lost_answer_the_token_is_spent_and_somebody_has_to_log_in(site: Site) -> None:
    site.tokens.faults.append(Fault.LOST)
    site.log_in(left=60)
    async with running(site.manager):
        await until(lambda: site.annotation(STATE) == "Failing")
        await site.clock.advance(FIRST_PAUSE)
        await until(lambda: site.annotation(STATE) == "Expired")
        assert "invalid_grant" in site.annotation(MESSAGE)
        await site.clock.advance(HOUR)
        assert site.tokens.calls == 2  # a token that was refused is not sent again
        site.log_in(left=HOUR, **{REFUSED: site.annotation(REFUSED), STATE: "Expired", MESSAGE: "old"})
        await until(lambda: site.annotation(STATE) == "Ready" and site.settled())


async def test_somebody_who_annotates_the_secret_meanwhile_does_not_cost_the_new_tokens(site: Site) -> None:
    site.tokens.faults.append(Fault.SLOW)
    site.log_in(left=60)
    async with running(site.manager):
        await reached(site.tokens, 1)
        site.annotate(colour="blue")
        site.tokens.released.set()
        await later(site, site.settled)
    assert site.annotation("colour") == "blue"
    assert set(site.tokens.ledger.spent.values()) == {1}


async def test_somebody_who_logs_in_meanwhile_keeps_what_he_put_in(site: Site) -> None:
    site.tokens.faults.append(Fault.SLOW)
    site.log_in(left=60)
    async with running(site.manager):
        await reached(site.tokens, 1)
        site.log_in(left=HOUR)
        newer = site.oauth()
        site.tokens.released.set()
        await later(site, lambda: site.copied() == newer.access_token and site.annotation(STATE) == "Ready")
    assert site.oauth() == newer
    assert site.tokens.calls == 1


@pytest.mark.parametrize("answer", ["refused", "lost"])
async def test_new_tokens_are_written_again_until_they_are_there(site: Site, answer: str) -> None:
    site.tokens.faults.append(Fault.SLOW)
    site.log_in(left=60)
    async with running(site.manager):
        await reached(site.tokens, 1)
        await until(lambda: site.annotation(REFRESHING))
        once = commit_then_cut(site.server)
        site.server.script("PATCH", *([once] if answer == "lost" else [refuse(500, "InternalError")] * 30))
        site.tokens.released.set()
        tried = len(site.server.sent(verb="PATCH")) + (0 if answer == "lost" else 20)
        await later(site, lambda: len(site.server.sent(verb="PATCH")) >= tried)
        site.server.forget_scripts()
        await later(site, site.settled)
    assert set(site.tokens.ledger.spent.values()) == {1}


async def test_an_orderly_stop_waits_for_the_answer_and_writes_it(site: Site) -> None:
    site.tokens.faults.append(Fault.SLOW)
    site.log_in(left=60)
    first = site.oauth()
    async with anyio.create_task_group() as group:
        group.start_soon(site.manager.run)
        await reached(site.tokens, 1)
        site.manager.stop()
        await anyio.wait_all_tasks_blocked()
        site.tokens.released.set()
    assert site.oauth().refresh_token != first.refresh_token
    assert not site.annotation(REFRESHING)


async def test_what_another_process_noted_is_given_time_to_be_written(site: Site) -> None:
    """A leader that was killed or has lost its lease may have sent the token a moment ago."""
    site.log_in(left=60)
    site.annotate(**{REFRESHING: site.oauth().fingerprint})
    async with running(site.manager):
        await until(site.copied)
        await site.clock.advance(PATIENCE - 1)
        assert site.tokens.calls == 0
        await site.clock.advance(2)
        await until(lambda: site.annotation(STATE) == "Ready" and site.settled())
    assert site.tokens.calls == 1


async def test_a_refresh_token_that_stays_good_is_kept(site: Site) -> None:
    site.tokens.faults.append(Fault.KEEP)
    site.log_in(left=60)
    first = site.oauth()
    async with running(site.manager):
        await until(lambda: site.copied() not in ("", first.access_token))
    assert site.oauth().refresh_token == first.refresh_token


async def test_a_secret_that_cannot_be_written_costs_no_token_and_is_tried_again(site: Site) -> None:
    site.server.script("PATCH", *[refuse(403, "Forbidden")] * 50)
    site.log_in(left=60)
    async with running(site.manager):
        await site.server.received(1, verb="PATCH")
        await site.clock.advance(50)
        assert site.tokens.calls == 0
        site.server.forget_scripts()
        await later(site, site.settled)
    assert site.tokens.calls == 1


def body(data: dict[str, Any]) -> Raw:
    return {"metadata": {"name": KEY.name, "namespace": KEY.namespace}, "data": data}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"claudeAiOauth": {}}', '{"claudeAiOauth": {"accessToken": "a b"}}']
)
async def test_a_file_that_cannot_be_read_is_told_of_and_takes_nothing_away(site: Site, text: str) -> None:
    site.log_in(left=HOUR)
    token = site.oauth().access_token
    async with running(site.manager):
        await until(lambda: site.copied() == token)
        site.server.put(SOURCE, body({".credentials.json": base64.b64encode(text.encode()).decode()}))
        await until(lambda: site.annotation(STATE) == "Malformed")
        assert site.copied() == token
        site.server.drop(SOURCE)
        await until(lambda: COPY not in site.server.objects)
