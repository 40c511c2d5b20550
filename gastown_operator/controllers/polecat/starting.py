"""What keeps a pod from starting, by the scheduler's and the kubelet's reasons, and what to do about it."""

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from gastown_operator.api.core import Pod

#: The kubelet found no image that it could start; pkg/kubelet/images/types.go.
_OF_IMAGES: Final = (
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "SignatureValidationFailed",
)
#: Waiting reasons of the kubelet that it repeats until somebody changes something.
#: pkg/kubelet/images/types.go, pkg/kubelet/container/sync_result.go, pkg/kubelet/kuberuntime/kuberuntime_container.go
CANNOT_START: Final = frozenset(
    {
        *_OF_IMAGES,
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PreCreateHookError",
        "PreStartHookError",
        "PostStartHookError",
    }
)
_CHECK_IMAGE: Final = (
    "check the image (agentConfig.image or kubernetes.image, else the operator's --agent-image and --workload-image) and "
    "kubernetes.imagePullSecrets"
)
_STEPS: Final[Mapping[str, str]] = {
    "Unschedulable": "add or free nodes, or lower what it asks for (kubernetes.resources, nodeSelector, affinity)",
    "SchedulingGated": "whoever set its scheduling gates removes them, such as Kueue for kubernetes.queueName",
    **dict.fromkeys(_OF_IMAGES, _CHECK_IMAGE),
    "CreateContainerConfigError": "create the Secret, the ConfigMap or the key that is named, or correct agentConfig.env",
}


@frozen
class Obstacle:
    """Why a pod has not started: a reason for programs, a message with the next step for people."""

    reason: str
    message: str


def wait(pod: Pod) -> Obstacle:
    """What a pending pod waits for, which ends without anybody's failure: its node, or its containers."""
    name, scheduled = pod.metadata.name, pod.condition("PodScheduled")
    if scheduled is not None and scheduled.status == "False" and scheduled.reason:
        said = scheduled.message.rstrip(". ")
        text = f"pod {name} waits for a node: {said}; {_next_step(pod, scheduled.reason)}"
        return Obstacle(scheduled.reason, text)
    return Obstacle("PodStarting", f"pod {name} is starting; if it does not, {_next_step(pod, '')}")


def cannot_start(pod: Pod) -> Obstacle | None:
    """What keeps a container of a pending pod from starting until somebody changes something; None where nothing is known to."""
    for status in (*pod.init_container_statuses, *pod.container_statuses):
        waiting = status.waiting
        if waiting is not None and waiting.reason in CANNOT_START:
            said = waiting.message or waiting.reason
            text = f'container "{status.name}" cannot start: {said}; {_next_step(pod, waiting.reason)}'
            return Obstacle(waiting.reason, text)
    return None


def _next_step(pod: Pod, reason: str) -> str:
    look = f"see kubectl -n {pod.metadata.namespace} describe pod {pod.metadata.name}"
    return f"{_STEPS[reason]}; {look}" if reason in _STEPS else look
