"""How a polecat runs as a Pod: what the Rig may set for all, and what a Polecat adds."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

from attrs import field, frozen

from gastown_operator.api.common import (
    LocalObjectReference,
    ResourceRequirements,
    SecretKeySelector,
    SecretReference,
)
from gastown_operator.api.fields import Constraint, Rule, doc
from gastown_operator.api.scalars import Int64, JSONObject, LabelValue, ObjectName, Quantity, ShortText
from gastown_operator.runtime.objects import EMPTY

BRANCH_PATTERN: Final = "^[a-zA-Z0-9._/-]+$"
REPOSITORY_PATTERN: Final = (
    r"^(git@[a-zA-Z0-9._-]+:|https?://[a-zA-Z0-9._-]+(:[0-9]{1,5})?/"
    r"|ssh://([a-zA-Z0-9._][a-zA-Z0-9._-]*@)?[a-zA-Z0-9][a-zA-Z0-9._-]*(:[0-9]{1,5})?/)[a-zA-Z0-9._~/-]+$"
)
"""Every value that the older CRDs accepted, plus `ssh://` URLs, ports and `~`."""


class HostKeyChecking(StrEnum):
    """What ssh does with a host key that it does not know; anything but `yes` needs the Rig's permission."""

    YES = "yes"
    ACCEPT_NEW = "accept-new"
    NO = "no"


class TolerationOperator(StrEnum):
    """How a toleration's key relates to its value."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


@frozen(kw_only=True)
class Toleration:
    """A taint that the Pod tolerates, as in a Pod."""

    key: ShortText = field(default="", metadata=doc("Key of the taint; empty with `Exists` matches all."))
    operator: TolerationOperator | None = field(default=None, metadata=doc("Defaults to `Equal`."))
    value: LabelValue = field(default="", metadata=doc("Value of the taint."))
    effect: TaintEffect | None = field(
        default=None, metadata=doc("Effect of the taint; all of them if unset.")
    )
    toleration_seconds: Int64 | None = field(
        default=None, metadata=doc("Seconds for which a `NoExecute` taint is tolerated; forever if unset.")
    )


@frozen(kw_only=True)
class Workspace:
    """The volume that holds the clone."""

    size: Quantity | None = field(
        default=None,
        metadata=doc(
            "Size of the volume, or of the limit of the node's disk without a storage class, such as `20Gi`. Defaults to `10Gi` with a "
            "storage class, else to no limit."
        ),
    )
    storage_class_name: ObjectName | None = field(
        default=None,
        metadata=doc("Storage class of a volume for this pod alone; the node's own disk is used if unset."),
    )


@frozen(kw_only=True)
class ImagePullSecret:
    """Names a Secret with a registry's credentials."""

    name: ObjectName = field(metadata=doc("Name of the Secret; it must be allowed by the Rig."))


_RESERVED_KEYS: Final = Rule(
    "self.all(key, !key.startsWith('gastown.io/') && !key.startsWith('app.kubernetes.io/'))",
    "keys under gastown.io/ and app.kubernetes.io/ are the operator's",
)
_Annotation = Annotated[str, Constraint(max_length=4096)]


