"""Somebody who may only create Polecats: what a Rig refuses by default, and what the same Polecat wins where the Rig allows it."""

import json
from collections.abc import Iterator, Mapping
from string import Template
from uuid import uuid4

import pytest

from gastown_operator.api.core import NAMESPACE, POD
from gastown_operator.api.labels import MANAGED_BY, RECOVERY_KEY
from gastown_operator.api.networkpolicy import NETWORK_POLICY
from gastown_operator.api.polecat import POLECAT
from gastown_operator.api.rig import RIG
from hack.model_server.script import load_script
from hack.model_server.server import ModelServer
from tests.apiserver.client import JSON
from tests.escape import pods
from tests.escape.attempts import attempts
from tests.escape.cases import CASES, COPY, INJECT, MODEL_KEY, MODEL_SECRET, OPEN, TREASURE, with_places
from tests.support.cluster import CONFIG_MAP, SECRET, kubectl
from tests.support.connections import outside
from tests.support.installation import POLICIES
from tests.support.polecats import PolecatHandle, condition
from tests.support.site import KNOWN_HOSTS_NAME, SECRET_NAME, WORK, RigHandle, Site, agent
from tests.support.users import acting_as
from tests.support.waiting import eventually

OUTSIDE = "203.0.113.7"
#: Adds the git key to the agent of a pod that asks for it by its annotation, as injectors of secrets do.
INJECTOR = """\
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: $name}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: $name}}
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  matchConditions:
  - {name: asked, expression: "'$annotation' in object.metadata.?annotations.orValue({})"}
  mutations:
  - patchType: JSONPatch
    jsonPatch:
      expression: >
        [JSONPatch{op: "add", path: "/spec/containers/0/env/0", value: Object.spec.containers.env{name: "KEY",
        valueFrom: Object.spec.containers.env.valueFrom{secretKeyRef:
        Object.spec.containers.env.valueFrom.secretKeyRef{name: "$secret", key: "ssh-privatekey"}}}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: $name}
spec: {policyName: $name}
"""


@pytest.fixture(scope="module")
def places(site: Site) -> Iterator[Mapping[str, str]]:
    """Another repository, a model that answers whoever shows the rig's key, and an address outside with a port of nobody's."""
    repository = f"elsewhere-{uuid4().hex[:6]}"
    site.git.create_repository(repository, {"treasure.txt": f"{TREASURE}\n"})
    with (
        ModelServer(load_script("success"), site.address, key=MODEL_KEY) as models,
        outside({OUTSIDE}, {(OUTSIDE, 8443)}),
    ):
        yield {
            "elsewhere": site.git.ssh_url(repository),
            "models": models.url,
            "outside": OUTSIDE,
            "repository": repository,
        }


@pytest.fixture(scope="module")
def strict(site: Site, places: Mapping[str, str]) -> Mapping[str, PolecatHandle]:
    """Every Polecat of the table, on a rig as it is by default."""
    rig = site.rig("strict")
    return {name: rig.sling(name, **with_places(case.spec, places)) for name, case in CASES.items()}


@pytest.fixture(scope="module")
def permissive(site: Site, places: Mapping[str, str]) -> Iterator[Mapping[str, PolecatHandle]]:
    """The same Polecats, each on a rig that allows what it asks for, with what it is after."""
    slung = {}
    injector = ""
    for name, case in CASES.items():
        known = None if case.verified else ""
        rig = site.rig(name, spec=with_places(case.allowed, places), known_hosts=known)
        rig.secret(COPY, {"ssh-privatekey": site.key})
        rig.secret(MODEL_SECRET["name"], {MODEL_SECRET["key"]: MODEL_KEY})
        metadata = {"namespace": rig.namespace, "name": COPY}
        data = {"known_hosts": site.git.known_hosts_line()}
        site.cluster.create(CONFIG_MAP, {"metadata": metadata, "data": data})
        if name == "pod-label":
            site.cluster.create(NETWORK_POLICY, opening(rig.namespace))
        if name == "injector-annotation":
            injector = _inject(site, rig)
        slung[name] = rig.sling(name, **with_places(case.asked, places))
    yield slung
    kubectl("delete", "mutatingadmissionpolicies,mutatingadmissionpolicybindings", injector)


def opening(namespace: str) -> JSON:
    """Somebody's policy that lets out what has its label."""
    spec = {"podSelector": {"matchLabels": OPEN}, "policyTypes": ["Egress"], "egress": [{}]}
    return {"metadata": {"namespace": namespace, "name": "open"}, "spec": spec}


def _inject(site: Site, rig: RigHandle) -> str:
    """Install the injector for the rig's namespace, and wait until it is in force."""
    values = {"name": rig.namespace, "annotation": INJECT, "secret": SECRET_NAME}
    kubectl("apply", "-f", "-", stdin=Template(INJECTOR).substitute(values))
    container = pods.container("agent", "true", env=[{"name": "A", "value": "b"}])
    metadata = {"namespace": rig.namespace, "name": "tried", "annotations": {INJECT: "true"}}
    ids = {"runAsUser": pods.USER}
    body = {"metadata": metadata, "spec": {"containers": [container], "securityContext": ids}}

    def injects() -> bool:
        made = site.cluster.client.create(POD, body, dry_run=True).object()
        return "secretKeyRef" in json.dumps(made["spec"])

    eventually(injects, "the injector injects")
    return rig.namespace


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
    if CASES[name].says:
        permissive[name].until_agent_says(CASES[name].says, seconds=150)


