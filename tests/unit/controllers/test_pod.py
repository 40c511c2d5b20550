"""The pod that is built: restricted, owned, and with credentials where they belong."""

from typing import Any

import attrs
import pytest

from gastown_operator.api import labels
from gastown_operator.controllers.polecat.pod import build_pod
from gastown_operator.controllers.polecat.resolve import resolve
from gastown_operator.controllers.settings import OperatorSettings
from gastown_operator.workload.history import CLONE_TIMEOUT
from gastown_operator.workload.settings import from_environment
from tests.unit.controllers.objects import SETTINGS, polecat, rig

JSON = dict[str, Any]


def built(settings: OperatorSettings = SETTINGS, of_rig: JSON | None = None, **spec: Any) -> JSON:
    """The pod of a polecat with this spec."""
    subject = polecat(**spec)
    return build_pod(subject, resolve(subject, rig(**(of_rig or {})), settings), settings)


def containers(pod: JSON) -> dict[str, JSON]:
    """Every container by name."""
    return {it["name"]: it for it in [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]}


@pytest.mark.parametrize(
    "settings", [SETTINGS, attrs.evolve(SETTINGS, native_sidecars=False)], ids=["native", "container"]
)
def test_every_container_is_restricted(settings: OperatorSettings) -> None:
    pod = built(settings)

    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    for container in containers(pod).values():
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_no_id_is_fixed_where_the_platform_gives_them() -> None:
    context = built(attrs.evolve(SETTINGS, run_as_user=None))["spec"]["securityContext"]

    assert not {"runAsUser", "runAsGroup", "fsGroup"} & context.keys()


def test_the_git_credential_is_mounted_into_clone_and_keeper_alone() -> None:
    mounted = {
        name: {mount["name"] for mount in container["volumeMounts"]}
        for name, container in containers(built()).items()
    }

    assert "git-credentials" in mounted["clone"] & mounted["keeper"]
    assert mounted["agent"] == {"workspace", "control", "hints", "home"}


def test_what_steers_the_agent_cannot_be_written_by_it() -> None:
    mounts = {mount["name"]: mount for mount in containers(built())["agent"]["volumeMounts"]}

    assert mounts["control"]["readOnly"] is True


def test_keeper_is_a_native_sidecar_or_an_ordinary_container_that_watches_a_pipe() -> None:
    native = built()
    assert [it["name"] for it in native["spec"]["initContainers"]] == ["clone", "keeper"]
    assert containers(native)["keeper"]["restartPolicy"] == "Always"

    ordinary = built(attrs.evolve(SETTINGS, native_sidecars=False))
    assert [it["name"] for it in ordinary["spec"]["containers"]] == ["agent", "keeper"]
    environment = {entry["name"]: entry["value"] for entry in containers(ordinary)["keeper"]["env"]}
    assert environment["GASTOWN_ENDED_BY_PIPE"] == "true"


def test_clone_and_keeper_are_told_the_same_and_only_clone_gets_the_prompt() -> None:
    told = {
        name: from_environment({entry["name"]: entry["value"] for entry in containers(built())[name]["env"]})
        for name in ("clone", "keeper")
    }

    assert "Fix it" in told["clone"].prompt
    assert told["keeper"] == attrs.evolve(told["clone"], prompt="")
    assert told["keeper"].refs.checkpoint == "refs/gastown/wip/gastown-workers/toast-uid/1"


def test_text_of_users_is_never_expanded_by_the_kubelet() -> None:
    pod = built(taskDescription="print $(GASTOWN_GIT_SECRET)", agentConfig={"command": ["echo", "$(HOME)"]})

    environment = {entry["name"]: entry["value"] for entry in containers(pod)["clone"]["env"]}
    assert "$$(GASTOWN_GIT_SECRET)" in environment["GASTOWN_PROMPT"]
    assert containers(pod)["agent"]["args"] == ["echo", "$$(HOME)"]


def test_labels_are_safe_and_annotations_exact() -> None:
    metadata = built(beadID="gt 1; rm -rf /")["metadata"]

    assert metadata["annotations"][labels.BEAD] == "gt 1; rm -rf /"
    assert metadata["labels"][labels.BEAD].startswith("gt-1-rm-")
    assert metadata["labels"][labels.MANAGED_BY] == labels.OPERATOR


def test_users_cannot_set_our_labels() -> None:
    of_rig = {"policy": {"allow": ["PodLabels"]}}

    made = built(of_rig=of_rig, kubernetes={"podLabels": {labels.RIG: "another", "team": "a"}})["metadata"][
        "labels"
    ]

    assert (made[labels.RIG], made["team"]) == ("project", "a")


def test_the_backstop_comes_after_the_deadline_that_keeper_enforces() -> None:
    pod = built(kubernetes={"activeDeadlineSeconds": 600})

    environment = {entry["name"]: entry["value"] for entry in containers(pod)["keeper"]["env"]}
    backstop = 600 + CLONE_TIMEOUT + 150  # the kubelet counts from before the clone, the keeper from after it
    assert (environment["GASTOWN_DEADLINE"], pod["spec"]["activeDeadlineSeconds"]) == ("600", backstop)


def test_what_the_rig_permits_reaches_the_pod() -> None:
    kubernetes = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "agents", "operator": "Exists", "effect": "NoSchedule"}],
        "runtimeClassName": "gvisor",
        "queueName": "team-a",
        "workspace": {"size": "5Gi"},
    }
    of_rig = {"policy": {"allow": ["Tolerations", "RuntimeClassName"]}}

    pod = built(of_rig=of_rig, kubernetes=kubernetes)

    assert pod["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert pod["spec"]["tolerations"] == [{"key": "agents", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["spec"]["runtimeClassName"] == "gvisor"
    assert pod["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert pod["spec"]["volumes"][0] == {"name": "workspace", "emptyDir": {"sizeLimit": "5Gi"}}


def test_a_workspace_with_a_storage_class_is_a_volume_of_the_pods_own() -> None:
    pod = built(kubernetes={"workspace": {"storageClassName": "fast", "size": "20Gi"}})

    claim = pod["spec"]["volumes"][0]["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert (claim["storageClassName"], claim["resources"]["requests"]["storage"]) == ("fast", "20Gi")
