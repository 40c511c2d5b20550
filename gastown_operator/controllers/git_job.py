"""Git jobs: Jobs of a rig that hold its git credential, speak to its git server, and run none of the repository's code."""

from collections.abc import Mapping
from typing import Any, Final

from gastown_operator.api import labels, names
from gastown_operator.api.batch import JOB
from gastown_operator.api.podspec import HostKeyChecking
from gastown_operator.api.rig import RIG, Rig
from gastown_operator.controllers.egress import egress_environment
from gastown_operator.controllers.git_container import git_container
from gastown_operator.controllers.parts import git_volumes, passed_on, pod_security_context
from gastown_operator.controllers.settings import OperatorSettings
from gastown_operator.runtime.helpers import controller_reference

JSON = dict[str, Any]

COMPONENT: Final = "git-job"
#: Seconds; a pod that could not start by then has a cause that somebody must see.
DEADLINE: Final = 900
#: Times that a Job tries again by itself, for a server that was out of reach for a moment.
RETRIES: Final = 2


def host_key_checking(rig: Rig) -> HostKeyChecking:
    """How a git job looks at the server's host key: as the rig's polecats do."""
    return rig.spec.defaults.kubernetes.ssh_strict_host_key_checking or HostKeyChecking.YES


def git_job(
    name: str, program: str, environment: Mapping[str, str], rig: Rig, settings: OperatorSettings
) -> JSON:
    """A Job in the rig's work namespace, owned by the rig.

    Args:
        name: of the Job.
        program: of the workload image, and name of the container.
        environment: what the program is told.
        rig: whose credential, host keys and pod settings it gets.
        settings: image, ids, proxies and authorities.
    """
    ours = {
        labels.NAME: labels.OPERATOR,
        labels.COMPONENT: COMPONENT,
        labels.MANAGED_BY: labels.OPERATOR,
        labels.RIG: names.label_value(rig.metadata.name),
    }
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "metadata": {
            "name": name,
            "namespace": rig.spec.work_namespace,
            "labels": ours,
            "annotations": {labels.RIG: rig.metadata.name},
            "ownerReferences": [controller_reference(RIG, rig.metadata, block_deletion=False)],
        },
        "spec": {
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": DEADLINE,
            "template": {
                # Without the annotation that says whose slot a pod takes: it takes none.
                "metadata": {"labels": ours},
                "spec": _pod(program, environment, rig, settings),
            },
        },
    }


def _pod(program: str, environment: Mapping[str, str], rig: Rig, settings: OperatorSettings) -> JSON:
    pods = rig.spec.defaults.kubernetes
    known_hosts = pods.ssh_known_hosts_config_map_ref
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security_context(settings),
        "containers": [git_container(program, environment, settings)],
        "volumes": [
            *git_volumes(
                rig.spec.defaults.git_secret_ref.name, known_hosts.name if known_hosts is not None else ""
            ),
            *egress_environment(settings).volumes,
        ],
        **passed_on(pods),
    }
