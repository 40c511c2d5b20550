"""The shipped ValidatingAdmissionPolicies: what each user may write with them, and without them (the control)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

import pytest
from attrs import field, frozen

from gastown_operator.api.batch import JOB
from gastown_operator.api.core import NAMESPACE, POD
from gastown_operator.api.labels import MANAGED_BY, OPERATOR, RECOVERY_KEY, RETRY
from gastown_operator.api.polecat import POLECAT
from gastown_operator.api.rig import RIG
from gastown_operator.runtime.objects import PartialObject, Resource
from tests.apiserver.client import JSON, MERGE_PATCH, Client, Response
from tests.support.cluster import SERVICE_ACCOUNT, kubectl
from tests.support.installation import MANIFESTS, POLICIES, install
from tests.support.users import acting_as
from tests.support.waiting import eventually

RBAC = "rbac.authorization.k8s.io"
ROLE = Resource(RBAC, "v1", "ClusterRole", "clusterroles", namespaced=False, project=PartialObject.project)
CLUSTER_BINDING = Resource(
    RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False, project=PartialObject.project
)
GROUP = "gastown.gastown.io"
OPERATOR_USER = "system:serviceaccount:gastown-system:gastown-operator"
COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"
REPLICAS = "system:serviceaccount:kube-system:replicaset-controller"
JOBS_OF_KUBERNETES = "system:serviceaccount:kube-system:job-controller"
CRON = "system:serviceaccount:kube-system:cronjob-controller"
VERBS = ["get", "list", "create", "update", "patch", "delete"]
#: Rights of the users below, in all namespaces; the developer's are those of a namespace's `admin`, and more: every resource by name.
RIGHTS: Mapping[str, Sequence[JSON]] = {
    "developer": [
        {
            "apiGroups": [GROUP],
            "resources": ["rigs", "rigs/status", "polecats", "polecats/status", "witnesses"],
            "verbs": VERBS,
        },
        {
            "apiGroups": [""],
            "resources": ["pods", "pods/exec", "pods/ephemeralcontainers", "pods/binding", "pods/status"],
            "verbs": VERBS,
        },
        {"apiGroups": ["batch"], "resources": ["jobs", "jobs/status"], "verbs": VERBS},
    ],
    "bridge": [
        {"apiGroups": [GROUP], "resources": ["polecats/status"], "verbs": ["get", "update", "patch"]},
        {"apiGroups": [GROUP], "resources": ["polecats/claim"], "verbs": ["update"]},
    ],
    "administrator": [
        {"apiGroups": [GROUP, "", "batch"], "resources": ["*"], "verbs": ["*"]},
    ],
}
#: RBAC is not what is tried here, so these have it for everything they do below; the policies know them by name.
RIGHTS_BY_NAME = {
    OPERATOR_USER: RIGHTS["developer"],
    COLLECTOR: RIGHTS["developer"],
    REPLICAS: RIGHTS["developer"],
    JOBS_OF_KUBERNETES: RIGHTS["developer"],
    CRON: RIGHTS["developer"],
}
USERS = (*RIGHTS, *RIGHTS_BY_NAME)
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
CLAIM = {"holder": "r/pods/toast", "state": "Claimed", "time": "2026-01-01T00:00:00Z"}
CONTAINER = {"name": "main", "image": "example.invalid/a:1"}


@frozen
class Write:
    """One request, as a dry run where the server has that; `{namespace}` in the path is filled in."""

    user: str
    method: str
    path: str
    body: JSON = field(factory=dict)
    dry: bool = True

    def send(self, client: Client, namespace: str) -> Response:
        # A list of containers is merged by their names where the kind is built in.
        merge = STRATEGIC_PATCH if self.path.startswith("/api/v1/") else MERGE_PATCH
        content_type = merge if self.method == "PATCH" else "application/json"
        path = self.path.format(namespace=namespace) + ("?dryRun=All" if self.dry else "")
        return client.request(self.method, path, self.body or None, content_type=content_type)


PODS = "/api/v1/namespaces/{namespace}/pods"
JOBS = "/apis/batch/v1/namespaces/{namespace}/jobs"
POLECATS = f"/apis/{GROUP}/v1alpha1/namespaces/{{namespace}}/polecats"
WITNESSES = f"/apis/{GROUP}/v1alpha1/namespaces/{{namespace}}/witnesses"
TOAST, ITS_POD = f"{POLECATS}/toast", f"{PODS}/polecat-toast"


def pod(name: str, **metadata: Any) -> JSON:
    return {"metadata": {"name": name, **metadata}, "spec": {"containers": [CONTAINER]}}


OUR_JOB = "gastown-housekeeping-policies"
ITS_JOB = f"{JOBS}/{OUR_JOB}"
RIGS_LABEL = {"gastown.io/rig": "r"}


def job(name: str, template: JSON | None = None, **metadata: Any) -> JSON:
    """A Job; `template` is the metadata of its pods. Suspended, so that no controller makes pods of it."""
    pods = {"metadata": template or {}, "spec": {"containers": [CONTAINER], "restartPolicy": "Never"}}
    return {"metadata": {"name": name, **metadata}, "spec": {"suspend": True, "template": pods}}


def job_pod(name: str) -> JSON:
    """The pod that the job controller makes of a Job whose template has our labels."""
    of_job = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": str(uuid4()), "controller": True}
    return pod(f"{name}-x", labels={MANAGED_BY: OPERATOR, **RIGS_LABEL}, ownerReferences=[of_job])


def owner(kind: str = "Polecat") -> JSON:
    return {"apiVersion": f"{GROUP}/v1alpha1", "kind": kind, "name": "toast", "uid": str(uuid4())}


def polecat(**metadata: Any) -> JSON:
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "Polecat",
        "metadata": {"name": "forged", **metadata},
        "spec": {"rig": "r", "desiredState": "Idle"},
    }


def patch(path: str, user: str = "developer", **body: Any) -> Write:
    return Write(user, "PATCH", path, body)


#: Refused with the policies, and taken without them. The word is in the message.
REFUSED: Mapping[str, tuple[Write, str]] = {
    "a phase": (patch(f"{TOAST}/status", status={"phase": "Done"}), "written by the operator alone"),
    "a condition of a Rig": (
        patch(f"/apis/{GROUP}/v1alpha1/rigs/policies/status", status={"phase": "Ready"}),
        "written by the operator alone",
    ),
    "a claim, by who is no bridge": (
        patch(f"{TOAST}/status", status={"claim": CLAIM}),
        "written by the operator alone",
    ),
    "a phase, by a bridge": (patch(f"{TOAST}/status", "bridge", status={"phase": "Done"}), "status.claim"),
    "the end of a status, by a bridge": (
        patch(f"{TOAST}/status", "bridge", status={"phase": None}),
        "status.claim",
    ),
    "a phase beside a claim, by a bridge": (
        patch(f"{TOAST}/status", "bridge", status={"claim": CLAIM, "branch": "x"}),
        "status.claim",
    ),
    "a pod with our label": (
        Write("developer", "POST", PODS, pod("mine", labels={MANAGED_BY: OPERATOR})),
        "create a Polecat",
    ),
    "a pod with our label, through a ReplicaSet": (
        Write(REPLICAS, "POST", PODS, pod("mine", labels={MANAGED_BY: OPERATOR})),
        "create a Polecat",
    ),
    "a pod like one of the operator's Jobs": (
        Write("developer", "POST", PODS, job_pod(OUR_JOB)),
        "create a Polecat",
    ),
    "a pod with our label, through a Job of another name": (
        Write(JOBS_OF_KUBERNETES, "POST", PODS, job_pod("mine")),
        "create a Polecat",
    ),
    "a pod with the name of a Job's": (
        Write("developer", "POST", PODS, pod(f"{OUR_JOB}-x")),
        "create a Polecat",
    ),
    "a Job whose pods have our label": (
        Write("developer", "POST", JOBS, job("mine", {"labels": {MANAGED_BY: OPERATOR}})),
        "made by the operator alone",
    ),
    "a Job whose pods have a label of gastown.io": (
        Write("developer", "POST", JOBS, job("mine", {"labels": RIGS_LABEL})),
        "made by the operator alone",
    ),
    "a Job whose pods have an annotation of gastown.io": (
        Write("developer", "POST", JOBS, job("mine", {"annotations": RIGS_LABEL})),
        "made by the operator alone",
    ),
    "a Job with our label": (
        Write("developer", "POST", JOBS, job("mine", labels={MANAGED_BY: OPERATOR})),
        "made by the operator alone",
    ),
    "a Job with the name of a rig's": (
        Write("developer", "POST", JOBS, job("gastown-housekeeping-other")),
        "made by the operator alone",
    ),
    "a Job with a name that becomes a rig's": (
        Write("developer", "POST", JOBS, job("", generateName="gastown-housekeeping-")),
        "made by the operator alone",
    ),
    "a Job owned by a Rig": (
        Write("developer", "POST", JOBS, job("mine", ownerReferences=[owner("Rig")])),
        "made by the operator alone",
    ),
    "a Job whose pods have our label, of a CronJob": (
        Write(CRON, "POST", JOBS, job("mine", {"labels": {MANAGED_BY: OPERATOR}})),
        "made by the operator alone",
    ),
    "our label on the pods of a Job of one's own": (
        patch(f"{JOBS}/own", spec={"template": {"metadata": {"labels": {MANAGED_BY: OPERATOR}}}}),
        "set by the operator",
    ),
    "the node of a rig's Job": (
        patch(ITS_JOB, spec={"template": {"spec": {"nodeSelector": {"mine": "yes"}}}}),
        "set by the operator",
    ),
    "our label off a Job": (patch(ITS_JOB, metadata={"labels": {MANAGED_BY: None}}), "set by the operator"),
    "a Job's owner": (patch(ITS_JOB, metadata={"ownerReferences": None}), "set by the operator"),
    "a pod with a label of gastown.io": (
        Write("developer", "POST", PODS, pod("mine", labels={"gastown.io/rig": "r"})),
        "create a Polecat",
    ),
    "a pod with a polecat's name": (
        Write("developer", "POST", PODS, pod("polecat-next")),
        "create a Polecat",
    ),
    "a pod owned by a polecat": (
        Write("developer", "POST", PODS, pod("mine", ownerReferences=[owner()])),
        "create a Polecat",
    ),
    "our label off a pod": (
        patch(ITS_POD, metadata={"labels": {MANAGED_BY: None}}),
        "labels of gastown.io",
    ),
    "another rig on a pod": (
        patch(ITS_POD, metadata={"labels": {"gastown.io/rig": "x"}}),
        "labels of gastown.io",
    ),
    "our label on a pod of one's own": (
        patch(f"{PODS}/own", metadata={"labels": {MANAGED_BY: OPERATOR}}),
        "labels of gastown.io",
    ),
    "another branch on a pod": (
        patch(ITS_POD, metadata={"annotations": {"gastown.io/branch": "main"}}),
        "annotations of gastown.io",
    ),
    "a pod's owner": (patch(ITS_POD, metadata={"ownerReferences": None}), "owner of a polecat's pod"),
    "an image of a pod": (
        patch(ITS_POD, spec={"containers": [{"name": "main", "image": "example.invalid/evil:1"}]}),
        "images of a polecat's pod",
    ),
    "a debugger in a pod": (
        patch(
            f"{ITS_POD}/ephemeralcontainers", spec={"ephemeralContainers": [{**CONTAINER, "name": "debug"}]}
        ),
        "debugs a polecat's pod",
    ),
    "our finalizer": (patch(TOAST, metadata={"finalizers": None}), "finalizer of gastown.io"),
    "the recovery key": (
        patch(TOAST, metadata={"annotations": {RECOVERY_KEY: "other"}}),
        "gastown.io/recovery-key",
    ),
    "no recovery key": (
        patch(TOAST, metadata={"annotations": {RECOVERY_KEY: None}}),
        "gastown.io/recovery-key",
    ),
    "our label on a Polecat": (
        Write("developer", "POST", POLECATS, polecat(labels={MANAGED_BY: OPERATOR})),
        "says gastown-operator on what the operator made",
    ),
    "a Polecat of a convoy that did not make it": (
        Write("developer", "POST", POLECATS, polecat(ownerReferences=[owner("Convoy")])),
        "name the rig or the convoy",
    ),
}
#: Taken in either case.
TAKEN: Mapping[str, Write] = {
    "a phase, by the operator": patch(f"{TOAST}/status", OPERATOR_USER, status={"phase": "Done"}),
    "a phase, by an administrator": patch(f"{TOAST}/status", "administrator", status={"phase": "Done"}),
    "a claim, by a bridge": patch(f"{TOAST}/status", "bridge", status={"claim": CLAIM}),
    "a pod with our label, by the operator": Write(
        OPERATOR_USER,
        "POST",
        PODS,
        pod("polecat-next", labels={MANAGED_BY: OPERATOR}, ownerReferences=[owner()]),
    ),
    "a pod of the operator's Job, by the job controller": Write(
        JOBS_OF_KUBERNETES, "POST", PODS, job_pod(OUR_JOB)
    ),
    "a rig's Job, by the operator": Write(
        OPERATOR_USER,
        "POST",
        JOBS,
        job("gastown-housekeeping-other", {"labels": {MANAGED_BY: OPERATOR}}, labels={MANAGED_BY: OPERATOR}),
    ),
    "a rig's Job running": patch(f"{ITS_JOB}/status", JOBS_OF_KUBERNETES, status={"active": 0}),
    "a rig's Job away": Write("developer", "DELETE", ITS_JOB),
    "a rig's Job without an owner, by the garbage collector": patch(
        ITS_JOB, COLLECTOR, metadata={"ownerReferences": None}
    ),
    "a Job of one's own": Write(
        "developer", "POST", JOBS, job("mine", {"labels": {MANAGED_BY: "Helm"}}, labels={"team": "a"})
    ),
    "Jobs of one's own, with a name like ours": Write(
        "developer", "POST", JOBS, job("", generateName="gastown-")
    ),
    "a change of a Job of one's own": patch(f"{JOBS}/own", spec={"suspend": False}),
    "a pod of one's own": Write("developer", "POST", PODS, pod("mine", labels={MANAGED_BY: "Helm"})),
    "a pod of a Deployment polecat-viewer": Write(REPLICAS, "POST", PODS, pod("polecat-viewer-5d4f-x")),
    "a label of one's own on a polecat's pod": patch(ITS_POD, metadata={"labels": {"team": "a"}}),
    "a polecat's pod away": Write("developer", "DELETE", ITS_POD),
    "a polecat's pod to a node": Write(
        "developer",
        "POST",
        f"{ITS_POD}/binding",
        {"metadata": {"name": "polecat-toast"}, "target": {"kind": "Node", "name": "n"}},
    ),
    "a polecat's pod evicted or running": patch(f"{ITS_POD}/status", status={"phase": "Running"}),
    "a pod's owner, by the garbage collector": patch(ITS_POD, COLLECTOR, metadata={"ownerReferences": None}),
    "our finalizer, by an administrator": patch(TOAST, "administrator", metadata={"finalizers": None}),
    "a Polecat": Write("developer", "POST", POLECATS, polecat(labels={"team": "a"})),
    "a Polecat with the key of one that was": Write(
        "developer", "POST", POLECATS, polecat(annotations={RECOVERY_KEY: "older"})
    ),
    "another round": patch(TOAST, metadata={"annotations": {RETRY: "2"}}),
    "another task": patch(TOAST, spec={"taskDescription": "else"}),
    "a Polecat away": Write("developer", "DELETE", TOAST),
}
ENTER = Write("developer", "POST", f"{ITS_POD}/exec?command=true&stdout=true", dry=False)

ENTER_JOB = Write("developer", "POST", f"{PODS}/{OUR_JOB}-x/exec?command=true&stdout=true", dry=False)


@frozen
class Verdicts:
    """What the server answered to each write, without and with the policies."""

    without: Mapping[str, Response]
    protected: Mapping[str, Response]


WRITES: Mapping[str, Write] = {
    **{name: write for name, (write, _) in REFUSED.items()},
    **TAKEN,
    "enter": ENTER,
    "enter a Job's pod": ENTER_JOB,
}


def send_all(namespace: str) -> dict[str, Response]:
    answers: dict[str, Response] = {}
    for user in USERS:
        with acting_as(user) as client:
            answers |= {
                name: write.send(client, namespace) for name, write in WRITES.items() if write.user == user
            }
    return answers


@pytest.fixture(scope="module")
def verdicts(client: Client) -> Iterator[Verdicts]:
    """Every write of the tables above, tried by its user before and after the policies were applied."""
    install()
    kubectl("delete", "--ignore-not-found", "-f", str(POLICIES))
    namespace = f"test-{uuid4().hex[:12]}"
    client.create(NAMESPACE, {"metadata": {"name": namespace}}).object()
    grant(client)
    populate(client, namespace)
    try:
        without = until_settled(namespace, refused=False)
        kubectl("apply", "-f", str(POLICIES))
        yield Verdicts(without, until_settled(namespace, refused=True))
    finally:
        kubectl("delete", "--ignore-not-found", "-f", str(POLICIES))
        client.request("DELETE", RIG.path(name="policies"))
        client.request(
            "PATCH",
            POLECAT.path(namespace, "toast"),
            {"metadata": {"finalizers": None}},
            content_type=MERGE_PATCH,
        )
        client.request("DELETE", NAMESPACE.path(name=namespace))
        for user in USERS:
            client.request("DELETE", CLUSTER_BINDING.path(name=role_name(user)))
            client.request("DELETE", ROLE.path(name=role_name(user)))


def role_name(user: str) -> str:
    return f"policies-test-{user.replace(':', '-')}"


def grant(client: Client) -> None:
    for user, rules in {**RIGHTS, **RIGHTS_BY_NAME}.items():
        name = role_name(user)
        reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}
        subjects = [{"apiGroup": RBAC, "kind": "User", "name": user}]
        client.create(ROLE, {"metadata": {"name": name}, "rules": list(rules)}).object()
        client.create(
            CLUSTER_BINDING, {"metadata": {"name": name}, "roleRef": reference, "subjects": subjects}
        ).object()


def populate(client: Client, namespace: str) -> None:
    """A Rig, a Polecat with a status, its pod, and a pod of somebody's own."""
    spec = {"gitURL": "https://git.example.invalid/a.git", "beadsPrefix": "gt"}
    rig = client.create(RIG, {"metadata": {"name": "policies"}, "spec": spec}).object()
    metadata = {
        "name": "toast",
        "namespace": namespace,
        "finalizers": ["gastown.io/polecat-cleanup"],
        "annotations": {RECOVERY_KEY: "mine"},
    }
    stored = client.create(POLECAT, {**polecat(), "metadata": metadata}).object()
    client.patch(POLECAT, stored, {"status": {"phase": "Working"}}, "status").object()
    client.patch(RIG, rig, {"status": {"phase": "Initializing"}}, "status").object()
    reference = {**owner(), "uid": stored["metadata"]["uid"]}
    labels = {MANAGED_BY: OPERATOR, "gastown.io/rig": "r"}
    ours = pod("polecat-toast", namespace=namespace, labels=labels, ownerReferences=[reference])
    ours["metadata"]["annotations"] = {"gastown.io/branch": "polecat/toast"}
    account = SERVICE_ACCOUNT.path(namespace, "default")
    eventually(lambda: client.request("GET", account).ok, "the namespace has its ServiceAccount")
    for body in (ours, pod("own", namespace=namespace)):
        client.create(POD, body).object()
    rigs = {**owner("Rig"), "name": "policies", "uid": rig["metadata"]["uid"]}
    labels = {MANAGED_BY: OPERATOR, **RIGS_LABEL}
    ours = job(OUR_JOB, {"labels": labels}, namespace=namespace, labels=labels, ownerReferences=[rigs])
    for body in (ours, job("own", namespace=namespace)):
        client.create(JOB, body).object()


