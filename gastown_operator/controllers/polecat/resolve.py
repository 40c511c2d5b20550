"""What a Polecat's run is made of, once its Rig's defaults are filled in and its permissions are checked.

A credential is bound to a destination by the Rig, never by a Polecat (DESIGN §11): the Rig's git credential is used for
the Rig's URL alone, and provider credentials for the Rig's providers alone.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from attrs import evolve, frozen

from gastown_operator.agents.launch import AgentConfigError, Launch, LaunchRequest
from gastown_operator.agents.registry import adapter
from gastown_operator.api import names
from gastown_operator.api.agentconfig import Agent, AgentConfig, ModelProvider
from gastown_operator.api.common import Budget, ResourceRequirements, Retry, SecretKeySelector
from gastown_operator.api.giturl import parse_git_url
from gastown_operator.api.podspec import HostKeyChecking, PodSettings
from gastown_operator.api.polecat import ExecutionMode, GatewayMode, Polecat
from gastown_operator.api.rig import PolicyItem, Rig, TownMode
from gastown_operator.api.validation import polecat_problems, rig_problems
from gastown_operator.controllers.settings import OperatorSettings

T = TypeVar("T")

DEFAULT_BRANCH = "main"  # as in the older operator
DEFAULT_DEADLINE = 3600  # seconds; as in the older operator


class RefusedError(Exception):
    """The polecat cannot run as it is specified; only a change of it or of its rig helps."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


@frozen
class Resolved:
    """Everything that a pod is built from."""

    repository: str
    git_secret: str
    base_branch: str
    work_branch: str
    host_key_checking: HostKeyChecking
    known_hosts_config_map: str
    agent: Agent
    launch: Launch
    resources: ResourceRequirements
    deadline: int
    pod: PodSettings
    committer_name: str
    committer_email: str
    checkpoint_interval: float
    ref_prefix: str


def resolve(polecat: Polecat, rig: Rig, settings: OperatorSettings) -> Resolved:
    """Fill in the rig's defaults and check what the rig permits.

    Raises:
        RefusedError: reason and message say what to change.
    """
    _check_specifications(polecat, rig)
    _check_supported(polecat, rig)
    _check_execution_mode(polecat, rig)
    _check_namespace(polecat, rig)
    _check_policy(polecat, rig)
    own, default = polecat.spec.kubernetes, rig.spec.defaults
    repository, git_secret = _repository(polecat, rig)
    agent = polecat.spec.agent or default.agent or Agent.CLAUDE_CODE
    return Resolved(
        repository=repository,
        git_secret=git_secret,
        base_branch=own.git_branch or default.kubernetes.git_branch or DEFAULT_BRANCH,
        work_branch=own.work_branch
        or names.work_branch(polecat.metadata.name, polecat.metadata.namespace, rig.spec.work_namespace),
        host_key_checking=own.ssh_strict_host_key_checking
        or default.kubernetes.ssh_strict_host_key_checking
        or HostKeyChecking.YES,
        known_hosts_config_map=_known_hosts(polecat, rig),
        agent=agent,
        launch=_launch(polecat, rig, agent, settings),
        resources=_first(
            own.resources, polecat.spec.resources, default.kubernetes.resources, default.resources
        ),
        deadline=own.active_deadline_seconds
        or default.kubernetes.active_deadline_seconds
        or DEFAULT_DEADLINE,
        pod=_merged(own, default.kubernetes),
        committer_name=default.committer.name or f"polecat {polecat.metadata.name}",
        committer_email=default.committer.email or f"{polecat.metadata.name[:64]}@polecats.gastown.invalid",
        checkpoint_interval=rig.spec.checkpoint.interval.total_seconds(),
        ref_prefix=rig.spec.ref_prefix,
    )


def _check_specifications(polecat: Polecat, rig: Rig) -> None:
    for problem in polecat_problems(polecat):
        raise RefusedError(problem.reason, problem.message)
    for problem in rig_problems(rig):
        raise RefusedError(problem.reason, f'Rig "{rig.metadata.name}": {problem.message}')


