"""Witness: the health of a rig's polecats."""

from datetime import datetime
from enum import StrEnum
from typing import Final

from attrs import field, frozen

from gastown_operator.api.codec import projection
from gastown_operator.api.common import CONDITIONS, Condition
from gastown_operator.api.fields import doc
from gastown_operator.api.labels import GROUP, VERSION
from gastown_operator.api.scalars import Int32
from gastown_operator.runtime.objects import ObjectMeta, Resource


class WitnessPhase(StrEnum):
    """State of a Witness."""

    PENDING = "Pending"
    ACTIVE = "Active"
    DEGRADED = "Degraded"


@frozen(kw_only=True)
class WitnessSpec:
    """Which rig a Witness watches, and when it speaks up."""

    rig_ref: str = field(default="", metadata=doc("Name of the Rig to watch.", older=True, required=True))
    health_check_interval: str = field(
        default="30s",
        metadata=doc(
            "Kept for the older operator's objects; health is learnt from events, not by polling.",
            older=True,
            server_default=True,
        ),
    )
    stuck_threshold: str = field(
        default="15m",
        metadata=doc(
            "Time without activity after which a polecat counts as stalled.", older=True, server_default=True
        ),
    )
    escalation_target: str = field(
        default="mayor", metadata=doc("Who in the town is told.", older=True, server_default=True)
    )


@frozen(kw_only=True)
class PolecatsSummary:
    """How many polecats of the rig are in which state."""

    total: Int32 = field(metadata=doc("All of them.", older=True))
    running: Int32 = field(metadata=doc("Those at work.", older=True))
    succeeded: Int32 = field(metadata=doc("Those that are done.", older=True))
    failed: Int32 = field(metadata=doc("Those that failed.", older=True))
    stuck: Int32 = field(metadata=doc("Those that need somebody.", older=True))


@frozen(kw_only=True)
class WitnessStatus:
    """What is known of a Witness."""

    phase: WitnessPhase | None = field(default=None, metadata=doc("State of the Witness.", older=True))
    last_check_time: datetime | None = field(
        default=None, metadata=doc("When something last changed; never written on its own.", older=True)
    )
    polecats_summary: PolecatsSummary | None = field(
        default=None, metadata=doc("States of the rig's polecats.", older=True)
    )
    conditions: tuple[Condition, ...] = field(default=(), metadata=CONDITIONS)


@frozen(kw_only=True)
class Witness:
    """A Witness watches the polecats of a Rig and says when one needs help."""

    metadata: ObjectMeta
    spec: WitnessSpec = field(default=WitnessSpec(), metadata=doc("What is wanted.", required=True))
    status: WitnessStatus = field(default=WitnessStatus())


WITNESS: Final = Resource(
    GROUP, VERSION, "Witness", "witnesses", namespaced=True, project=projection(Witness, "Witness")
)
