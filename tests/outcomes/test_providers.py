"""Every agent with every provider, and every kind of credential: the real programs on a real node, each doing its work by the API that it should."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from gastown_operator.api.agentconfig import Agent, Provider
from hack.model_server.script import load_script
from hack.model_server.server import ModelServer, Way
from tests.outcomes.cells import ROUTES
from tests.outcomes.conftest import KEY, custom_agent
from tests.support.polecats import PolecatHandle
from tests.support.site import RigHandle, Site

SECRET: Final = "model-key"
TOKEN: Final = "sk-ant-oat01-the-real-token"
SECONDS: Final = 240.0
#: Claude Code's file, as it is after `claude /login`; expiresAt is in milliseconds.
LOGIN: Final = json.dumps({"claudeAiOauth": {"accessToken": TOKEN, "expiresAt": 4_102_444_800_000}})
#: The key of the Secret that the rig names, and the Secret.
TOKENS: Final = {
    "a token for a year": ("key", {"key": TOKEN}),
    "a login": ("api-key", {".credentials.json": LOGIN}),
    "a login without the dot": ("api-key", {"credentials.json": LOGIN}),
    "a token that the operator mirrors": (
        "access-token",
        {"access-token": TOKEN, "expires-at": "4102444800"},
    ),
}


@pytest.fixture(scope="module")
def served(site: Site) -> Iterator[ModelServer]:
    """A provider that does the work whatever the model is called."""
    with ModelServer(load_script("success"), site.address, key=KEY) as server:
        yield server


@pytest.fixture(scope="module")
def subscribed(site: Site) -> Iterator[ModelServer]:
    """The provider of somebody with a subscription."""
    with ModelServer(load_script("success"), site.address, key=TOKEN) as server:
        yield server


@pytest.fixture(scope="module")
def rigs(site: Site, served: ModelServer) -> Mapping[Provider, RigHandle]:
    """A rig for each provider."""
    return {provider: _rig(site, provider, served, "key", {"key": KEY}) for provider in Provider}


@pytest.fixture(scope="module", params=Agent)
def column(
    request: pytest.FixtureRequest, rigs: Mapping[Provider, RigHandle]
) -> tuple[Agent, Mapping[Provider, PolecatHandle]]:
    """The polecats of one agent, side by side; those of the next one come after them."""
    agent: Agent = request.param
    return agent, {provider: _sling(rig, agent, provider) for provider, rig in rigs.items()}


@pytest.mark.parametrize("provider", Provider)
def test_an_agent_works_with_a_provider(
    site: Site,
    served: ModelServer,
    rigs: Mapping[Provider, RigHandle],
    column: tuple[Agent, Mapping[Provider, PolecatHandle]],
    provider: Provider,
) -> None:
    agent, polecats = column
    polecat = polecats[provider]
    polecat.touched = site.touched

    polecat.until("Done", "Done", seconds=SECONDS)

    assert "outcome.txt" in rigs[provider].files(f"refs/heads/polecat/{polecat.name}")
    assert {way.path for way in served.ways(_model(agent, provider))} == {ROUTES[agent][provider]}


@pytest.fixture(scope="module")
def subscribers(site: Site, subscribed: ModelServer) -> Mapping[str, PolecatHandle]:
    """A Claude Code for each kind of token."""
    polecats = {}
    for number, (kind, (key, secret)) in enumerate(TOKENS.items()):
        rig = _rig(site, Provider.ANTHROPIC, subscribed, key, secret)
        config = {"provider": "anthropic", "model": f"subscribed-{number}"}
        polecats[kind] = rig.sling("subscribed", agent="claude-code", agentConfig=config)
    return polecats


@pytest.mark.parametrize("kind", TOKENS)
def test_a_subscription_is_shown_as_a_token(
    site: Site, subscribed: ModelServer, subscribers: Mapping[str, PolecatHandle], kind: str
) -> None:
    polecat = subscribers[kind]
    polecat.touched = site.touched

    polecat.until("Done", "Done", seconds=SECONDS)

    model = polecat.read()["spec"]["agentConfig"]["model"]
    assert subscribed.ways(model) == {Way("/v1/messages", "authorization")}


def _model(agent: Agent, provider: Provider) -> str:
    return f"{agent}-{provider}"


def _rig(
    site: Site, provider: Provider, server: ModelServer, key: str, secret: Mapping[str, str]
) -> RigHandle:
    entry = {"name": str(provider), "endpoint": server.url, "secretRef": {"name": SECRET, "key": key}}
    rig = site.rig(f"by-{provider}", spec={"providers": [entry]})
    rig.secret(SECRET, secret)
    return rig


def _sling(rig: RigHandle, agent: Agent, provider: Provider) -> PolecatHandle:
    config: dict[str, Any] = {"model": _model(agent, provider), "provider": str(provider)}
    if agent is Agent.CUSTOM:
        config["command"] = custom_agent()
    return rig.sling(f"{agent}", agent=str(agent), agentConfig=config)