def _check_supported(polecat: Polecat, rig: Rig) -> None:
    """What this version cannot keep is refused, not ignored: somebody relies on it."""
    spec = polecat.spec
    asked = {
        "spec.budget": spec.budget != Budget()
        or rig.spec.defaults.budget != Budget()
        or rig.spec.budget != Budget(),
        "spec.dependsOn": bool(spec.depends_on),
        "spec.setupCommand": bool(spec.setup_command),
        "spec.retry": spec.retry != Retry() or rig.spec.defaults.retry != Retry(),
        "spec.gateway: Enabled": spec.gateway is GatewayMode.ENABLED,
        "spec.kubernetes.claudeCredsSecretRef": spec.kubernetes.claude_creds_secret_ref is not None,
        "agentConfig.configMapRef": any(
            reference is not None and reference.name
            for reference in (spec.agent_config.config_map_ref, rig.spec.defaults.agent_config.config_map_ref)
        ),
    }
    for field, wanted in asked.items():
        if wanted:
            raise RefusedError(
                "NotSupported",
                f"{field} (of the Polecat, or as its rig's default) is not supported by this version; remove it",
            )


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
    _check_named("Secret", [secret.name for secret in own.image_pull_secrets], rig.spec.allowed_secrets, rig)
    config = polecat.spec.agent_config
    sources = [entry.value_from for entry in config.env if entry.value_from is not None]
    _check_named("Secret", _source_names(sources, "secretKeyRef"), rig.spec.allowed_secrets, rig)
    _check_named("ConfigMap", _source_names(sources, "configMapKeyRef"), rig.spec.allowed_config_maps, rig)
    if config.config_map_ref is not None and config.config_map_ref.name:
        _check_named("ConfigMap", [config.config_map_ref.name], rig.spec.allowed_config_maps, rig)


def _source_names(sources: Iterable[Mapping[str, Any]], kind: str) -> list[str]:
    return [str(source[kind].get("name", "")) for source in sources if isinstance(source.get(kind), Mapping)]


def _check_named(kind: str, named: Iterable[str], allowed: Iterable[str], rig: Rig) -> None:
    permitted = set(allowed)
    for name in named:
        if name not in permitted:
            field = "allowedSecrets" if kind == "Secret" else "allowedConfigMaps"
            raise RefusedError(
                f"{kind}NotAllowed",
                f'Rig "{rig.metadata.name}" does not let Polecats name {kind} "{name}"; add it to the rig\'s spec.{field}',
            )


def _repository(polecat: Polecat, rig: Rig) -> tuple[str, str]:
    """URL, and the name of the Secret that may be shown to it."""
    own = polecat.spec.kubernetes
    rigs_secret = rig.spec.defaults.git_secret_ref.name
    secret = own.git_secret_ref.name if own.git_secret_ref is not None else ""
    if not own.git_repository or parse_git_url(own.git_repository) == parse_git_url(rig.spec.git_url):
        if secret and secret != rigs_secret:
            _check_named("Secret", [secret], rig.spec.allowed_secrets, rig)
        return rig.spec.git_url, secret or rigs_secret
    if secret in ("", rigs_secret):
        raise RefusedError(
            "CredentialBoundToRig",
            f'spec.kubernetes.gitRepository is not the gitURL of Rig "{rig.metadata.name}", whose credential is used for that '
            "URL alone; remove gitRepository, or set gitSecretRef to another Secret that the rig's spec.allowedSecrets names",
        )
    _check_named("Secret", [secret], rig.spec.allowed_secrets, rig)
    return own.git_repository, secret


