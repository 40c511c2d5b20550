"""Convoy: a batch of beads."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from attrs import field, frozen

from gastown_operator.api.codec import projection
from gastown_operator.api.common import CONDITIONS, Condition
from gastown_operator.api.fields import Constraint, doc
from gastown_operator.api.labels import GROUP, VERSION
from gastown_operator.runtime.objects import ObjectMeta, Resource


class ConvoyPhase(StrEnum):
    """State of a Convoy."""

    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    COMPLETE = "Complete"
    FAILED = "Failed"


@frozen(kw_only=True)
class ConvoySpec:
    """Which beads a Convoy tracks, and how many are worked on at once."""

    description: Annotated[str, Constraint(min_length=1)] = field(
        default="", metadata=doc("What the batch is about, for people.", older=True, required=True)
    )
    tracked_beads: tuple[str, ...] = field(
        default=(), metadata=doc("Issues of the batch.", older=True, required=True, min_items=1)
    )
    rig_ref: str = field(default="", metadata=doc("Name of the Rig that the work is done in.", older=True))
    parallelism: Annotated[int, Constraint(format="int32", minimum=0)] = field(
        default=0,
        metadata=doc("Most polecats that run at once; 0 is no limit.", older=True, server_default=True),
    )
    notify_on_complete: str = field(
        default="", metadata=doc("Mail address of the town that is told of the end.", older=True)
    )


@frozen(kw_only=True)
class ConvoyStatus:
    """What is known of a Convoy."""

    phase: ConvoyPhase = field(
        default=ConvoyPhase.PENDING, metadata=doc("State of the Convoy.", older=True, server_default=True)
    )
    progress: str = field(default="", metadata=doc("Completed beads of all, such as `2/3`.", older=True))
    completed_beads: tuple[str, ...] = field(
        default=(), metadata=doc("Beads that are completed.", older=True)
    )
    pending_beads: tuple[str, ...] = field(default=(), metadata=doc("Beads that are not.", older=True))
    started_at: datetime | None = field(default=None, metadata=doc("When work began.", older=True))
    completed_at: datetime | None = field(
        default=None, metadata=doc("When the last bead was completed.", older=True)
    )
    beads_convoy_id: str = field(default="", metadata=doc("The town's name of the convoy.", older=True))
    conditions: tuple[Condition, ...] = field(default=(), metadata=CONDITIONS)


@frozen(kw_only=True)
class Convoy:
    """A Convoy tracks a batch of beads until all of them are completed."""

    metadata: ObjectMeta
    spec: ConvoySpec = field(default=ConvoySpec())
    status: ConvoyStatus = field(default=ConvoyStatus())


CONVOY: Final = Resource(
    GROUP, VERSION, "Convoy", "convoys", namespaced=True, project=projection(Convoy, "Convoy")
)
