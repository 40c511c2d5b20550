"""Somebody who may only create Polecats: what a Rig refuses by default, and what the same Polecat wins where the Rig allows it."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest
from attrs import field, frozen

from gastown_operator.api.core import NAMESPACE
from gastown_operator.api.labels import MANAGED_BY, RECOVERY_KEY
from gastown_operator.api.polecat import POLECAT
from gastown_operator.api.rig import RIG
from tests.apiserver.client import JSON
from tests.escape.attempts import attempts
from tests.support.cluster import kubectl
from tests.support.polecats import PolecatHandle, condition
from tests.support.site import SECRET_NAME, WORK, RigHandle, Site
from tests.support.users import acting_as
from tests.support.waiting import eventually

ELSEWHERE = "ssh://git@git.example.invalid/mine.git"
ENDPOINT = "https://models.example.invalid"
COPY = "copy-of-the-key"


@frozen
class Case:
    """One Polecat, refused by a Rig as it is by default, and taken by one that allows it.

    Attributes:
        spec: of the Polecat.
        reason: why it is refused.
        allowed: what the permissive Rig's spec has.
        shows: what is found in the pod of the permissive Rig.
    """

    spec: JSON
    reason: str
    allowed: JSON
    shows: Callable[[JSON], bool]
    taken: JSON = field(factory=dict)


def _kubernetes(**fields: Any) -> JSON:
    return {"kubernetes": fields}


def _config(**fields: Any) -> JSON:
    return {"agentConfig": {"command": ["sh", "-c", WORK], **fields}}


def _policy(item: str) -> JSON:
    return {"policy": {"allow": [item]}}


def _holds(word: str) -> Callable[[JSON], bool]:
    return lambda pod: word in json.dumps(pod["spec"])


CASES: Mapping[str, Case] = {
    "another-repository": Case(
        _kubernetes(gitRepository=ELSEWHERE),
        "CredentialBoundToRig",
        {"allowedSecrets": [COPY]},
        lambda pod: _holds(ELSEWHERE)(pod) and _holds(COPY)(pod),
        _kubernetes(gitRepository=ELSEWHERE, gitSecretRef={"name": COPY}),
    ),
    "another-endpoint": Case(
        _config(provider="anthropic", modelProvider={"endpoint": ENDPOINT}),
        "EndpointNotAllowed",
        {
            "providers": [
                {
                    "name": "mine",
                    "endpoint": ENDPOINT,
                    "secretRef": {"name": "claude-credentials", "key": "api-key"},
                }
            ]
        },
        lambda pod: _holds(ENDPOINT)(pod) and _holds("claude-credentials")(pod),
    ),
    "another-provider": Case(
        _config(provider="openai"),
        "EndpointNotAllowed",
        {
            "providers": [
                {
                    "name": "openai",
                    "endpoint": ENDPOINT,
                    "secretRef": {"name": "claude-credentials", "key": "api-key"},
                }
            ]
        },
        lambda pod: _holds(ENDPOINT)(pod) and _holds("claude-credentials")(pod),
    ),
    "environment-from-secret": Case(
        _config(
            env=[
                {
                    "name": "KEY",
                    "valueFrom": {"secretKeyRef": {"name": SECRET_NAME, "key": "ssh-privatekey"}},
                }
            ]
        ),
        "SecretNotAllowed",
        {"allowedSecrets": [SECRET_NAME]},
        lambda pod: "secretKeyRef" in json.dumps(pod["spec"]["containers"][0]["env"]),
    ),
    "image-pull-secret": Case(
        _kubernetes(imagePullSecrets=[{"name": SECRET_NAME}]),
        "SecretNotAllowed",
        {"allowedSecrets": [SECRET_NAME]},
        lambda pod: pod["spec"].get("imagePullSecrets") == [{"name": SECRET_NAME}],
    ),
    "injector-annotation": Case(
        _kubernetes(podAnnotations={"vault.hashicorp.com/agent-inject": "true"}),
        "PolicyRefused",
        _policy("PodAnnotations"),
        lambda pod: "vault.hashicorp.com/agent-inject" in pod["metadata"]["annotations"],
    ),
    "pod-label": Case(
        _kubernetes(podLabels={"network": "open"}),
        "PolicyRefused",
        _policy("PodLabels"),
        lambda pod: pod["metadata"]["labels"].get("network") == "open",
    ),
    "service-account": Case(
        _kubernetes(serviceAccountName="default"),
        "PolicyRefused",
        _policy("ServiceAccountName"),
        lambda pod: (
            pod["spec"]["serviceAccountName"] == "default"
            and pod["spec"]["automountServiceAccountToken"] is False
        ),
    ),
    "toleration": Case(
        _kubernetes(tolerations=[{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]),
        "PolicyRefused",
        _policy("Tolerations"),
        _holds("node-role.kubernetes.io/control-plane"),
    ),
    "host-key-checking": Case(
        _kubernetes(sshStrictHostKeyChecking="no"),
        "PolicyRefused",
        _policy("HostKeyChecking"),
        lambda pod: (
            {"name": "GASTOWN_HOST_KEY_CHECKING", "value": "no"} in pod["spec"]["initContainers"][0]["env"]
        ),
    ),
}


@pytest.fixture(scope="module")
def strict(site: Site) -> Mapping[str, PolecatHandle]:
    """Every Polecat of the table, on a rig as it is by default."""
    rig = site.rig("strict")
    return {name: rig.sling(name, **case.spec) for name, case in CASES.items()}


@pytest.fixture(scope="module")
def permissive(site: Site) -> Mapping[str, PolecatHandle]:
    """The same Polecats, each on a rig that allows what it asks for."""
    slung = {}
    for name, case in CASES.items():
        rig = site.rig(name, spec=case.allowed)
        rig.secret(COPY, {"ssh-privatekey": site.key})
        rig.secret("claude-credentials", {"api-key": "sk-ant-escape"})
        slung[name] = rig.sling(name, **{**case.spec, **case.taken})
    return slung


def pod_of(polecat: PolecatHandle) -> JSON:
    polecat.touched.append(polecat)
    return eventually(polecat.pods, f"{polecat.name} has a pod")[0]


@pytest.mark.parametrize("name", CASES)
def test_a_rig_refuses_by_default_what_could_leave_the_sandbox(
    strict: Mapping[str, PolecatHandle], permissive: Mapping[str, PolecatHandle], name: str
) -> None:
    status = strict[name].until("Stuck", CASES[name].reason)
    assert condition(status, "Ready")["message"]
    assert strict[name].pods() == []
    assert CASES[name].shows(pod_of(permissive[name]))


@attempts("own-label")
def test_our_own_labels_are_refused_whatever_the_rig_allows(site: Site) -> None:
    rig = site.rig("labels", spec=_policy("PodLabels"))
    for key in (MANAGED_BY, "gastown.io/rig"):
        body = _body(rig, "own-label", _kubernetes(podLabels={key: "else"}))
        answer = site.cluster.client.create(POLECAT, body)
        assert answer.status == 422, answer.message
        assert "gastown.io" in answer.message
    assert site.cluster.client.create(POLECAT, _body(rig, "x", _kubernetes(podLabels={"a": "b"}))).ok


@pytest.fixture
def foreign(site: Site) -> Iterator[str]:
    """A namespace that no rig knows."""
    name = f"foreign-{uuid4().hex[:6]}"
    site.cluster.create(NAMESPACE, {"metadata": {"name": name}})
    yield name
    site.cluster.delete(NAMESPACE, "", name)


@attempts("foreign-namespace")
def test_a_rig_takes_polecats_from_its_own_namespaces_alone(site: Site, foreign: str) -> None:
    rig = site.rig("home")
    stored = site.cluster.create(POLECAT, _body(rig, "guest", {}, namespace=foreign))
    guest = PolecatHandle(site.cluster, foreign, "guest", stored["metadata"]["uid"], site.touched)
    guest.until("Stuck", "NamespaceNotAllowed")
    assert guest.pods() == []

    path = {"metadata": {"name": rig.name}}
    _patch_rig(site, path, {"allowedNamespaces": [foreign, rig.namespace]})
    pod_of(guest)


@attempts("foreign-recovery-key")
def test_a_recovery_key_reaches_no_other_namespace(site: Site) -> None:
    rig = site.rig("keys")
    victim = str(uuid4())
    keys = {"thief": f"elsewhere/{victim}", "heir": victim}
    for name, key in keys.items():
        body = _body(rig, name, {})
        body["metadata"]["annotations"] = {RECOVERY_KEY: key}
        stored = site.cluster.create(POLECAT, body)
        polecat = PolecatHandle(site.cluster, rig.namespace, name, stored["metadata"]["uid"], site.touched)
        used = {
            entry["name"]: entry.get("value") for entry in pod_of(polecat)["spec"]["initContainers"][0]["env"]
        }
        own = polecat.uid if name == "thief" else victim
        assert used["GASTOWN_RECOVERY_KEY"] == f"{rig.namespace}/{own}"


@attempts("foreign-dependency")
def test_a_dependency_is_looked_for_in_the_same_namespace_alone(site: Site, foreign: str) -> None:
    rig = site.rig("depends", spec={"allowedNamespaces": [foreign]})
    slashed = site.cluster.client.create(
        POLECAT, _body(rig, "slashed", {"dependsOn": [f"{foreign}/base"]}, namespace=foreign)
    )
    assert slashed.status == 422
    # The other namespace has one of that name: it is none of this one's.
    site.cluster.create(
        POLECAT, {**_body(rig, "base", {}), "spec": {"rig": rig.name, "desiredState": "Idle"}}
    )
    stored = site.cluster.create(POLECAT, _body(rig, "waits", {"dependsOn": ["base"]}, namespace=foreign))
    waits = PolecatHandle(site.cluster, foreign, "waits", stored["metadata"]["uid"], site.touched)
    assert "base" in _queued(waits)
    assert "does not exist" in _queued(waits)

    site.cluster.create(
        POLECAT,
        {**_body(rig, "base", {}, namespace=foreign), "spec": {"rig": rig.name, "desiredState": "Idle"}},
    )
    eventually(lambda: "does not exist" not in _queued(waits), "the one of its own namespace is found")


@attempts("forged-owner")
def test_an_owner_is_forged_by_cluster_administrators_alone(site: Site) -> None:
    rig = site.rig("owner")
    owner = {"apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Convoy", "name": "c", "uid": str(uuid4())}
    body = _body(rig, "forged", {})
    body["metadata"]["ownerReferences"] = [owner]
    kubectl("create", "clusterrole", rig.name, "--verb=create", "--resource=polecats.gastown.gastown.io")
    kubectl("create", "clusterrolebinding", rig.name, f"--clusterrole={rig.name}", f"--user={rig.name}")
    try:
        with acting_as(rig.name) as developer:
            forged = developer.create(POLECAT, body, dry_run=True)
            assert (forged.status, "name the rig or the convoy" in forged.message) == (403, True), (
                forged.message
            )
            assert developer.create(POLECAT, _body(rig, "honest", {}), dry_run=True).ok
    finally:
        kubectl("delete", "clusterrolebinding,clusterrole", rig.name)
    assert site.cluster.client.create(POLECAT, body, dry_run=True).ok


def _body(rig: RigHandle, name: str, spec: JSON, *, namespace: str = "") -> JSON:
    task = {"rig": rig.name, "desiredState": "Working", "taskDescription": "Do it."}
    agent = {"agent": "custom", "agentConfig": {"command": ["sh", "-c", WORK]}}
    metadata = {"namespace": namespace or rig.namespace, "name": name}
    return {"metadata": metadata, "spec": {**task, **agent, **spec}}


def _queued(polecat: PolecatHandle) -> str:
    polecat.touched.append(polecat)
    queued = eventually(lambda: condition(polecat.status, "Queued"), f"{polecat.name} is queued")
    return f"{queued['reason']} {queued['message']}"


def _patch_rig(site: Site, stored: JSON, spec: JSON) -> None:
    site.cluster.client.patch(RIG, stored, {"spec": spec}).object()
