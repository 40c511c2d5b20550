"""What clone and keeper are told of an attempt."""

from collections.abc import Sequence

from gastown_operator.api.polecat import Polecat
from gastown_operator.controllers.polecat.dependencies import Base
from gastown_operator.controllers.polecat.prompt import prompt, title
from gastown_operator.controllers.polecat.recovery import recovery_key
from gastown_operator.controllers.polecat.resolve import Resolved
from gastown_operator.controllers.settings import OperatorSettings
from gastown_operator.workload.refs import RecoveryRefs
from gastown_operator.workload.settings import Settings


def workload_settings(
    polecat: Polecat, resolved: Resolved, settings: OperatorSettings, bases: Sequence[Base] = ()
) -> Settings:
    """What clone and keeper are told of the current attempt."""
    status = polecat.status
    return Settings(
        repository=resolved.repository,
        base_branch=resolved.base_branch,
        work_branch=resolved.work_branch,
        refs=RecoveryRefs(resolved.ref_prefix, recovery_key(polecat), status.round or 1),
        attempt=status.attempt or 1,
        polecat=str(polecat.metadata.key),
        bead=polecat.spec.bead_id,
        title=title(polecat),
        prompt=prompt(polecat, resolved, bases),
        committer_name=resolved.committer_name,
        committer_email=resolved.committer_email,
        git_secret=resolved.git_secret,
        host_key_checking=resolved.host_key_checking,
        checkpoint_interval=resolved.checkpoint_interval,
        deadline=float(resolved.deadline),
        ended_by_pipe=not settings.native_sidecars,
        agent=resolved.agent.value,
        agent_files=dict(resolved.launch.files),
        gateway=resolved.gateway is not None,
        idle_limit=resolved.idle_limit,
        stall_threshold=resolved.stall_threshold,
        bases=tuple((base.branch, base.commit) for base in bases),
        agent_config=resolved.agent_config_map,
        mirror=bool(resolved.mirror_claim),
        full_clone_limit=settings.full_clone_limit,
        rig=resolved.rig_uid,
    )
