"""Refinery: the merge queue of a rig."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from attrs import field, frozen

from gastown_operator.api.codec import projection
from gastown_operator.api.common import CONDITIONS, Condition, SecretReference
from gastown_operator.api.fields import Constraint, doc
from gastown_operator.api.labels import GROUP, VERSION
from gastown_operator.api.scalars import Int32
from gastown_operator.runtime.objects import ObjectMeta, Resource


class RefineryPhase(StrEnum):
    """State of a Refinery."""

    IDLE = "Idle"
    PROCESSING = "Processing"
    ERROR = "Error"


@frozen(kw_only=True)
class RefinerySpec:
    """Which rig's branches a Refinery merges, into what, and how they are tested."""

    rig_ref: str = field(default="", metadata=doc("Name of the Rig to merge for.", older=True, required=True))
    target_branch: str = field(
        default="main", metadata=doc("Branch to merge into.", older=True, server_default=True)
    )
    test_command: str = field(
        default="",
        metadata=doc(
            "Shell text that must succeed on what is merged, run in a pod without credentials.", older=True
        ),
    )
    parallelism: Annotated[int, Constraint(format="int32", minimum=1)] = field(
        default=1, metadata=doc("Most candidates tested at once.", older=True, server_default=True)
    )
    git_secret_ref: SecretReference | None = field(
        default=None,
        metadata=doc("Secret with the credential for the repository. Defaults to the Rig's.", older=True),
    )


@frozen(kw_only=True)
class MergesSummary:
    """How many merges ended how."""

    total: Int32 = field(metadata=doc("Merges tried.", older=True))
    succeeded: Int32 = field(metadata=doc("Merges that landed.", older=True))
    failed: Int32 = field(metadata=doc("Merges that failed by conflict or test.", older=True))
    pending: Int32 = field(metadata=doc("Branches that wait.", older=True))


@frozen(kw_only=True)
class RefineryStatus:
    """What is known of a Refinery."""

    phase: RefineryPhase | None = field(default=None, metadata=doc("State of the Refinery.", older=True))
    queue_length: Int32 | None = field(
        default=None, metadata=doc("Number of branches that wait.", older=True)
    )
    current_merge: str = field(default="", metadata=doc("Branch that is being merged.", older=True))
    last_merge_time: datetime | None = field(
        default=None, metadata=doc("When a merge last landed.", older=True)
    )
    merges_summary: MergesSummary | None = field(default=None, metadata=doc("How merges ended.", older=True))
    conditions: tuple[Condition, ...] = field(default=(), metadata=CONDITIONS)


@frozen(kw_only=True)
class Refinery:
    """A Refinery merges the finished branches of a Rig, and lands only what passed its tests."""

    metadata: ObjectMeta
    spec: RefinerySpec = field(default=RefinerySpec(), metadata=doc("What is wanted.", required=True))
    status: RefineryStatus = field(default=RefineryStatus())


REFINERY: Final = Resource(
    GROUP, VERSION, "Refinery", "refineries", namespaced=True, project=projection(Refinery, "Refinery")
)
