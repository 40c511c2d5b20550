"""The operator is killed with SIGKILL at random moments: the same pod finishes, and no second one is ever made."""

import os
import secrets
import time
from pathlib import Path
from random import Random

import pytest

from tests.support.audit import AuditLog
from tests.support.cluster import environment
from tests.support.site import Site

HOW = "hack/cluster exec --name node -- .venv/bin/pytest tests/node"
#: How often; each repetition has its own seed, which its name tells. GASTOWN_SEED begins with a given one, the long form with any.
KILLS = int(os.environ.get("GASTOWN_KILLS", "3"))
FIRST = int(
    os.environ.get("GASTOWN_SEED", secrets.randbelow(1_000_000) if os.environ.get("GASTOWN_FULL") else 1)
)
AGENT = "sleep 6; date > work.txt"
#: From creation to `Done`, about.
LIFE_SECONDS = 10.0
#: The operator writes most within this time of the creation.
START_SECONDS = 0.5


def _moment(seed: int) -> float:
    """Seconds after the creation; every other time among the operator's first writes."""
    return Random(seed).uniform(0, START_SECONDS if seed % 2 else LIFE_SECONDS)  # noqa: S311 - no secret


@pytest.mark.parametrize("seed", range(FIRST, FIRST + KILLS))
def test_a_killed_operator_makes_no_second_pod_and_loses_none(site: Site, seed: int) -> None:
    audit = AuditLog(Path(environment("GASTOWN_LAB_AUDIT_LOG", HOW)))
    before = audit.end()
    rig = site.rig("killed")
    polecat = rig.sling("killed", AGENT)
    time.sleep(_moment(seed))  # the random moment is what is tested
    site.operator.kill()
    site.operator.start()

    status = polecat.until("Done", "Done")
    # One, or none where the kill came between the status and its Event.
    assert len(polecat.events("Done")) <= 1
    assert rig.refs["refs/heads/polecat/killed"] == status["headCommit"]
    assert status["attempt"] == 1
    created = [
        write.name
        for write in audit.since(before)
        if write.what == "create pods" and write.namespace == rig.namespace and write.status == 201
    ]
    assert created == ["polecat-killed"]
