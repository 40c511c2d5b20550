"""Fixtures of the table of outcomes: a node, the operator, a git server, and a model server that plays scripts.

Run it with `hack/test outcomes`, or with `hack/cluster up --name outcomes`, `hack/images workload agent --load outcomes` and
`hack/cluster exec --name outcomes -- .venv/bin/pytest tests/outcomes`.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.model_server.script import parse_script
from hack.model_server.server import ModelServer
from tests.support.cluster import environment
from tests.support.site import WORKLOAD_IMAGE, Site, open_site

HOW = "hack/cluster exec --name outcomes -- .venv/bin/pytest tests/outcomes"
KEY = "the-real-key"
CUSTOM = Path(__file__).with_name("custom_agent.py")
#: Long enough that an agent can be found at work, and disturbed.
PATIENT = {
    "turns": [
        {"say": "I'll write the file.", "pause": 30, "write": {"path": "outcome.txt", "text": "Done.\n"}},
        {"say": "The file is written."},
    ]
}
TIMEOUT = 600


def custom_agent() -> list[str]:
    """Return the command of the small agent that runs as `custom`."""
    return ["python3", "-c", CUSTOM.read_text()]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.node)
            item.add_marker(pytest.mark.timeout(TIMEOUT))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The installation."""
    address = environment("GASTOWN_LAB_NODE_ADDRESS", HOW)
    images = (
        "--workload-image",
        WORKLOAD_IMAGE,
        "--agent-image",
        "localhost/gastown-agent:dev",
    )
    with open_site(tmp_path_factory.mktemp("site"), address, images) as opened:
        yield opened


@pytest.fixture(scope="session")
def models(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """The provider: it wants the key that only the gateway has, and does what the name of the model says."""
    log = (tmp_path_factory.mktemp("models") / "log").open("w")
    script = parse_script(json.loads(json.dumps(PATIENT)))
    with log, ModelServer(script, site.address, key=KEY, log=lambda line: print(line, file=log)) as server:
        yield server