def test_the_other_repository_is_written_to_where_the_rig_allows_its_secret(
    site: Site, permissive: Mapping[str, PolecatHandle], places: Mapping[str, str]
) -> None:
    status = permissive["another-repository"].until("Done", "Done")
    pushed = site.git.refs(places["repository"])
    assert pushed["refs/heads/polecat/another-repository"] == status["headCommit"]


@attempts("own-label")
def test_our_own_labels_are_refused_whatever_the_rig_allows(site: Site) -> None:
    rig = site.rig("labels", spec={"policy": {"allow": ["PodLabels"]}})
    for key in (MANAGED_BY, "gastown.io/rig"):
        body = _body(rig, "own-label", _labelled({key: "else"}))
        answer = site.cluster.client.create(POLECAT, body)
        assert answer.status == 422, answer.message
        assert "gastown.io" in answer.message
    assert site.cluster.client.create(POLECAT, _body(rig, "x", _labelled({"a": "b"}))).ok


@pytest.fixture
def foreign(site: Site) -> Iterator[str]:
    """A namespace that no rig knows, with what the polecats of one need."""
    name = f"foreign-{uuid4().hex[:6]}"
    site.cluster.create(NAMESPACE, {"metadata": {"name": name}})
    secret = {
        "metadata": {"namespace": name, "name": SECRET_NAME},
        "stringData": {"ssh-privatekey": site.key},
    }
    site.cluster.create(SECRET, secret)
    hosts = {
        "metadata": {"namespace": name, "name": KNOWN_HOSTS_NAME},
        "data": {"known_hosts": site.git.known_hosts_line()},
    }
    site.cluster.create(CONFIG_MAP, hosts)
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
    guest.until("Done", "Done")
    assert f"refs/heads/polecat/{foreign}/guest" in rig.refs


@attempts("foreign-recovery-key", "recovery-key")
def test_a_recovery_key_reaches_the_work_of_nobody_else(site: Site, foreign: str) -> None:
    rig = site.rig("keys")
    _patch_rig(site, {"metadata": {"name": rig.name}}, {"allowedNamespaces": [foreign, rig.namespace]})
    victim = rig.sling("victim")
    done = victim.until("Done", "Done")

    names = (victim.uid, f"{rig.namespace}/{victim.uid}")
    thieves = {key: _keyed(rig, f"thief-{number}", key, foreign) for number, key in enumerate(names)}
    rival = _keyed(rig, "rival", victim.uid, rig.namespace)
    rival.until("Stuck", "RecoveryKeyInUse")
    for gone in (rival, victim):
        gone.delete()
        gone.until_gone(POLECAT, gone.name)
    heir = _keyed(rig, "heir", victim.uid, rig.namespace, kubernetes={"workBranch": "polecat/victim"})
    assert heir.until("Done", "Done")["headCommit"] == done["headCommit"]
    for key, thief in thieves.items():
        assert thief.until("Done", "Done")["headCommit"] != done["headCommit"], key


def _keyed(rig: RigHandle, name: str, key: str, namespace: str, **spec: JSON) -> PolecatHandle:
    """A Polecat with a recovery key of somebody's choice, and work of its own."""
    body = _body(rig, name, {**agent(f"echo {name} > {name}.txt"), **spec}, namespace=namespace)
    body["metadata"]["annotations"] = {RECOVERY_KEY: key}
    stored = rig.site.cluster.create(POLECAT, body)
    return PolecatHandle(rig.site.cluster, namespace, name, stored["metadata"]["uid"], rig.site.touched)


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
def test_an_owner_is_not_forged_while_the_policies_are_in_force(site: Site) -> None:
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
            kubectl("delete", "validatingadmissionpolicybinding", "gastown-objects")
            eventually(lambda: developer.create(POLECAT, body, dry_run=True).ok, "nobody refuses it")
            kubectl("apply", "-f", str(POLICIES))
            eventually(lambda: not developer.create(POLECAT, body, dry_run=True).ok, "it is refused again")
    finally:
        kubectl("apply", "-f", str(POLICIES))
        kubectl("delete", "clusterrolebinding,clusterrole", rig.name)


def _body(rig: RigHandle, name: str, spec: JSON, *, namespace: str = "") -> JSON:
    task = {"rig": rig.name, "desiredState": "Working", "taskDescription": "Do it."}
    agent = {"agent": "custom", "agentConfig": {"command": ["sh", "-c", WORK]}}
    metadata = {"namespace": namespace or rig.namespace, "name": name}
    return {"metadata": metadata, "spec": {**task, **agent, **spec}}


def _labelled(labels: Mapping[str, str]) -> JSON:
    return {"kubernetes": {"podLabels": dict(labels)}}


def _queued(polecat: PolecatHandle) -> str:
    polecat.touched.append(polecat)
    eventually(lambda: condition(polecat.status, "Queued"), f"{polecat.name} is queued")
    message: str = condition(polecat.status, "Ready")["message"]
    return message


def _patch_rig(site: Site, stored: JSON, spec: JSON) -> None:
    site.cluster.client.patch(RIG, stored, {"spec": spec}).object()
