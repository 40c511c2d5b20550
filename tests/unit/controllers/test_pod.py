"""The pod that is built: restricted, owned, and with credentials where they belong."""

from decimal import Decimal
from typing import Any

import attrs
import pytest

from gastown_operator.api import labels
from gastown_operator.api.common import Budget
from gastown_operator.controllers.polecat.dependencies import Base
from gastown_operator.controllers.polecat.pod import Start, build_pod
from gastown_operator.controllers.polecat.resolve import resolve
from gastown_operator.controllers.polecat.told import workload_settings
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


def with_model(start: Start | None = None, **spec: Any) -> JSON:
    """The pod of a polecat with Claude Code."""
    subject = polecat(agent="claude-code", agentConfig={"command": [], "model": "claude-sonnet-4-5"}, **spec)
    return build_pod(subject, resolve(subject, rig(), SETTINGS), SETTINGS, start)


def volumes_of(container: JSON) -> set[str]:
    """Names of the volumes that a container mounts."""
    return {mounted["name"] for mounted in container["volumeMounts"]}


def test_the_gateway_alone_holds_the_models_credential_and_ends_before_the_keeper() -> None:
    pod = with_model()

    holders = [name for name, it in containers(pod).items() if "model-credentials" in volumes_of(it)]
    assert holders == ["gateway"]
    assert [it["name"] for it in pod["spec"]["initContainers"]] == ["clone", "keeper", "gateway"]
    assert "git-credentials" not in volumes_of(containers(pod)["gateway"])


def test_the_agent_waits_for_its_gateway() -> None:
    gateway = containers(with_model())["gateway"]

    assert gateway["restartPolicy"] == "Always"
    assert gateway["startupProbe"]["httpGet"]["path"] == "/healthz"


def test_what_an_attempt_may_cost_is_told_to_the_gateway_and_noted_on_the_pod() -> None:
    pod = with_model(Start(Budget(max_tokens=5000, max_cost_usd=Decimal("1.50"))))

    told = {entry["name"]: entry.get("value") for entry in containers(pod)["gateway"]["env"]}
    assert (told["GASTOWN_GATEWAY_MAX_TOKENS"], told["GASTOWN_GATEWAY_MAX_COST"]) == ("5000", "1.50")
    noted = pod["metadata"]["annotations"]
    assert (noted[labels.RESERVED_TOKENS], noted[labels.RESERVED_COST]) == ("5000", "1.50")


def test_nothing_of_a_secret_is_in_the_agents_container() -> None:
    agent = containers(with_model())["agent"]

    assert [entry for entry in agent["env"] if "valueFrom" in entry] == []
    assert volumes_of(agent) == {"workspace", "control", "hints", "home"}


def test_a_setup_command_and_volumes_of_the_rig_reach_those_who_use_them() -> None:
    pod = built(
        of_rig={"mirror": {"claimName": "mirror"}, "cache": {"claimName": "cache"}}, setupCommand="make deps"
    )

    found = containers(pod)
    holders = {name: volumes_of(it) & {"mirror", "cache"} for name, it in found.items()}
    assert holders == {"clone": {"mirror"}, "keeper": set(), "agent": {"cache"}}
    told = {entry["name"]: entry.get("value") for entry in found["agent"]["env"]}
    assert told["GASTOWN_SETUP_COMMAND"] == "make deps"


def test_the_agent_is_told_what_it_builds_on_and_how_earlier_attempts_ended() -> None:
    attempt = {"podUID": "p", "number": 1, "class": "AgentError", "reason": "RateLimited"}
    subject = polecat(dependsOn=["first"], status={"attempts": [attempt], "attempt": 2})

    told = workload_settings(
        subject, resolve(subject, rig(), SETTINGS), SETTINGS, (Base("polecat/first", "c" * 40),)
    )

    assert "the work of first, which is not merged" in told.prompt
    assert "- branch `polecat/first`, at cccccccccccc" in told.prompt
    assert "- attempt 1: AgentError, RateLimited" in told.prompt
    assert told.bases == (("polecat/first", "c" * 40),)


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
