"""Polecat: one agent, one issue, one branch."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from attrs import field, frozen

from gastown_operator.api.agentconfig import Agent, AgentConfig
from gastown_operator.api.codec import projection
from gastown_operator.api.common import (
    CONDITIONS,
    Budget,
    Condition,
    OutcomeClass,
    ResourceRequirements,
    Retry,
    Usage,
)
from gastown_operator.api.fields import IMMUTABLE, Constraint, ObjectSchema, Rule, doc
from gastown_operator.api.labels import GROUP, VERSION
from gastown_operator.api.podspec import KubernetesSpec
from gastown_operator.api.scalars import Count, GitObjectID, Int32, ObjectName, Script, ShortText
from gastown_operator.runtime.objects import ObjectMeta, Resource

MAX_ATTEMPTS_KEPT: Final = 20
"""How many entries `status.attempts` holds; the oldest go first."""


class DesiredState(StrEnum):
    """What the user wants of a Polecat."""

    IDLE = "Idle"
    WORKING = "Working"
    TERMINATED = "Terminated"


class ExecutionMode(StrEnum):
    """Where a Polecat runs: as a Pod, or in the town's tmux."""

    LOCAL = "local"
    KUBERNETES = "kubernetes"


class GatewayMode(StrEnum):
    """Whether the agent reaches its model through the gateway, which holds the credential."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class PolecatPhase(StrEnum):
    """Where a Polecat is in its life. `Done` means that the pushed commit was proven."""

    IDLE = "Idle"
    WORKING = "Working"
    DONE = "Done"
    STUCK = "Stuck"
    TERMINATED = "Terminated"


class CleanupStatus(StrEnum):
    """State of a local worktree."""

    CLEAN = "clean"
    HAS_UNCOMMITTED = "has_uncommitted"
    HAS_UNPUSHED = "has_unpushed"
    UNKNOWN = "unknown"


class ClaimState(StrEnum):
    """What the town said about the bead."""

    CLAIMED = "Claimed"
    REFUSED = "Refused"
    RELEASED = "Released"


@frozen(kw_only=True)
class PolecatSpec:
    """What a Polecat shall do, and how."""

    rig: str = field(
        default="",
        metadata=doc("Name of the Rig that it belongs to.", older=True, required=True, rules=(IMMUTABLE,)),
    )
    desired_state: DesiredState = field(
        default=DesiredState.IDLE,
        metadata=doc(
            "`Working` starts the agent, `Idle` pauses it, `Terminated` stops it; its work is kept.",
            older=True,
            server_default=True,
        ),
    )
    bead_id: str = field(
        default="",
        metadata=doc(
            "Issue to work on. One active Polecat per bead, rig and namespace. It or taskDescription is needed, but for agent `custom`.",
            older=True,
        ),
    )
    task_description: str = field(
        default="", metadata=doc("The task in words; becomes the agent's prompt.", older=True)
    )
    execution_mode: ExecutionMode | None = field(
        default=None,
        metadata=doc(
            "Where it runs. Defaults to `local` if the Rig's town can run it, else to `kubernetes`.",
            older=True,
        ),
    )
    agent: Agent | None = field(
        default=None, metadata=doc("Agent to run. Defaults to the Rig's, else to `claude-code`.", older=True)
    )
    agent_config: AgentConfig = field(
        default=AgentConfig(),
        metadata=doc("Configuration of the agent; each field defaults to the Rig's.", older=True),
    )
    resources: ResourceRequirements = field(
        default=ResourceRequirements(),
        metadata=doc("Resources of the agent's container; kubernetes.resources come first.", older=True),
    )
    ttl_seconds_after_finished: Int32 | None = field(
        default=None,
        metadata=doc(
            "Seconds after its end, merging included, until it is deleted. Never if unset.", older=True
        ),
    )
    max_idle_seconds: Int32 | None = field(
        default=None,
        metadata=doc(
            "Seconds without activity after which the agent is asked to stop, and its work is kept. Never if unset.",
            older=True,
        ),
    )
    kubernetes: KubernetesSpec = field(
        default=KubernetesSpec(),
        metadata=doc("Repository, credentials and Pod; each field defaults to the Rig's.", older=True),
    )
    convoy: ObjectName | None = field(
        default=None, metadata=doc("Convoy that it belongs to; set by the Convoy.")
    )
    gateway: GatewayMode | None = field(
        default=None,
        metadata=doc(
            "Whether the gateway stands between agent and model. Defaults to `Enabled`; `Disabled` must be allowed by the Rig."
        ),
    )
    setup_command: Script = field(
        default="",
        metadata=doc(
            "Shell text that prepares the clone before the agent starts, run in its container and within its deadline. None by default; "
            "where it fails, the agent is not started."
        ),
    )
    retry: Retry = field(
        default=Retry(), metadata=doc("When to try again; each field defaults to the Rig's.")
    )
    budget: Budget = field(
        default=Budget(),
        metadata=doc(
            "Limits for all attempts together; each field defaults to that of the Rig's defaults.budget."
        ),
    )
    depends_on: tuple[ObjectName, ...] = field(
        default=(),
        metadata=doc(
            "Polecats of this namespace that must be merged first (pushed, on a rig that cannot land). None by default.",
            list_type="set",
            max_items=32,
        ),
    )
    priority: Annotated[int, Constraint(format="int32", minimum=-1000, maximum=1000)] = field(
        default=0, metadata=doc("Higher starts earlier among those that wait in a rig. Defaults to 0.")
    )
    allow_no_changes: bool = field(
        default=False,
        metadata=doc("Whether an end without a commit counts as done instead of stuck. Defaults to false."),
    )


@frozen(kw_only=True)
class Claim:
    """Whether the town lets the operator work on the bead."""

    holder: ShortText = field(metadata=doc("Who holds the bead, as the town names it."))
    state: ClaimState = field(metadata=doc("What the town said."))
    time: datetime = field(metadata=doc("When it said so."))


@frozen(kw_only=True)
class Attempt:
    """One run of the agent that has ended."""

    pod_uid: ShortText = field(metadata=doc("UID of the Pod."))
    number: Count = field(default=0, metadata=doc("Number of the attempt, from 1 over all rounds."))
    outcome: OutcomeClass = field(metadata=doc("How it ended.", name="class"))
    reason: ShortText = field(default="", metadata=doc("The cause, as one word."))
    started_at: datetime | None = field(default=None, metadata=doc("When the agent started."))
    finished_at: datetime | None = field(default=None, metadata=doc("When the Pod ended."))
    usage: Usage | None = field(
        default=None,
        metadata=doc(
            "What it has cost; all that it was allowed to, where its gateway left no word. Absent where neither is known."
        ),
    )


@frozen(kw_only=True)
class PolecatStatus:
    """What is known of a Polecat. Everything but `claim` is written by the polecat controller."""

    phase: PolecatPhase = field(
        default=PolecatPhase.IDLE,
        metadata=doc("Where it is in its life.", older=True, server_default=True),
    )
    assigned_bead: str = field(default="", metadata=doc("Issue that it works on.", older=True))
    branch: str = field(default="", metadata=doc("Branch that the work is pushed to.", older=True))
    pod_name: str = field(default="", metadata=doc("Its latest Pod.", older=True))
    pod_active: bool = field(default=False, metadata=doc("Whether the Pod is running.", older=True))
    agent: Agent | None = field(default=None, metadata=doc("Agent in use.", older=True))
    agent_image: str = field(default="", metadata=doc("Image in use.", older=True))
    agent_model: str = field(default="", metadata=doc("Model in use.", older=True))
    last_activity: datetime | None = field(
        default=None,
        metadata=doc(
            "Last activity known when the status last changed; never written on its own.", older=True
        ),
    )
    session_active: bool | None = field(
        default=None, metadata=doc("Whether the tmux session is running (local mode).", older=True)
    )
    tmux_session: str = field(default="", metadata=doc("Name of the tmux session (local mode).", older=True))
    worktree_path: str = field(default="", metadata=doc("Path of the worktree (local mode).", older=True))
    cleanup_status: CleanupStatus | None = field(
        default=None, metadata=doc("State of the worktree (local mode).", older=True)
    )
    round: Count | None = field(
        default=None, metadata=doc("Number of the round, from 1; rises when the work is wanted again.")
    )
    attempt: Count | None = field(
        default=None, metadata=doc("Number of the latest Pod, from 1 over all rounds.")
    )
    first_attempt: Count | None = field(
        default=None, metadata=doc("Number of the attempt with which a person last asked for the work.")
    )
    retries: Count | None = field(
        default=None,
        metadata=doc("How often `spec.retry` has had it try again since a person last asked for it."),
    )
    handled_retry: ShortText = field(
        default="", metadata=doc("Value of the annotation `gastown.io/retry` that was last acted upon.")
    )
    reserved: Budget | None = field(
        default=None, metadata=doc("What the attempt that runs may use, where there is a budget.")
    )
    attempts: tuple[Attempt, ...] = field(
        default=(),
        metadata=doc("The latest attempts that ended.", list_type="atomic", max_items=MAX_ATTEMPTS_KEPT),
    )
    enqueued_at: datetime | None = field(default=None, metadata=doc("Since when it waits for its turn."))
    claim: Claim | None = field(
        default=None, metadata=doc("The town's word on the bead; written by the town bridge.")
    )
    base_commit: GitObjectID | None = field(default=None, metadata=doc("Commit that the work started from."))
    head_commit: GitObjectID | None = field(
        default=None, metadata=doc("Commit found on the remote at the end.")
    )
    commits: Count | None = field(default=None, metadata=doc("Number of commits between the two."))
    started_at: datetime | None = field(default=None, metadata=doc("When the round's first Pod started."))
    finished_at: datetime | None = field(default=None, metadata=doc("When the work ended."))
    usage: Usage | None = field(
        default=None, metadata=doc("What all attempts have cost, as far as that is known.")
    )
    conditions: tuple[Condition, ...] = field(default=(), metadata=CONDITIONS)


@frozen(kw_only=True)
class Polecat:
    """A Polecat runs a coding agent on one issue, in a Pod of its own, and leaves a pushed branch."""

    SCHEMA: ClassVar = ObjectSchema(
        rules=(
            Rule(
                "!has(self.spec) || !has(self.spec.dependsOn) || !(self.metadata.name in self.spec.dependsOn)",
                "a Polecat cannot depend on itself",
            ),
        )
    )

    metadata: ObjectMeta
    spec: PolecatSpec = field(default=PolecatSpec())
    status: PolecatStatus = field(default=PolecatStatus())


POLECAT: Final = Resource(
    GROUP, VERSION, "Polecat", "polecats", namespaced=True, project=projection(Polecat, "Polecat")
)