@frozen(kw_only=True)
class PodSettings:
    """How pods run; what a Polecat does not say is the Rig's."""

    git_branch: Annotated[str, Constraint(pattern=BRANCH_PATTERN)] = field(
        default="",
        metadata=doc(
            "Branch that the work starts from. Defaults to the Rig's, else to `main`. A name that git does not allow "
            "(one that begins with `-`, or holds `..`) is refused by a condition.",
            older=True,
        ),
    )
    image: str = field(
        default="",
        metadata=doc("Container image of the agent; agentConfig.image comes first.", older=True),
    )
    resources: ResourceRequirements = field(
        default=ResourceRequirements(),
        metadata=doc("Resources of the agent's container; they come before spec.resources.", older=True),
    )
    active_deadline_seconds: Int64 | None = field(
        default=None,
        metadata=doc(
            "Seconds after which the agent is asked to stop and its work is kept. Defaults to the Rig's, else to 3600.",
            older=True,
        ),
    )
    ssh_known_hosts_config_map_ref: LocalObjectReference | None = field(
        default=None,
        metadata=doc(
            "ConfigMap whose key `known_hosts` holds the git server's host keys; it must be allowed by the Rig.",
            older=True,
        ),
    )
    ssh_strict_host_key_checking: HostKeyChecking | None = field(
        default=None,
        metadata=doc(
            "Whether unknown host keys are refused. Defaults to `yes`; else the Rig must allow it.",
            older=True,
        ),
    )
    node_selector: Mapping[str, LabelValue] = field(
        default=EMPTY,
        metadata=doc("Labels that the node must have. Joined with the Rig's.", max_properties=32),
    )
    tolerations: tuple[Toleration, ...] = field(
        default=(),
        metadata=doc(
            "Taints that the Pod tolerates; the Rig must allow it.", list_type="atomic", max_items=32
        ),
    )
    affinity: JSONObject | None = field(default=None, metadata=doc("Scheduling constraints, as in a Pod."))
    runtime_class_name: ObjectName | None = field(
        default=None, metadata=doc("RuntimeClass of the Pod, such as a sandbox; the Rig must allow it.")
    )
    priority_class_name: ObjectName | None = field(
        default=None, metadata=doc("PriorityClass of the Pod; the Rig must allow it.")
    )
    image_pull_secrets: tuple[ImagePullSecret, ...] = field(
        default=(),
        metadata=doc(
            "Secrets for pulling images; they must be allowed by the Rig.",
            list_type="map",
            list_map_keys=("name",),
            max_items=16,
        ),
    )
    service_account_name: ObjectName | None = field(
        default=None,
        metadata=doc("ServiceAccount of the Pod, which never gets its token; the Rig must allow it."),
    )
    queue_name: LabelValue = field(default="", metadata=doc("Kueue's LocalQueue that admits the Pod."))
    pod_labels: Mapping[str, LabelValue] = field(
        default=EMPTY,
        metadata=doc(
            "Further labels of the Pod; the Rig must allow it.", max_properties=32, rules=(_RESERVED_KEYS,)
        ),
    )
    pod_annotations: Mapping[str, _Annotation] = field(
        default=EMPTY,
        metadata=doc(
            "Further annotations of the Pod; the Rig must allow it.",
            max_properties=32,
            rules=(_RESERVED_KEYS,),
        ),
    )
    workspace: Workspace = field(default=Workspace(), metadata=doc("The volume that holds the clone."))


@frozen(kw_only=True)
class KubernetesSpec(PodSettings):
    """What one Polecat says about its Pod, its repository and its credentials."""

    git_repository: Annotated[str, Constraint(pattern=REPOSITORY_PATTERN)] = field(
        default="",
        metadata=doc(
            "URL of the repository: `git@host:path`, `ssh://…` or `https://…`. Defaults to the Rig's gitURL; another one "
            "needs a gitSecretRef of its own, because the Rig's credential is used only for the Rig's URL.",
            older=True,
        ),
    )
    git_secret_ref: SecretReference | None = field(
        default=None,
        metadata=doc(
            "Secret with the credential for the repository: an SSH private key, or a user name and password. "
            "Defaults to the Rig's.",
            older=True,
        ),
    )
    work_branch: Annotated[str, Constraint(pattern=BRANCH_PATTERN)] = field(
        default="",
        metadata=doc(
            "Branch that the work is pushed to. Defaults to `polecat/<name>`, and outside the Rig's work namespace to "
            "`polecat/<namespace>/<name>`.",
            older=True,
        ),
    )
    claude_creds_secret_ref: SecretReference | None = field(
        default=None,
        metadata=doc("Secret with Claude's own credentials file. Defaults to the Rig's.", older=True),
    )
    api_key_secret_ref: SecretKeySelector | None = field(
        default=None,
        metadata=doc("Secret and key that hold the provider's API key. Defaults to the Rig's.", older=True),
    )
