"""The objects of the demo are ones that the operator takes, and its agent is given what it needs."""

import pytest

from gastown_operator.api.common import SecretKeySelector
from gastown_operator.api.polecat import POLECAT, Polecat
from gastown_operator.api.rig import RIG, Rig
from gastown_operator.controllers.polecat.resolve import Resolved, resolve
from gastown_operator.controllers.settings import OperatorSettings
from hack.demo_run import objects
from hack.demo_run.inside import CUSTOM_COMMAND, TASK

NAMESPACE = "gastown-workers"
URL = "ssh://git@10.250.0.1:2222/durations.git"
MODEL = "http://10.250.0.1:8000"
SETTINGS = OperatorSettings(workload_image="workload", agent_image="agents")


def resolved(rig: objects.Object, polecat: objects.Object) -> Resolved:
    """Let the operator read both as the API server stores them, and say what it would run."""
    parsed_rig = RIG.project(_stored(rig))
    parsed = POLECAT.project(_stored(polecat))
    assert isinstance(parsed_rig, Rig)
    assert isinstance(parsed, Polecat)
    return resolve(parsed, parsed_rig, SETTINGS)


def _stored(given: objects.Object) -> objects.Object:
    return {**given, "metadata": {"uid": "u", "resourceVersion": "1", **given["metadata"]}}


def test_the_gateway_is_pointed_at_the_scripted_model_with_the_rigs_credential_which_claude_code_never_sees() -> (
    None
):
    rig = objects.rig("demo", URL, endpoint=MODEL)
    run = resolved(rig, objects.polecat("toast", NAMESPACE, "demo", TASK, bead="demo-1"))
    assert run.gateway is not None
    assert run.gateway.endpoint == MODEL
    assert run.gateway.credential == SecretKeySelector(objects.PROVIDER_SECRET, objects.PROVIDER_KEY)
    assert [entry for entry in run.launch.environment if "valueFrom" in entry] == []
    assert run.launch.model == objects.MODEL
    assert run.launch.image == "agents"


def test_a_custom_agent_is_the_command_and_holds_no_credential() -> None:
    polecat = objects.polecat("toast", NAMESPACE, "demo", TASK, agent="custom", command=CUSTOM_COMMAND)
    run = resolved(objects.rig("demo", URL), polecat)
    assert tuple(run.launch.command) == CUSTOM_COMMAND
    assert run.launch.environment == []


def test_the_repository_is_reached_with_the_rigs_key_and_a_known_host_only() -> None:
    run = resolved(objects.rig("demo", URL), objects.polecat("toast", NAMESPACE, "demo", TASK))
    assert (run.repository, run.git_secret) == (URL, objects.GIT_SECRET)
    assert (run.host_key_checking, run.known_hosts_config_map) == ("yes", objects.KNOWN_HOSTS)


def test_the_servers_are_reached_although_they_are_inside_of_the_cluster() -> None:
    allowed = objects.rig("demo", URL, endpoint=MODEL)["spec"]["network"]["allow"]
    assert allowed == [{"cidr": "10.250.0.1/32", "ports": [port]} for port in (2222, 8000)]


@pytest.mark.parametrize(
    ("given", "field", "texts"),
    [
        (objects.git_secret(NAMESPACE, "PEM"), "stringData", {"ssh-privatekey": "PEM"}),
        (objects.provider_secret(NAMESPACE, "key"), "stringData", {"api-key": "key"}),
        (objects.known_hosts(NAMESPACE, "host type key"), "data", {"known_hosts": "host type key"}),
    ],
)
def test_credentials_are_in_the_work_namespace_under_the_keys_that_pods_read(
    given: objects.Object, field: str, texts: dict[str, str]
) -> None:
    assert given["metadata"]["namespace"] == NAMESPACE
    assert given[field] == texts