def until_settled(namespace: str, *, refused: bool) -> dict[str, Response]:
    """The answers once the server enforces each of its policies, or none: it learns of a change within some seconds."""
    first = [
        "a phase",
        "a pod with our label",
        "a Job with our label",
        "our label on a Polecat",
        "enter",
        "enter a Job's pod",
    ]

    def settled() -> bool:
        with acting_as("developer") as developer:
            denied = [WRITES[name].send(developer, namespace).status == 403 for name in first]
        return all(denied) if refused else not any(denied)

    eventually(settled, "the server has learnt of the policies")
    return send_all(namespace)


@pytest.mark.parametrize("name", REFUSED)
def test_a_write_that_would_forge_something_is_refused_by_a_policy_and_by_nothing_else(
    verdicts: Verdicts, name: str
) -> None:
    assert verdicts.without[name].ok, verdicts.without[name].message
    assert verdicts.protected[name].status == 403
    assert REFUSED[name][1] in verdicts.protected[name].message


@pytest.mark.parametrize("name", TAKEN)
def test_an_ordinary_write_is_taken_with_and_without_the_policies(verdicts: Verdicts, name: str) -> None:
    assert verdicts.without[name].ok, verdicts.without[name].message
    assert verdicts.protected[name].ok, verdicts.protected[name].message


@pytest.mark.parametrize("name", ["enter", "enter a Job's pod"])
def test_a_pod_of_ours_is_entered_by_cluster_administrators_alone(verdicts: Verdicts, name: str) -> None:
    # The pod runs nowhere, so the server lets the developer through, to an error of another kind.
    assert verdicts.without[name].status not in (201, 403)
    assert verdicts.protected[name].status == 403
    assert "enters a polecat's pod" in verdicts.protected[name].message


def test_the_shipped_roles_of_users_can_enter_no_pod() -> None:
    text = (MANIFESTS / "deploy" / "user-roles.yaml").read_text()
    assert "pods" not in text
    assert "status" not in text
    assert "administer" not in text
