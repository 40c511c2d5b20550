"""What a Rig permits its Polecats; everything else is refused, with the words that say what to change."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from gastown_operator.agents.registry import adapter
from gastown_operator.api.agentconfig import Agent
from gastown_operator.api.podspec import HostKeyChecking
from gastown_operator.api.polecat import ExecutionMode, GatewayMode, Polecat
from gastown_operator.api.rig import PolicyItem, Rig, TownMode
from gastown_operator.api.validation import polecat_problems, rig_problems

#: Any other kind of source, one of a later Kubernetes too, may read what nobody permitted.
_ENVIRONMENT_SOURCES: Final = frozenset({"secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef"})
_OPERATORS_VARIABLE: Final = "HOME"
_OPERATORS_VARIABLES: Final = "GASTOWN_"


class RefusedError(Exception):
    """The polecat cannot run as it is specified; only a change of it or of its rig helps."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


def check_permissions(polecat: Polecat, rig: Rig) -> None:
    """Raise RefusedError for a polecat that its rig does not take as it is specified."""
    _check_specifications(polecat, rig)
    _check_execution_mode(polecat, rig)
    _check_namespace(polecat, rig)
    _check_policy(polecat, rig)


def check_task(polecat: Polecat, agent: Agent) -> None:
    """Raise RefusedError for a polecat that says nothing of what its agent shall do, where that is asked of a model."""
    spec, metadata = polecat.spec, polecat.metadata
    if not adapter(agent).needs_task or spec.task_description.strip() or spec.bead_id.strip():
        return
    raise RefusedError(
        "NothingToDo",
        f'spec.taskDescription and spec.beadID are empty, so agent "{agent}" would be paid for nothing; it starts once one of them '
        f"is set: kubectl -n {metadata.namespace} patch polecat {metadata.name} --type merge "
        '-p \'{"spec":{"taskDescription":"…"}}\'',
    )


def check_key_is_safe(polecat: Polecat, rig: Rig, reserved: Collection[str]) -> None:
    """Raise RefusedError where a polecat decides what runs beside the rig's key, or where that key is sent.

    `reserved` are the variables by which the agent is told so; programs read some of them in either case.
    """
    spec = polecat.spec
    asked = {
        "agentConfig.image": spec.agent_config.image,
        "kubernetes.image": spec.kubernetes.image,
        "agentConfig.command": spec.agent_config.command,
        "agentConfig.args": spec.agent_config.args,
        "agentConfig.configMapRef": spec.agent_config.config_map_ref is not None
        and spec.agent_config.config_map_ref.name,
        "setupCommand": spec.setup_command,
        **{
            f'agentConfig.env "{entry.name}"': entry.name.upper() in reserved
            for entry in spec.agent_config.env
        },
    }
    for field, wanted in asked.items():
        if wanted:
            raise RefusedError(
                "CredentialBoundToRig",
                f'the agent holds the model\'s key of Rig "{rig.metadata.name}", so a Polecat does not set {field}; use a '
                "Secret of your own (modelProvider.apiKeySecretRef, in the rig's spec.allowedSecrets), or let the Rig set it in "
                "spec.defaults",
            )


def _check_specifications(polecat: Polecat, rig: Rig) -> None:
    for problem in polecat_problems(polecat):
        raise RefusedError(problem.reason, problem.message)
    for problem in rig_problems(rig):
        raise RefusedError(problem.reason, f'Rig "{rig.metadata.name}": {problem.message}')


def _check_execution_mode(polecat: Polecat, rig: Rig) -> None:
    if polecat.spec.execution_mode is ExecutionMode.LOCAL:
        town = (
            "has no town"
            if rig.spec.town.mode is TownMode.NONE
            else "has a town, which this version cannot use yet"
        )
        raise RefusedError(
            "LocalModeUnavailable",
            f'spec.executionMode is "local", but Rig "{rig.metadata.name}" {town}; to run it as a Pod: '
            f"kubectl -n {polecat.metadata.namespace} patch polecat {polecat.metadata.name} --type merge "
            '-p \'{"spec":{"executionMode":"kubernetes"}}\'',
        )
    if rig.spec.town.mode is not TownMode.NONE:
        raise RefusedError(
            "TownUnavailable",
            f'Rig "{rig.metadata.name}" has spec.town.mode {rig.spec.town.mode}: its town must claim the bead first, and this '
            "version has no town bridge yet; set spec.town.mode to None to run without one",
        )