def _known_hosts(polecat: Polecat, rig: Rig) -> str:
    own = polecat.spec.kubernetes.ssh_known_hosts_config_map_ref
    default = rig.spec.defaults.kubernetes.ssh_known_hosts_config_map_ref
    if own is not None and own.name and own != default:
        _check_named("ConfigMap", [own.name], rig.spec.allowed_config_maps, rig)
        return own.name
    return default.name if default is not None else ""


def _launch(polecat: Polecat, rig: Rig, agent: Agent, settings: OperatorSettings) -> Launch:
    own, default = polecat.spec.kubernetes, rig.spec.defaults
    config = _agent_config(polecat.spec.agent_config, default.agent_config)
    config = evolve(config, image=config.image or own.image or default.kubernetes.image)
    endpoint, api_key = _provider(polecat, rig)
    try:
        return adapter(agent).launch(LaunchRequest(config, settings.agent_image, endpoint, api_key))
    except AgentConfigError as error:
        raise RefusedError(error.reason, error.message) from error


def _provider(polecat: Polecat, rig: Rig) -> tuple[str, SecretKeySelector]:
    """Endpoint of the model's API, and the credential that may be shown to it."""
    own, default = polecat.spec.agent_config.model_provider, rig.spec.defaults
    rigs_key = SecretKeySelector(default.provider_secret_ref.name, default.provider_secret_ref.key)
    endpoint = own.endpoint or default.agent_config.model_provider.endpoint
    provider = next(
        (known for known in rig.spec.providers if known.endpoint.rstrip("/") == endpoint.rstrip("/")), None
    )
    if provider is not None and provider.secret_ref is not None:
        rigs_key = SecretKeySelector(provider.secret_ref.name, provider.secret_ref.key)
    given = own.api_key_secret_ref or polecat.spec.kubernetes.api_key_secret_ref
    if given is not None and given != rigs_key:
        _check_named("Secret", [given.name], rig.spec.allowed_secrets, rig)
    foreign = (
        bool(own.endpoint)
        and own.endpoint != default.agent_config.model_provider.endpoint
        and provider is None
    )
    if foreign and (given is None or given == rigs_key):
        raise RefusedError(
            "EndpointNotAllowed",
            f'"{own.endpoint}" is not among the providers of Rig "{rig.metadata.name}", so the rig\'s credential is not used for '
            "it; add it to the rig's spec.providers, or set modelProvider.apiKeySecretRef to a Secret that the rig allows",
        )
    return endpoint, given or default.agent_config.model_provider.api_key_secret_ref or rigs_key


def _agent_config(own: AgentConfig, default: AgentConfig) -> AgentConfig:
    return AgentConfig(
        provider=own.chosen_provider or default.chosen_provider,
        model=own.model or default.model,
        model_provider=ModelProvider(),  # decided by `_provider`
        image=own.image or default.image,
        command=own.command or default.command,
        args=own.args or default.args,
        env=(*default.env, *own.env),
        config_map_ref=own.config_map_ref or default.config_map_ref,
    )


def _merged(own: PodSettings, default: PodSettings) -> PodSettings:
    """The settings that are passed on to the pod: the polecat's where it has one, else the rig's; maps are joined."""
    return PodSettings(
        node_selector={**default.node_selector, **own.node_selector},
        tolerations=own.tolerations or default.tolerations,
        affinity=own.affinity or default.affinity,
        runtime_class_name=own.runtime_class_name or default.runtime_class_name,
        priority_class_name=own.priority_class_name or default.priority_class_name,
        image_pull_secrets=own.image_pull_secrets or default.image_pull_secrets,
        service_account_name=own.service_account_name or default.service_account_name,
        queue_name=own.queue_name or default.queue_name,
        pod_labels={**default.pod_labels, **own.pod_labels},
        pod_annotations={**default.pod_annotations, **own.pod_annotations},
        workspace=_first(own.workspace, default.workspace),
    )


def _first(*values: T) -> T:
    """The first value that says anything, or the last one."""
    empty = type(values[0])()
    return next((value for value in values if value != empty), values[-1])
