"""What the operator's command line decides for all controllers."""

from typing import Final

from attrs import frozen

#: A user that no image of a distribution uses; the workload image has a passwd entry for it, which ssh needs.
WORKLOAD_USER: Final = 10001


@frozen(kw_only=True)
class OperatorSettings:
    """Settings of one operator process.

    Attributes:
        workload_image: image with clone and keeper.
        agent_image: image with the agents that the operator ships.
        native_sidecars: whether sidecars are init containers with `restartPolicy: Always` (Kubernetes 1.29 and later),
            or ordinary containers.
        run_as_user: user and group id of every container; None leaves them to the platform (OpenShift).
        start_timeout: seconds after which a pod whose containers cannot start is deleted, which frees its slot.
    """

    workload_image: str
    agent_image: str
    native_sidecars: bool = True
    run_as_user: int | None = WORKLOAD_USER
    start_timeout: float = 300.0
