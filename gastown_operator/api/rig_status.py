"""What is known of a Rig: its phase and children, its day of spending, its housekeeping."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from attrs import field, frozen

from gastown_operator.api.common import CONDITIONS, Condition
from gastown_operator.api.fields import Constraint, doc
from gastown_operator.api.housekeeping import HousekeepingStatus
from gastown_operator.api.scalars import Count, Money, ShortText

MAX_COUNTED: Final = 64
"""How many Polecats that are being deleted are counted at a time; the others wait until these are gone."""


class RigPhase(StrEnum):
    """State of a Rig."""

    INITIALIZING = "Initializing"
    READY = "Ready"
    DEGRADED = "Degraded"


@frozen(kw_only=True)
class DaySpending:
    """What Polecats that are gone had cost on one day; what those that exist have cost is in their own status."""

    day: Annotated[str, Constraint(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")] = field(
        metadata=doc("The day (UTC).")
    )
    tokens: Count = field(default=0, metadata=doc("Input and output tokens together."))
    cost_usd: Money | None = field(
        default=None,
        metadata=doc("US dollars, as a decimal string. Absent where the price of no model in use was known."),
    )
    cost_is_lower_bound: bool | None = field(
        default=None,
        metadata=doc(
            "True where a part of the tokens had no known price, so that costUSD is the least that it cost."
        ),
    )
    counted: tuple[ShortText, ...] = field(
        default=(),
        metadata=doc(
            "UIDs of Polecats that are being deleted and are counted.", list_type="set", max_items=MAX_COUNTED
        ),
    )


@frozen(kw_only=True)
class DayBudget:
    """Where the Rig's budget of a day stands; the numbers are those of `day`, also when a later one has begun."""

    day: Annotated[str, Constraint(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")] = field(
        metadata=doc("The day (UTC).")
    )
    spent_tokens: Count = field(
        default=0, metadata=doc("Input and output tokens of the attempts that ended on that day.")
    )
    spent_cost_usd: Money | None = field(
        default=None,
        metadata=doc(
            "What those attempts cost, in US dollars as a decimal string. Absent where the price of no model in use was known."
        ),
    )
    cost_is_lower_bound: bool | None = field(
        default=None,
        metadata=doc(
            "True where a part of the tokens had no known price, so that spentCostUSD is the least that they cost."
        ),
    )
    reserved_tokens: Count | None = field(
        default=None,
        metadata=doc(
            "Tokens that the attempts which run may use; what they leave is free again. Absent where spec.budget limits none."
        ),
    )
    reserved_cost_usd: Money | None = field(
        default=None,
        metadata=doc(
            "US dollars that the attempts which run may use, as a decimal string. Absent where spec.budget limits none."
        ),
    )
    left_tokens: Count | None = field(
        default=None,
        metadata=doc("Tokens that are neither spent nor reserved. Absent where spec.budget limits none."),
    )
    left_cost_usd: Money | None = field(
        default=None,
        metadata=doc(
            "US dollars that are neither spent nor reserved, as a decimal string. Absent where spec.budget limits none."
        ),
    )
    resets_at: datetime = field(metadata=doc("When the day ends, and all of spec.budget is there again."))


@frozen(kw_only=True)
class RigStatus:
    """What is known of a Rig."""

    phase: RigPhase = field(
        default=RigPhase.INITIALIZING, metadata=doc("State of the Rig.", older=True, server_default=True)
    )
    polecat_count: int | None = field(default=None, metadata=doc("Number of its Polecats.", older=True))
    active_convoys: int | None = field(
        default=None, metadata=doc("Number of its unfinished Convoys.", older=True)
    )
    child_namespace: str = field(
        default="", metadata=doc("Namespace where its Witness and Refinery are.", older=True)
    )
    witness_created: bool = field(default=False, metadata=doc("Whether its Witness exists.", older=True))
    refinery_created: bool = field(default=False, metadata=doc("Whether its Refinery exists.", older=True))
    last_sync_time: datetime | None = field(
        default=None, metadata=doc("When the town was last heard of.", older=True)
    )
    spent: DaySpending | None = field(
        default=None, metadata=doc("What Polecats that were deleted had cost, where there is a budget.")
    )
    day_budget: DayBudget | None = field(
        default=None,
        metadata=doc(
            "What of spec.budget is spent, reserved and left on the current day; absent without a budget."
        ),
    )
    housekeeping: HousekeepingStatus | None = field(
        default=None, metadata=doc("What came of the last removal of refs from the git server.")
    )
    conditions: tuple[Condition, ...] = field(default=(), metadata=CONDITIONS)
