"""What a Polecat's run is made of, once its Rig's defaults are filled in and its permissions are checked.

A credential is bound to a destination by the Rig, never by a Polecat (DESIGN §11): the Rig's git credential is used for
the Rig's URL alone, and provider credentials for the Rig's providers alone.
"""

from typing import TypeVar

from attrs import frozen

from gastown_operator.agents.launch import AgentConfigError, Launch, LaunchRequest
from gastown_operator.agents.registry import adapter
from gastown_operator.api import names
from gastown_operator.api.agentconfig import Agent, AgentConfig, ModelProvider
from gastown_operator.api.common import ResourceRequirements
from gastown_operator.api.giturl import parse_git_url
from gastown_operator.api.podspec import HostKeyChecking, PodSettings
from gastown_operator.api.polecat import Polecat
from gastown_operator.api.rig import Rig
from gastown_operator.controllers.polecat.permission import (
    RefusedError,
    check_key_is_safe,
    check_named,
    check_permissions,
    check_task,
)
from gastown_operator.controllers.polecat.provider import (
    ModelAccess,
    asked_provider,
    check_destination,
    chosen_agent,
    model_access,
)
from gastown_operator.controllers.settings import OperatorSettings

T = TypeVar("T")

DEFAULT_BRANCH = "main"  # as in the older operator
DEFAULT_DEADLINE = 3600  # seconds; as in the older operator
DEFAULT_STALL_THRESHOLD = 900.0  # seconds (DESIGN §6); the Witness of a rig may say otherwise


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
    model: ModelAccess | None
    launch: Launch
    agent_config_map: str
    setup_command: str
    resources: ResourceRequirements
    deadline: int
    pod: PodSettings
    committer_name: str
    committer_email: str
    checkpoint_interval: float
    ref_prefix: str
    idle_limit: float
    stall_threshold: float
    mirror_claim: str
    cache_claim: str
    rig_uid: str  # of the rig that keeps house in the repository; empty where that is not its own

    @property
    def gateway(self) -> ModelAccess | None:
        """How the pod's gateway reaches the model; None where it has no gateway."""
        return self.model if self.model is not None and self.model.gateway else None


def resolve(polecat: Polecat, rig: Rig, settings: OperatorSettings) -> Resolved:
    """Fill in the rig's defaults and check what the rig permits.

    Raises:
        RefusedError: reason and message say what to change.
    """
    check_permissions(polecat, rig)
    own, default = polecat.spec.kubernetes, rig.spec.defaults
    repository, git_secret = _repository(polecat, rig)
    base_branch, work_branch = _branches(polecat, rig)
    agent = chosen_agent(polecat, rig)
    check_task(polecat, agent)
    config = _agent_config(polecat, rig)
    try:
        model = model_access(polecat, rig, agent, config, settings)
        launch = _launch(polecat, rig, agent, config, model, settings)
    except AgentConfigError as error:
        raise RefusedError(error.reason, error.message) from error
    if model is not None:
        check_destination(model, rig)
    return Resolved(
        repository=repository,
        git_secret=git_secret,
        base_branch=base_branch,
        work_branch=work_branch,
        host_key_checking=own.ssh_strict_host_key_checking
        or default.kubernetes.ssh_strict_host_key_checking
        or HostKeyChecking.YES,
        known_hosts_config_map=_known_hosts(polecat, rig),
        agent=agent,
        model=model,
        launch=launch,
        agent_config_map=_agent_config_map(polecat, rig),
        setup_command=polecat.spec.setup_command,
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
        idle_limit=float(polecat.spec.max_idle_seconds or 0),
        stall_threshold=DEFAULT_STALL_THRESHOLD,
        mirror_claim=rig.spec.mirror.claim_name if rig.spec.mirror is not None else "",
        cache_claim=rig.spec.cache.claim_name if rig.spec.cache is not None else "",
        rig_uid=rig.metadata.uid if repository == rig.spec.git_url else "",
    )


