"""What is written for one polecat: by the operator, and by the client that it is compared with. Made by the operator's own code."""

from datetime import UTC, datetime
from typing import Any, Final

import orjson
from attrs import frozen

from gastown_operator.api.core import POD
from gastown_operator.api.polecat import POLECAT
from gastown_operator.api.rig import RIG
from gastown_operator.controllers.polecat.admission import Verdict
from gastown_operator.controllers.polecat.observe import Observed
from gastown_operator.controllers.polecat.plan import plan
from gastown_operator.controllers.settings import OperatorSettings
from gastown_operator.runtime.plan import Create

JSON = dict[str, Any]
IMAGE: Final = "registry.example/gastown/workload:1"
SETTINGS: Final = OperatorSettings(workload_image=IMAGE, agent_image=IMAGE)
FIELD_MANAGER: Final = "gastown-polecat"
_RIG: Final = "rig-0placeholder0"
_NAME: Final = "p0placeholder0"
_UID: Final = "00000000-aaaa-bbbb-cccc-000000000000"
_TIME: Final = "2026-01-01T10:00:00Z"


def rig(name: str, limit: int) -> JSON:
    """A Rig whose work namespace has its name."""
    return {
        "apiVersion": RIG.api_version,
        "kind": RIG.kind,
        "metadata": {"name": name},
        "spec": {
            "gitURL": "ssh://git@git.example.invalid/project.git",
            "beadsPrefix": "gt",
            "workNamespace": name,
            "settings": {"maxPolecats": limit},
        },
    }


def polecat(rig_name: str, name: str) -> JSON:
    """A Polecat that shall work at once."""
    return {
        "apiVersion": POLECAT.api_version,
        "kind": POLECAT.kind,
        "metadata": {"namespace": rig_name, "name": name},
        "spec": {
            "rig": rig_name,
            "desiredState": "Working",
            "taskDescription": f"Task of {name}",
            "agent": "custom",
            "agentConfig": {"command": ["true"]},
        },
    }


@frozen
class Templates:
    """Bodies of the operator's two writes for a polecat, with places for what differs."""

    pod: bytes
    status: bytes

    @classmethod
    def make(cls) -> "Templates":
        """Let the operator's planner decide about a new polecat, and again when its pod is running."""
        new = polecat(_RIG, _NAME)
        new["metadata"] |= {
            "uid": _UID,
            "resourceVersion": "1",
            "generation": 1,
            "creationTimestamp": _TIME,
        }
        (create,) = plan(_observed(new, None), SETTINGS, datetime.now(UTC)).actions
        assert isinstance(create, Create)
        running = {**create.body, "status": _running(create.body)}
        running["metadata"] = {**running["metadata"], "resourceVersion": "2", "creationTimestamp": _TIME}
        status = plan(_observed(new, running), SETTINGS, datetime.now(UTC)).status
        metadata = {"namespace": _RIG, "name": _NAME, "uid": _UID}
        applied = {
            "apiVersion": POLECAT.api_version,
            "kind": POLECAT.kind,
            "metadata": metadata,
            "status": status,
        }
        return cls(orjson.dumps(create.body), orjson.dumps(applied))


def filled(template: bytes, rig_name: str, name: str, uid: str) -> bytes:
    """Return a body for one polecat."""
    return (
        template.replace(_RIG.encode(), rig_name.encode())
        .replace(_NAME.encode(), name.encode())
        .replace(_UID.encode(), uid.encode())
    )


def _observed(raw: JSON, pod: JSON | None) -> Observed:
    return Observed(
        polecat=POLECAT.project(raw),
        rig=RIG.project(rig(_RIG, 100)),
        pod=POD.project(pod) if pod is not None else None,
        other_pods=(),
        name_taken_by=None,
        verdict=Verdict(),
    )


def _running(body: Any) -> JSON:
    agent = body["spec"]["containers"][0]
    state = {"running": {"startedAt": _TIME}}
    return {
        "phase": "Running",
        "containerStatuses": [{"name": agent["name"], "image": agent["image"], "state": state}],
    }
