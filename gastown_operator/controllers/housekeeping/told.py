"""What a run of housekeeping is told: whose refs stay, and for how long the others do."""

from datetime import datetime

from gastown_operator.api.common import ConditionStatus
from gastown_operator.api.conditions import get_condition
from gastown_operator.api.polecat import Polecat
from gastown_operator.controllers.git_job import host_key_checking
from gastown_operator.controllers.housekeeping.observe import Observed
from gastown_operator.controllers.polecat.recovery import recovery_key
from gastown_operator.controllers.polecat.status import MERGED
from gastown_operator.workload.housekeeping_settings import HousekeepingSettings
from gastown_operator.workload.living import keys
from gastown_operator.workload.rig_refs import RigRefs


def housekeeping_settings(
    observed: Observed, namespaces: tuple[str, ...], now: datetime
) -> HousekeepingSettings:
    """The settings of a run that starts now; `namespaces` are those whose polecats the operator sees, none for all."""
    rig, keep = observed.rig, observed.rig.spec.housekeeping.keep
    landed = {
        polecat.metadata.uid
        for polecat in observed.polecats
        if polecat.metadata.uid not in observed.at_work and _merged_before(polecat, now - keep)
    }
    polecats = observed.polecats
    # Two polecats can have one key for a moment: then it is alive if one of them is.
    living = {recovery_key(it) for it in polecats if it.metadata.uid not in landed}
    return HousekeepingSettings(
        repository=rig.spec.git_url,
        refs=RigRefs(rig.spec.ref_prefix, rig.metadata.uid),
        keep=int(keep.total_seconds()),
        living=keys(living),
        landed=keys({recovery_key(it) for it in polecats if it.metadata.uid in landed} - living),
        namespaces=namespaces,
        told_at=int(now.timestamp()),
        namespace=rig.spec.work_namespace,
        git_secret=rig.spec.defaults.git_secret_ref.name,
        host_key_checking=host_key_checking(rig).value,
    )


def _merged_before(polecat: Polecat, moment: datetime) -> bool:
    merged = get_condition(polecat.status.conditions, MERGED)
    return (
        merged is not None and merged.status is ConditionStatus.TRUE and merged.last_transition_time <= moment
    )
