"""Pods that cannot start: said at once, and the slot is given back after a while."""

from pathlib import Path

import pytest
from attrs import define

from gastown_operator.api.core import POD
from tests.support.audit import AuditLog
from tests.support.cluster import environment
from tests.support.polecats import PolecatHandle
from tests.support.site import WORK, RigHandle, Site, agent

HOW = "hack/cluster exec --name node -- .venv/bin/pytest tests/node"
NO_IMAGE = "registry.invalid/agent:1"


@define
class Started:
    """What waits for the kubelet side by side, and where the audit log was when it began."""

    no_image: PolecatHandle
    behind: PolecatHandle
    secret_rig: RigHandle
    no_secret: PolecatHandle
    audit: AuditLog
    position: int


@pytest.fixture(scope="module")
def started(site: Site) -> Started:
    audit = AuditLog(Path(environment("GASTOWN_LAB_AUDIT_LOG", HOW)))
    position = audit.end()
    narrow = site.rig("image", spec={"settings": {"maxPolecats": 1}})
    no_image = narrow.sling("no-image", agentConfig={"command": ["true"], "image": NO_IMAGE})
    lacking = site.rig("agent-secret", spec={"allowedSecrets": ["model-key"]})
    needing = agent(f'test "$KEY" = open && {WORK}')
    key = {"secretKeyRef": {"name": "model-key", "key": "key"}}
    needing["agentConfig"]["env"] = [{"name": "KEY", "valueFrom": key}]
    no_secret = lacking.sling("agent-secret", **needing)
    return Started(no_image, narrow.sling("behind"), lacking, no_secret, audit, position)


def test_a_secret_that_the_agent_lacks_is_named_and_awaited(started: Started) -> None:
    polecat = started.no_secret
    polecat.tells("Stuck", "CreateContainerConfigError", '"model-key" not found', "Correct it")
    started.secret_rig.secret("model-key", {"key": "open"})
    assert polecat.until("Done")["attempt"] == 1


def test_an_image_that_cannot_be_pulled_is_told_once(started: Started) -> None:
    started.no_image.tells("Stuck", "ImagePullBackOff", NO_IMAGE, "change the Polecat")


def test_a_pod_that_cannot_start_gives_its_slot_back(started: Started) -> None:
    polecat = started.no_image
    polecat.until_gone(POD, "polecat-no-image")
    started.behind.until("Done")
    status = polecat.tells("Stuck", "ImagePullBackOff", NO_IMAGE)
    assert status["finishedAt"]
    assert [attempt["class"] for attempt in status["attempts"]] == ["ConfigError"]
    told = [
        write
        for write in started.audit.since(started.position)
        if (write.what, write.name) == ("patch polecats/status", "no-image")
    ]
    # It starts, it is stuck, its pod was deleted: the kubelet's further tries are no news.
    assert len(told) <= 3


def test_a_change_of_the_polecat_is_a_new_round(started: Started) -> None:
    polecat = started.no_image
    polecat.patch({"agentConfig": {"image": None, "command": ["sh", "-c", WORK]}})
    assert polecat.until("Done")["round"] == 2
