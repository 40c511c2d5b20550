"""The containers of a polecat pod: who holds what (DESIGN §6)."""

from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve

from gastown_operator.api.codec import to_json_value
from gastown_operator.api.common import Budget
from gastown_operator.api.polecat import Polecat
from gastown_operator.controllers.egress import egress_environment
from gastown_operator.controllers.git_container import git_container
from gastown_operator.controllers.parts import SECURITY_CONTEXT, entries, mount
from gastown_operator.controllers.polecat.provider import ModelAccess
from gastown_operator.controllers.polecat.resolve import Resolved
from gastown_operator.controllers.settings import OperatorSettings
from gastown_operator.gateway.settings import METRICS_PORT, GatewaySettings
from gastown_operator.workload import layout, metrics
from gastown_operator.workload.settings import Settings

CLONE: Final = "clone"
KEEPER: Final = "keeper"
GATEWAY: Final = "gateway"
AGENT: Final = "agent"

_GATEWAY_RESOURCES: Final = {
    "requests": {"cpu": "20m", "memory": "64Mi"},
    "limits": {"memory": "512Mi"},
}

JSON = dict[str, Any]


def clone(told: Settings, resolved: Resolved, settings: OperatorSettings) -> JSON:
    """The init container that makes the clone."""
    container = _workload(CLONE, told.environment(), settings)
    if resolved.agent_config_map:
        # It says so where there is none; the kubelet would wait for it without a word.
        container["volumeMounts"].append({**mount("agent-config", layout.AGENT_CONFIG), "readOnly": True})
    if resolved.mirror_claim:
        container["volumeMounts"].append({**mount("mirror", layout.MIRROR), "readOnly": True})
    return container


def keeper(told: Settings, settings: OperatorSettings) -> JSON:
    """The sidecar that saves and delivers the work; not ready while the agent does nothing."""
    # The prompt is clone's to write, and a variable of every process.
    environment = evolve(told, prompt="", agent_files={}).environment()
    checkpoint = {"exec": {"command": ["python3", "-m", "gastown_operator.workload", "checkpoint"]}}
    return {
        **_workload(KEEPER, environment, settings),
        "ports": [{"name": "keeper-metrics", "containerPort": metrics.PORT, "protocol": "TCP"}],
        "lifecycle": {"preStop": checkpoint},
        "readinessProbe": {
            # A file is looked for, since a program that looks would have to start every ten seconds in every pod.
            "exec": {"command": ["cat", str(layout.ACTIVE)]},
            # The file comes a second after the keeper; before, a probe would only leave a Warning. No start waits for this one.
            "initialDelaySeconds": 10,
            "periodSeconds": 10,
            "timeoutSeconds": 10,
            "failureThreshold": 1,
        },
    }


def gateway(polecat: Polecat, model: ModelAccess, budget: Budget, settings: OperatorSettings) -> JSON:
    """The sidecar that holds the model's credential."""
    egress = egress_environment(settings)
    told = gateway_settings(polecat, model, budget, settings)
    health = {"httpGet": {"path": "/healthz", "port": METRICS_PORT}}
    return {
        "name": GATEWAY,
        "image": settings.workload_image,
        "command": ["python3", "-m", "gastown_operator.gateway"],
        "env": [*entries(told.environment()), *egress.env],
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
        "resources": _GATEWAY_RESOURCES,
        "securityContext": {**SECURITY_CONTEXT, "readOnlyRootFilesystem": True},
        "terminationMessagePolicy": "File",
        # The agent starts once this has succeeded.
        "startupProbe": {**health, "periodSeconds": 1, "failureThreshold": 60},
        "volumeMounts": [
            mount("control", layout.CONTROL),
            {**mount("hints", layout.HINTS), "readOnly": True},
            {**mount("private", layout.PRIVATE), "subPath": GATEWAY},
            *_model_credentials(model),
            *egress.mounts,
        ],
    }


def gateway_settings(
    polecat: Polecat, model: ModelAccess, budget: Budget, settings: OperatorSettings
) -> GatewaySettings:
    """What the gateway is told of the attempt."""
    credential = model.credential
    return GatewaySettings(
        provider=model.provider.value,
        upstream=model.endpoint,
        secret=credential.name if credential is not None else "",
        secret_key=credential.key if credential is not None else "",
        model=model.model,
        max_tokens=budget.max_tokens or 0,
        max_cost=format(budget.max_cost_usd, "f") if budget.max_cost_usd is not None else "",
        prices=settings.model_prices,
        polecat=str(polecat.metadata.key),
        ended_by_pipe=not settings.native_sidecars,
    )


def agent(resolved: Resolved) -> JSON:
    """The container that runs the agent, and holds nothing."""
    launch = resolved.launch
    ours = {
        "HOME": str(layout.HOME),
        "GASTOWN_PROMPT_FILE": str(layout.PROMPT),
        **({"GASTOWN_SETUP_COMMAND": resolved.setup_command} if resolved.setup_command else {}),
        **({"GASTOWN_CONFIG_TARGET": launch.config_target} if launch.config_target else {}),
        **({"GASTOWN_CACHE": str(layout.CACHE)} if resolved.cache_claim else {}),
    }
    mounts = [
        # The clone alone: the agent must not put something else in its place.
        {**mount("workspace", layout.REPOSITORY), "subPath": layout.REPOSITORY.name},
        {**mount("control", layout.CONTROL), "readOnly": True},
        mount("hints", layout.HINTS),
        mount("home", layout.HOME),
    ]
    if resolved.agent_config_map:
        mounts.append({**mount("agent-config", layout.AGENT_CONFIG), "readOnly": True})
    if resolved.cache_claim:
        mounts.append(mount("cache", layout.CACHE))
    return {
        "name": AGENT,
        "image": launch.image,
        "command": ["/bin/sh", str(layout.AGENT_WRAPPER)],
        "args": [argument.replace("$(", "$$(") for argument in launch.command],
        "workingDir": str(layout.REPOSITORY),
        "env": [*entries(ours), *launch.environment],
        "resources": to_json_value(resolved.resources),
        "securityContext": SECURITY_CONTEXT,
        "terminationMessagePolicy": "File",
        "volumeMounts": mounts,
    }


def _workload(program: str, environment: Mapping[str, str], settings: OperatorSettings) -> JSON:
    """Clone and keeper see the same: everything but the agent's home and the model's credential."""
    return git_container(
        program,
        environment,
        settings,
        mount("workspace", layout.WORKSPACE),
        mount("control", layout.CONTROL),
        mount("hints", layout.HINTS),
        mount("keeper", layout.KEEPER),
    )


def _model_credentials(model: ModelAccess) -> list[JSON]:
    if model.credential is None:
        return []
    return [{**mount("model-credentials", layout.MODEL_CREDENTIALS), "readOnly": True}]
