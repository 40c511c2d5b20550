"""Objects as the caches hold them, made from the JSON that the API server would send."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from gastown_operator.api import labels
from gastown_operator.api.codec import to_json
from gastown_operator.api.core import NAMESPACE, POD, Namespace, Pod
from gastown_operator.api.polecat import POLECAT, Polecat, PolecatStatus
from gastown_operator.api.rig import RIG, Rig
from gastown_operator.controllers.settings import OperatorSettings
from gastown_operator.runtime.objects import format_time
from gastown_operator.workload.message import Outcome, TerminationMessage

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SETTINGS = OperatorSettings(workload_image="workload:1", agent_image="agent:1")
WORKERS = "gastown-workers"
REPOSITORY = "ssh://git@git.example.invalid/project.git"
HEAD = "b" * 40
BASE = "a" * 40

JSON = dict[str, Any]


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> JSON:
    """`base` with `changes` in it, maps joined at every depth."""
    result = dict(base)
    for name, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(result.get(name), Mapping)
        result[name] = merged(result[name], value) if both else value
    return result


def rig(name: str = "project", **spec: Any) -> Rig:
    """A rig with the defaults that the API server fills in."""
    return RIG.project(rig_body(name, **spec))


def rig_body(name: str = "project", **spec: Any) -> JSON:
    """The same as JSON."""
    defaults = {
        "gitURL": REPOSITORY,
        "beadsPrefix": "gt",
        "settings": {"maxPolecats": 8},
        "workNamespace": WORKERS,
        "refPrefix": "refs/gastown",
        "defaults": {
            "gitSecretRef": {"name": "git-credentials"},
            "providerSecretRef": {"name": "claude-credentials", "key": "api-key"},
        },
    }
    metadata = {"name": name, "uid": f"rig-{name}", "generation": 1, "resourceVersion": "1"}
    return {"metadata": metadata, "spec": merged(defaults, spec)}


def polecat(
    name: str = "toast",
    *,
    namespace: str = WORKERS,
    uid: str = "",
    age: float = 60.0,
    generation: int = 1,
    metadata: Mapping[str, Any] | None = None,
    status: PolecatStatus | Mapping[str, Any] | None = None,
    **spec: Any,
) -> Polecat:
    """A polecat that shall work with a custom agent, `age` seconds old."""
    stored = to_json(status) if isinstance(status, PolecatStatus) else dict(status or {})
    body = polecat_body(
        name, namespace=namespace, uid=uid, age=age, generation=generation, metadata=metadata, **spec
    )
    return POLECAT.project({**body, "status": stored})


def polecat_body(
    name: str = "toast",
    *,
    namespace: str = WORKERS,
    uid: str = "",
    age: float = 60.0,
    generation: int = 1,
    metadata: Mapping[str, Any] | None = None,
    **spec: Any,
) -> JSON:
    """The same as JSON, without a status."""
    defaults = {
        "rig": "project",
        "desiredState": "Working",
        "taskDescription": "Fix it",
        "agent": "custom",
        "agentConfig": {"command": ["true"]},
    }
    named: JSON = {
        "name": name,
        "namespace": namespace,
        "uid": uid or f"{name}-uid",
        "generation": generation,
        "resourceVersion": "1",
        "creationTimestamp": format_time(NOW - timedelta(seconds=age)),
    }
    return {"metadata": merged(named, metadata or {}), "spec": merged(defaults, spec)}


def namespace(name: str = WORKERS, phase: str = "Active") -> Namespace:
    """A namespace."""
    return NAMESPACE.project({"metadata": {"name": name}, "status": {"phase": phase}})


def word(outcome: Outcome = Outcome.SUCCEEDED, **changes: Any) -> str:
    """The keeper's termination message; of a proven success unless said otherwise."""
    values: JSON = {
        "reason": "AgentExitCode" if outcome is Outcome.AGENT_ERROR else str(outcome),
        "message": "what happened",
        "branch": "polecat/toast",
        "base": BASE,
        "head": HEAD,
        "commits": 1,
        "pushed": True,
    }
    return TerminationMessage(outcome, **{**values, **changes}).encode().decode()


def terminated(code: int = 0, message: str = "", reason: str = "", at: datetime = NOW) -> JSON:
    """State of a container that has ended a second before `at`."""
    return {
        "terminated": {
            "exitCode": code,
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "message": message,
            "startedAt": format_time(at - timedelta(seconds=30)),
            "finishedAt": format_time(at - timedelta(seconds=1)),
        }
    }


def running() -> JSON:
    """State of a container that runs."""
    return {"running": {"startedAt": format_time(NOW - timedelta(seconds=30))}}


def waiting(reason: str, message: str = "") -> JSON:
    """State of a container that has not started."""
    return {"waiting": {"reason": reason, "message": message}}


def pod(
    name: str = "polecat-toast",
    *,
    owner: Polecat | None = None,
    phase: str = "Running",
    clone: JSON | None = None,
    keeper: JSON | None = None,
    gateway: JSON | None = None,
    agent: JSON | None = None,
    metadata: Mapping[str, Any] | None = None,
    **status: Any,
) -> Pod:
    """A polecat's pod in some state; `owner` controls it."""
    named: JSON = {
        "name": name,
        "namespace": owner.metadata.namespace if owner is not None else WORKERS,
        "uid": f"{name}-uid",
        "resourceVersion": "1",
        "creationTimestamp": format_time(NOW - timedelta(seconds=40)),
        "labels": {labels.MANAGED_BY: labels.OPERATOR},
        "annotations": {
            labels.RIG: owner.spec.rig if owner is not None else "project",
            labels.BRANCH: "polecat/toast",
            labels.AGENT: "custom",
        },
    }
    if owner is not None:
        reference = {"apiVersion": POLECAT.api_version, "kind": "Polecat", "controller": True}
        named["ownerReferences"] = [{**reference, "name": owner.metadata.name, "uid": owner.metadata.uid}]
    states = {"clone": clone, "keeper": keeper, "gateway": gateway}
    body = {
        "metadata": merged(named, metadata or {}),
        "spec": {"containers": [{"name": "agent", "image": "agent:1"}]},
        "status": {
            "phase": phase,
            "initContainerStatuses": [
                {"name": key, "state": state} for key, state in states.items() if state
            ],
            "containerStatuses": [{"name": "agent", "state": agent}] if agent else [],
            **status,
        },
    }
    return POD.project(body)


def succeeded(owner: Polecat, message: str, name: str = "polecat-toast") -> Pod:
    """A pod whose agent ended with exit status 0, and whose keeper left `message`."""
    return pod(
        name,
        owner=owner,
        phase="Succeeded",
        clone=terminated(),
        keeper=terminated(message=message),
        agent=terminated(),
    )
