"""Rig: a repository, the namespace where work on it runs, and what that work may use."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from attrs import field, frozen

from gastown_operator.api.agentconfig import Agent, AgentConfig
from gastown_operator.api.codec import projection
from gastown_operator.api.common import (
    Budget,
    ResourceRequirements,
    Retry,
    RigSecretKeySelector,
    SecretReference,
)
from gastown_operator.api.fields import IMMUTABLE, Constraint, ObjectSchema, Rule, doc
from gastown_operator.api.housekeeping import Housekeeping
from gastown_operator.api.labels import GROUP, VERSION
from gastown_operator.api.network import Network
from gastown_operator.api.podspec import PodSettings
from gastown_operator.api.rig_status import RigStatus
from gastown_operator.api.scalars import HTTPURL, Duration, NamespaceName, ObjectName, ShortText
from gastown_operator.runtime.objects import ObjectMeta, Resource

DEFAULT_WORK_NAMESPACE: Final = "gastown-workers"


class TownMode(StrEnum):
    """How the town (`gt`) of the Rig is reached; with any mode but `None` it must claim a bead before work starts."""

    NONE = "None"
    CLI = "CLI"
    WEBHOOK = "Webhook"
    AGENT = "Agent"


class PolicyItem(StrEnum):
    """Something that could leave the sandbox, and that a Polecat may set only if its Rig allows it."""

    POD_LABELS = "PodLabels"
    POD_ANNOTATIONS = "PodAnnotations"
    SERVICE_ACCOUNT_NAME = "ServiceAccountName"
    TOLERATIONS = "Tolerations"
    PRIORITY_CLASS_NAME = "PriorityClassName"
    RUNTIME_CLASS_NAME = "RuntimeClassName"
    GATEWAY_DISABLED = "GatewayDisabled"
    HOST_KEY_CHECKING = "HostKeyChecking"


@frozen(kw_only=True)
class RigSettings:
    """Limits and names."""

    namepool_theme: str = field(default="", metadata=doc("Theme of generated names.", older=True))
    max_polecats: Annotated[int, Constraint(minimum=1, maximum=100)] = field(
        default=8,
        metadata=doc("Most polecats that run at once; the others wait.", older=True, server_default=True),
    )


@frozen(kw_only=True)
class TownWebhook:
    """The program beside `gt` that claims are posted to."""

    url: HTTPURL = field(metadata=doc("URL to POST to."))
    secret_ref: RigSecretKeySelector = field(
        metadata=doc("Secret and key that hold the shared secret which signs the requests.")
    )


@frozen(kw_only=True)
class Town:
    """The Gas Town that stays authoritative over the beads."""

    SCHEMA: ClassVar = ObjectSchema(
        rules=(
            Rule(
                "self.mode != 'Webhook' || has(self.webhook)", "mode Webhook needs webhook.url and its secret"
            ),
        )
    )

    mode: TownMode = field(
        default=TownMode.NONE, metadata=doc("How the town is reached.", server_default=True)
    )
    webhook: TownWebhook | None = field(default=None, metadata=doc("Where mode Webhook posts to."))
    dolt_host: ShortText = field(default="", metadata=doc("Address of the town's Dolt server, for mode CLI."))


@frozen(kw_only=True)
class Committer:
    """Whom commits are from."""

    name: ShortText = field(
        default="", metadata=doc("Name in commits. Defaults to `polecat <name of the Polecat>`.")
    )
    email: ShortText = field(
        default="",
        metadata=doc("E-mail address in commits. Defaults to one below `polecats.gastown.invalid`."),
    )


_SANE_BRANCH: Final = Rule(
    "!has(self.gitBranch) || !(self.gitBranch.startsWith('-') || self.gitBranch.contains('..'))",
    "gitBranch must be a branch name that git allows",
)


@frozen(kw_only=True)
class RigDefaults:
    """What holds for a Polecat that does not say otherwise."""

    git_secret_ref: SecretReference = field(
        default=SecretReference("git-credentials"),
        metadata=doc("Secret with the credential for gitURL, and for nothing else.", server_default=True),
    )
    provider_secret_ref: RigSecretKeySelector = field(
        default=RigSecretKeySelector("claude-credentials", "api-key"),
        metadata=doc("Secret and key that hold the model provider's credential.", server_default=True),
    )
    agent: Agent | None = field(default=None, metadata=doc("Agent to run. Defaults to `claude-code`."))
    agent_config: AgentConfig = field(default=AgentConfig(), metadata=doc("Configuration of the agent."))
    kubernetes: PodSettings = field(
        default=PodSettings(), metadata=doc("How pods run.", rules=(_SANE_BRANCH,))
    )
    resources: ResourceRequirements = field(
        default=ResourceRequirements(), metadata=doc("Resources of the agent's container.")
    )
    retry: Retry = field(default=Retry(), metadata=doc("When to try again."))
    budget: Budget = field(default=Budget(), metadata=doc("Limits for one Polecat."))
    ttl_seconds_after_finished: Annotated[int, Constraint(format="int32", minimum=0)] | None = field(
        default=None, metadata=doc("Seconds after its end until a Polecat is deleted. Never if unset.")
    )
    committer: Committer = field(default=Committer(), metadata=doc("Whom commits are from."))


@frozen(kw_only=True)
class RigProvider:
    """An endpoint to which the Rig lends a credential."""

    name: ShortText = field(metadata=doc("Name of the provider, as in agentConfig.provider."))
    endpoint: HTTPURL = field(metadata=doc("Base URL of the API."))
    secret_ref: RigSecretKeySelector | None = field(
        default=None, metadata=doc("Secret and key that hold its credential; none is sent if unset.")
    )


@frozen(kw_only=True)
class Policy:
    """What a Polecat may set that could leave the sandbox."""

    allow: tuple[PolicyItem, ...] = field(
        default=(), metadata=doc("What Polecats may set. Nothing by default.", list_type="set", max_items=8)
    )


@frozen(kw_only=True)
class Checkpoint:
    """How often un-pushed work is saved on the remote."""

    interval: Duration = field(
        default=timedelta(minutes=2),
        metadata=doc(
            "Time between checkpoints, such as `2m`; eviction costs at most one.",
            server_default=True,
            rules=(Rule("duration(self) >= duration('10s')", "must be at least 10s"),),
        ),
    )


@frozen(kw_only=True)
class VolumeClaim:
    """A PersistentVolumeClaim in the namespace of the pods; one that several pods mount at once must allow it."""

    claim_name: ObjectName = field(metadata=doc("Name of the PersistentVolumeClaim."))


@frozen(kw_only=True)
class Provision:
    """Which children the Rig creates in its work namespace."""

    witness: bool = field(default=True, metadata=doc("Whether to create a Witness.", server_default=True))
    refinery: bool = field(default=True, metadata=doc("Whether to create a Refinery.", server_default=True))


@frozen(kw_only=True)
class RigSpec:
    """Repository, limits and permissions of a Rig."""

    git_url: str = field(
        default="",
        metadata=doc(
            "URL of the repository: `git@host:path`, `ssh://…` or `https://…`. The Rig's git credential is used for it alone.",
            older=True,
            required=True,
        ),
    )
    beads_prefix: Annotated[str, Constraint(pattern="^[a-z]{2,10}$")] = field(
        default="", metadata=doc("Prefix of the rig's issues, without the dash.", older=True, required=True)
    )
    local_path: str = field(default="", metadata=doc("Path of the rig in the town (local mode).", older=True))
    settings: RigSettings = field(default=RigSettings(), metadata=doc("Limits and names.", older=True))
    work_namespace: NamespaceName = field(
        default=DEFAULT_WORK_NAMESPACE,
        metadata=doc(
            "Namespace where the rig's children and its work live.", server_default=True, rules=(IMMUTABLE,)
        ),
    )
    town: Town = field(default=Town(), metadata=doc("The Gas Town that stays authoritative over the beads."))
    allowed_namespaces: tuple[NamespaceName, ...] = field(
        default=(),
        metadata=doc(
            "Namespaces whose Polecats may use the Rig. Defaults to the work namespace.",
            list_type="set",
            max_items=64,
        ),
    )
    defaults: RigDefaults = field(
        default=RigDefaults(), metadata=doc("What holds for a Polecat that does not say otherwise.")
    )
    providers: tuple[RigProvider, ...] = field(
        default=(),
        metadata=doc(
            "Endpoints to which the Rig lends credentials; to no other.",
            list_type="map",
            list_map_keys=("name",),
            max_items=16,
        ),
    )
    allowed_secrets: tuple[ObjectName, ...] = field(
        default=(),
        metadata=doc("Secrets that Polecats may name. None by default.", list_type="set", max_items=64),
    )
    allowed_config_maps: tuple[ObjectName, ...] = field(
        default=(),
        metadata=doc("ConfigMaps that Polecats may name. None by default.", list_type="set", max_items=64),
    )
    policy: Policy = field(
        default=Policy(), metadata=doc("What a Polecat may set that could leave the sandbox.")
    )
    network: Network = field(default=Network(), metadata=doc("What the network of the Rig's pods is."))
    checkpoint: Checkpoint = field(default=Checkpoint(), metadata=doc("How often un-pushed work is saved."))
    mirror: VolumeClaim | None = field(
        default=None,
        metadata=doc(
            "Volume with a bare mirror of the repository, mounted read-only; clones take from it what they can. "
            "It may be old, or of another repository: what is missing comes from the git server."
        ),
    )
    cache: VolumeClaim | None = field(
        default=None,
        metadata=doc(
            "Volume for caches of setupCommand and of the agents, mounted at `/gastown/cache`. All Polecats of the Rig can "
            "write to it: what one leaves there, the next one runs."
        ),
    )
    ref_prefix: Annotated[
        str, Constraint(max_length=128, pattern=r"^refs(/[A-Za-z0-9_][A-Za-z0-9_-]*)+$")
    ] = field(
        default="refs/gastown",
        metadata=doc(
            "Where checkpoints and marks are kept on the remote.",
            server_default=True,
            rules=(
                Rule(
                    "!self.matches('^refs/(heads|tags|remotes|pull|merge-requests)(/|$)')",
                    "must not be where git or the git server keep branches, tags or reviews",
                ),
            ),
        ),
    )
    housekeeping: Housekeeping = field(
        default=Housekeeping(),
        metadata=doc(
            "When recovery refs of Polecats that are merged or gone are removed from the git server."
        ),
    )
    provision: Provision = field(default=Provision(), metadata=doc("Which children the Rig creates."))
    budget: Budget = field(
        default=Budget(),
        metadata=doc(
            "Limits for all work of one day (UTC). status.dayBudget tells where it stands. No limit by default."
        ),
    )


@frozen(kw_only=True)
class Rig:
    """A Rig is a repository that agents work on, with the limits and permissions of that work."""

    metadata: ObjectMeta
    spec: RigSpec = field(default=RigSpec())
    status: RigStatus = field(default=RigStatus())


RIG: Final = Resource(GROUP, VERSION, "Rig", "rigs", namespaced=False, project=projection(Rig, "Rig"))