def _check_namespace(polecat: Polecat, rig: Rig) -> None:
    allowed = rig.spec.allowed_namespaces or (rig.spec.work_namespace,)
    if polecat.metadata.namespace not in allowed:
        raise RefusedError(
            "NamespaceNotAllowed",
            f'Rig "{rig.metadata.name}" takes Polecats from {", ".join(allowed)}; create it there, or add '
            f'"{polecat.metadata.namespace}" to the rig\'s spec.allowedNamespaces',
        )


def _check_policy(polecat: Polecat, rig: Rig) -> None:
    """What could leave the sandbox needs the rig's word."""
    own = polecat.spec.kubernetes
    asked = {
        PolicyItem.POD_LABELS: bool(own.pod_labels),
        PolicyItem.POD_ANNOTATIONS: bool(own.pod_annotations),
        PolicyItem.SERVICE_ACCOUNT_NAME: own.service_account_name is not None,
        PolicyItem.TOLERATIONS: bool(own.tolerations),
        PolicyItem.PRIORITY_CLASS_NAME: own.priority_class_name is not None,
        PolicyItem.RUNTIME_CLASS_NAME: own.runtime_class_name is not None,
        PolicyItem.GATEWAY_DISABLED: polecat.spec.gateway is GatewayMode.DISABLED,
        PolicyItem.HOST_KEY_CHECKING: own.ssh_strict_host_key_checking not in (None, HostKeyChecking.YES),
    }
    for item, wanted in asked.items():
        if wanted and item not in rig.spec.policy.allow:
            raise RefusedError(
                "PolicyRefused",
                f'Rig "{rig.metadata.name}" does not let Polecats set {item}; add "{item}" to its spec.policy.allow, or '
                "remove the setting",
            )
    check_named("Secret", [secret.name for secret in own.image_pull_secrets], rig.spec.allowed_secrets, rig)
    config = polecat.spec.agent_config
    _check_environment(polecat)
    sources = [entry.value_from for entry in config.env if entry.value_from is not None]
    check_named("Secret", _source_names(sources, "secretKeyRef"), rig.spec.allowed_secrets, rig)
    check_named("ConfigMap", _source_names(sources, "configMapKeyRef"), rig.spec.allowed_config_maps, rig)
    if config.config_map_ref is not None and config.config_map_ref.name:
        check_named("ConfigMap", [config.config_map_ref.name], rig.spec.allowed_config_maps, rig)


def _check_environment(polecat: Polecat) -> None:
    """The operator's own variables are not a polecat's, and a value comes only from where permission was checked."""
    for entry in polecat.spec.agent_config.env:
        foreign = (
            sorted(entry.value_from.keys() - _ENVIRONMENT_SOURCES) if entry.value_from is not None else []
        )
        if foreign:
            raise RefusedError(
                "EnvironmentNotAllowed",
                f'agentConfig.env "{entry.name}" is from {foreign[0]}; a Polecat\'s variables may be from '
                f"{', '.join(sorted(_ENVIRONMENT_SOURCES))}",
            )
        if entry.name == _OPERATORS_VARIABLE or entry.name.startswith(_OPERATORS_VARIABLES):
            raise RefusedError(
                "EnvironmentNotAllowed",
                f'agentConfig.env "{entry.name}" is set by the operator; remove it, or use another name',
            )


def _source_names(sources: Iterable[Mapping[str, Any]], kind: str) -> list[str]:
    return [str(source[kind].get("name", "")) for source in sources if isinstance(source.get(kind), Mapping)]


def check_named(kind: str, named: Iterable[str], allowed: Iterable[str], rig: Rig) -> None:
    """Raise RefusedError for an object that the rig does not let its polecats name."""
    permitted = set(allowed)
    for name in named:
        if name not in permitted:
            field = "allowedSecrets" if kind == "Secret" else "allowedConfigMaps"
            raise RefusedError(
                f"{kind}NotAllowed",
                f'Rig "{rig.metadata.name}" does not let Polecats name {kind} "{name}"; add it to the rig\'s spec.{field}',
            )
