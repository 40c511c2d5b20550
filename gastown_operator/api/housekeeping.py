"""What a Rig says of the refs that polecats leave on the git server, and what is known of their removal."""

from datetime import datetime, timedelta
from typing import Final

from attrs import field, frozen

from gastown_operator.api.fields import Rule, doc
from gastown_operator.api.scalars import Count, Duration, ShortText

_LONG_ENOUGH: Final = Rule("duration(self) >= duration('10s')", "must be at least 10s")


@frozen(kw_only=True)
class Housekeeping:
    """When recovery refs of Polecats that are merged or gone are removed from the git server."""

    interval: Duration = field(
        default=timedelta(hours=24),
        metadata=doc(
            "Time between two looks at the git server, such as `24h`; there are none while there is nothing to remove.",
            server_default=True,
            rules=(_LONG_ENOUGH,),
        ),
    )
    keep: Duration = field(
        default=timedelta(hours=336),
        metadata=doc(
            "How long refs stay after their Polecat was merged or is gone, such as `336h` (14 days).",
            server_default=True,
            rules=(_LONG_ENOUGH,),
        ),
    )
    suspend: bool = field(
        default=False, metadata=doc("Whether nothing is looked at and nothing removed for now.")
    )


@frozen(kw_only=True)
class HousekeepingStatus:
    """What came of the last look at the git server."""

    pending_since: datetime | None = field(
        default=None,
        metadata=doc(
            "From when `interval` counts; absent while no Polecat has begun to work since nothing was left on the server."
        ),
    )
    last_time: datetime | None = field(default=None, metadata=doc("When the last look ended."))
    deleted_refs: Count | None = field(default=None, metadata=doc("How many refs it removed."))
    remaining_refs: Count | None = field(
        default=None, metadata=doc("How many refs of the Rig's Polecats were there after it.")
    )
    message: ShortText = field(default="", metadata=doc("What came of it, in one sentence."))