def _repository(polecat: Polecat, rig: Rig) -> tuple[str, str]:
    """URL, and the name of the Secret that may be shown to it."""
    own = polecat.spec.kubernetes
    rigs_secret = rig.spec.defaults.git_secret_ref.name
    secret = own.git_secret_ref.name if own.git_secret_ref is not None else ""
    if not own.git_repository or parse_git_url(own.git_repository) == parse_git_url(rig.spec.git_url):
        if secret and secret != rigs_secret:
            check_named("Secret", [secret], rig.spec.allowed_secrets, rig)
        return rig.spec.git_url, secret or rigs_secret
    if secret in ("", rigs_secret):
        raise RefusedError(
            "CredentialBoundToRig",
            f'spec.kubernetes.gitRepository is not the gitURL of Rig "{rig.metadata.name}", whose credential is used for that '
            "URL alone; remove gitRepository, or set gitSecretRef to another Secret that the rig's spec.allowedSecrets names",
        )
    check_named("Secret", [secret], rig.spec.allowed_secrets, rig)
    return own.git_repository, secret


def _branches(polecat: Polecat, rig: Rig) -> tuple[str, str]:
    """Base branch, and the work branch: never one that others build upon."""
    own, metadata = polecat.spec.kubernetes, polecat.metadata
    rigs_base = rig.spec.defaults.kubernetes.git_branch or DEFAULT_BRANCH
    base = own.git_branch or rigs_base
    work = own.work_branch or names.work_branch(metadata.name, metadata.namespace, rig.spec.work_namespace)
    if work in (base, rigs_base):
        raise RefusedError(
            "InvalidWorkBranch",
            f'the work branch "{work}" is the branch that work starts from; set spec.kubernetes.workBranch to another one, '
            "or remove it",
        )
    return base, work


def _known_hosts(polecat: Polecat, rig: Rig) -> str:
    own = polecat.spec.kubernetes.ssh_known_hosts_config_map_ref
    default = rig.spec.defaults.kubernetes.ssh_known_hosts_config_map_ref
    if own is not None and own.name and own != default:
        check_named("ConfigMap", [own.name], rig.spec.allowed_config_maps, rig)
        return own.name
    return default.name if default is not None else ""


def _launch(
    polecat: Polecat,
    rig: Rig,
    agent: Agent,
    config: AgentConfig,
    model: ModelAccess | None,
    settings: OperatorSettings,
) -> Launch:
    known = adapter(agent)
    if model is None:
        request = LaunchRequest(config, settings.agent_image, endpoint="", api_key=None)
    else:
        if known.holds_key and model.of_rig and not model.gateway:
            check_key_is_safe(polecat, rig, known.reserved)
        request = LaunchRequest(
            config,
            settings.agent_image,
            endpoint=model.endpoint,
            api_key=model.credential,
            provider=model.provider,
            gateway=model.gateway,
        )
    return known.launch(request)


def _agent_config(polecat: Polecat, rig: Rig) -> AgentConfig:
    own, default = polecat.spec.agent_config, rig.spec.defaults.agent_config
    pods = polecat.spec.kubernetes.image or rig.spec.defaults.kubernetes.image
    return AgentConfig(
        provider=asked_provider(polecat, rig),
        model=own.model or default.model,
        model_provider=ModelProvider(),  # decided by `provider.model_access`
        image=own.image or default.image or pods,
        command=own.command or default.command,
        args=own.args or default.args,
        env=(*default.env, *own.env),
        config_map_ref=own.config_map_ref or default.config_map_ref,
    )


def _agent_config_map(polecat: Polecat, rig: Rig) -> str:
    """The agent's configuration files; that the rig allows the polecat's own was checked with its other references."""
    named = polecat.spec.agent_config.config_map_ref
    if named is None or not named.name:
        named = rig.spec.defaults.agent_config.config_map_ref
    return named.name if named is not None else ""


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
