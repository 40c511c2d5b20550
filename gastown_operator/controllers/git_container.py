"""A container of the workload image that speaks to the rig's git server: of a polecat's pod, or of a git job's."""

from collections.abc import Mapping
from typing import Any, Final

from gastown_operator.controllers.egress import egress_environment
from gastown_operator.controllers.parts import SECURITY_CONTEXT, entries, mount
from gastown_operator.controllers.settings import OperatorSettings
from gastown_operator.workload import layout

JSON = dict[str, Any]

_RESOURCES: Final = {
    "requests": {"cpu": "20m", "memory": "64Mi"},
    "limits": {"memory": "1Gi"},
}


def git_container(
    program: str, environment: Mapping[str, str], settings: OperatorSettings, *mounts: JSON
) -> JSON:
    """The container.

    Args:
        program: of the workload image, and name of the container.
        environment: what the program is told.
        settings: of the operator.
        mounts: besides what git needs: the credential, host keys, and a part of its own of what is private.
    """
    egress = egress_environment(settings)
    return {
        "name": program,
        "image": settings.workload_image,
        "args": [program],
        "env": [*entries(environment), *egress.env],
        "resources": _RESOURCES,
        "securityContext": {**SECURITY_CONTEXT, "readOnlyRootFilesystem": True},
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            *mounts,
            {**mount("git-credentials", layout.GIT_CREDENTIALS), "readOnly": True},
            {**mount("known-hosts", layout.KNOWN_HOSTS), "readOnly": True},
            {**mount("private", layout.PRIVATE), "subPath": program},
            *egress.mounts,
        ],
    }
