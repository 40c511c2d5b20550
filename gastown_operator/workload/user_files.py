"""The user's ConfigMap for the agent's program: whether it is there is told before anything else is done."""

from pathlib import Path

from gastown_operator.workload.errors import AttemptError
from gastown_operator.workload.message import Outcome


def check(name: str, namespace: str, mounted: Path) -> None:
    """Find files where a ConfigMap is mounted that may be missing.

    Args:
        name: of the ConfigMap; empty where none is wanted.
        namespace: where it should be.
        mounted: the volume, which is empty where there is no such ConfigMap.

    Raises:
        AttemptError: there is none, or it is empty.
    """
    if not name or (mounted.is_dir() and any(mounted.iterdir())):
        return
    raise AttemptError(
        Outcome.CONFIG_ERROR,
        "ConfigMapMissing",
        f'ConfigMap "{name}" (agentConfig.configMapRef) does not exist in namespace {namespace}, or is empty; create it: '
        f"kubectl -n {namespace} create configmap {name} --from-file=FILE",
    )
