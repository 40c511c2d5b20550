"""The polecat pod (DESIGN §6): clone, keeper, gateway and agent under PodSecurity `restricted`."""

from typing import Any, Final

from attrs import field, frozen

from gastown_operator.api import labels, names
from gastown_operator.api.common import Budget
from gastown_operator.api.polecat import POLECAT, Polecat
from gastown_operator.controllers.egress import egress_environment
from gastown_operator.controllers.parts import passed_on, pod_security_context
from gastown_operator.controllers.polecat import containers
from gastown_operator.controllers.polecat.budget import reservation_notes
from gastown_operator.controllers.polecat.decision import retry_value
from gastown_operator.controllers.polecat.dependencies import Base
from gastown_operator.controllers.polecat.resolve import Resolved
from gastown_operator.controllers.polecat.told import workload_settings
from gastown_operator.controllers.polecat.volumes import volumes
from gastown_operator.controllers.settings import OperatorSettings
from gastown_operator.runtime.helpers import controller_reference
from gastown_operator.workload.history import CLONE_TIMEOUT
from gastown_operator.workload.settings import Settings

COMPONENT: Final = "polecat"
GRACE_SECONDS: Final = 120
#: The backstop outside the pod. The kubelet counts from the pod's start, the keeper from the agent's: what is pulled and cloned
#: before that must not be taken from the agent's time. Then the keeper asks the agent to stop, and pushes within the grace.
DEADLINE_MARGIN: Final = 150 + int(CLONE_TIMEOUT)
_KUEUE_QUEUE_LABEL: Final = (
    "kueue.x-k8s.io/queue-name"  # https://kueue.sigs.k8s.io/docs/tasks/run/plain_pods/
)

JSON = dict[str, Any]


@frozen
class Start:
    """What is decided when an attempt starts, beyond what the specifications say.

    Attributes:
        budget: what the attempt may cost.
        bases: work of its dependencies that it starts from.
    """

    budget: Budget = field(default=Budget())
    bases: tuple[Base, ...] = ()


def pod_name(polecat: Polecat) -> str:
    """The name of the pod of the current attempt."""
    return names.pod_name(polecat.metadata.name, polecat.status.attempt or 1, polecat.metadata.uid)


def build_pod(
    polecat: Polecat, resolved: Resolved, settings: OperatorSettings, start: Start | None = None
) -> JSON:
    """The Pod of the polecat's current attempt, owned by it."""
    start = start or Start()
    told = workload_settings(polecat, resolved, settings, start.bases)
    sidecars = [containers.keeper(told, settings)]
    if resolved.gateway is not None:
        sidecars.append(containers.gateway(polecat, resolved.gateway, start.budget, settings))
    init = [containers.clone(told, resolved, settings)]
    main = [containers.agent(resolved)]
    if settings.native_sidecars:
        # They end in the reverse order: the gateway at once, so that the keeper reads its last record.
        init += [{**sidecar, "restartPolicy": "Always"} for sidecar in sidecars]
    else:
        main += sidecars
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(polecat, resolved, start, told),
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "activeDeadlineSeconds": resolved.deadline + DEADLINE_MARGIN,
            "securityContext": pod_security_context(settings),
            "initContainers": init,
            "containers": main,
            "volumes": [*volumes(resolved), *egress_environment(settings).volumes],
            **passed_on(resolved.pod),
        },
    }


def _metadata(polecat: Polecat, resolved: Resolved, start: Start, told: Settings) -> JSON:
    exact = {
        labels.RIG: polecat.spec.rig,
        labels.POLECAT: polecat.metadata.name,
        labels.BEAD: polecat.spec.bead_id,
        labels.CONVOY: polecat.spec.convoy or "",
    }
    ours = {name: value for name, value in exact.items() if value}
    queue = {_KUEUE_QUEUE_LABEL: resolved.pod.queue_name} if resolved.pod.queue_name else {}
    return {
        "name": pod_name(polecat),
        "namespace": polecat.metadata.namespace,
        "labels": {
            **resolved.pod.pod_labels,
            **queue,
            **{name: names.label_value(value) for name, value in ours.items()},
            labels.NAME: labels.OPERATOR,
            labels.COMPONENT: COMPONENT,
            labels.MANAGED_BY: labels.OPERATOR,
        },
        "annotations": {
            **resolved.pod.pod_annotations,
            **ours,
            **_built_with(polecat, resolved),
            labels.CHECKPOINT: told.refs.checkpoint,
            **(reservation_notes(start.budget) if resolved.gateway is not None else {}),
        },
        "ownerReferences": [controller_reference(POLECAT, polecat.metadata, block_deletion=False)],
    }


def _built_with(polecat: Polecat, resolved: Resolved) -> dict[str, str]:
    """What the status is told of the pod later, when the specifications may say something else."""
    model = resolved.model
    notes = {
        labels.AGENT: resolved.agent.value,
        labels.BRANCH: resolved.work_branch,
        labels.STALL_THRESHOLD: f"{resolved.stall_threshold:g}",
        labels.MODEL: resolved.launch.model,
        labels.RETRY: retry_value(polecat),
        labels.CREDENTIAL: "" if model is None else "rig" if model.of_rig else "polecat",
    }
    return {name: value for name, value in notes.items() if value}
