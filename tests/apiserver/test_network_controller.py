"""NetworkPolicies of rigs on a real API server, by the operator under its shipped rights: written, kept, taken away, and then quiet."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from attrs import define

from gastown_operator.api.core import NAMESPACE
from gastown_operator.api.networkpolicy import NETWORK_POLICY
from gastown_operator.api.polecat import POLECAT
from gastown_operator.api.rig import RIG
from gastown_operator.runtime.events import EVENT
from gastown_operator.runtime.objects import PartialObject, Resource
from tests.apiserver.client import JSON
from tests.support.audit import AuditLog, Write
from tests.support.cluster import Cluster, connect, environment
from tests.support.installation import install, operator_kubeconfig
from tests.support.operator_process import OperatorProcess
from tests.support.polecats import PolecatHandle, condition
from tests.support.site import agent
from tests.support.waiting import eventually

HOW = "hack/cluster exec --name apiserver -- .venv/bin/pytest tests/apiserver"
WALL = "default-deny-gastown"
#: What the rig's spec needs for its polecats to start.
REACHED = {"network": {"allow": [{"cidr": "10.250.0.1/32", "ports": [2222]}]}}
COUNT = "count/networkpolicies.networking.k8s.io"
QUOTA = Resource("", "v1", "ResourceQuota", "resourcequotas", namespaced=True, project=PartialObject.project)


@define
class Place:
    """Two namespaces, and a rig that works in the first."""

    cluster: Cluster
    audit: AuditLog
    rig: str
    namespace: str
    other: str

    def policies(self, namespace: str) -> dict[str, JSON]:
        return {
            policy["metadata"]["name"]: policy for policy in self.cluster.objects(NETWORK_POLICY, namespace)
        }

    def await_policies(self, namespace: str, *names: str) -> dict[str, JSON]:
        eventually(lambda: self.policies(namespace).keys() == set(names), f"policies {names} in {namespace}")
        return self.policies(namespace)

    @property
    def policy(self) -> str:
        return f"gastown-{self.rig}"

    def change_rig(self, spec: JSON) -> None:
        self.cluster.client.patch(RIG, {"metadata": {"name": self.rig}}, {"spec": spec}).object()

    def change_policy(self, change: JSON) -> None:
        stored = {"metadata": {"namespace": self.namespace, "name": self.policy}}
        self.cluster.client.patch(NETWORK_POLICY, stored, change).object()

    def told(self, reason: str) -> list[JSON]:
        """The Events about the rig."""
        return [
            event
            for event in self.cluster.objects(EVENT, "default")
            if event["regarding"]["name"] == self.rig and event["reason"] == reason
        ]

    def limit_policies(self, namespace: str, count: int) -> None:
        """Have a quota of this many policies in a namespace, and wait until it holds."""
        hard = {COUNT: str(count)}
        self.cluster.create(
            QUOTA, {"metadata": {"namespace": namespace, "name": "none"}, "spec": {"hard": hard}}
        )
        eventually(
            lambda: (self.cluster.get(QUOTA, namespace, "none") or {}).get("status", {}).get("hard"),
            "the quota holds",
        )

    def create_rig(self, name: str) -> None:
        """Create a rig that works in the first namespace."""
        spec = {
            "gitURL": "ssh://git@10.250.0.1:2222/a.git",
            "beadsPrefix": "gt",
            "workNamespace": self.namespace,
            "provision": {"witness": False, "refinery": False},
        }
        self.cluster.create(RIG, {"metadata": {"name": name}, "spec": spec})

    def sling(self, namespace: str) -> PolecatHandle:
        """Create a Polecat of the rig whose pod finds no node."""
        spec = {
            "rig": self.rig,
            "desiredState": "Working",
            "taskDescription": "Do it.",
            **agent("true"),
        }
        body = {"metadata": {"namespace": namespace, "name": "toast"}, "spec": spec}
        stored = self.cluster.create(POLECAT, body)
        return PolecatHandle(self.cluster, namespace, "toast", stored["metadata"]["uid"], [])

    def writes(self, position: int) -> list[Write]:
        return [
            write
            for write in self.audit.since(position)
            if write.resource == "networkpolicies"
            and write.namespace in (self.namespace, self.other)
            and write.user_agent.startswith("gastown-operator")
        ]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("network")
    install()
    operator = OperatorProcess(
        operator_kubeconfig(directory), directory / "operator.log", ["--workload-image", "none"]
    )
    with connect() as cluster:
        operator.start()
        try:
            yield cluster
        finally:
            operator.stop()


@pytest.fixture
def place(running: Cluster) -> Iterator[Place]:
    unique = uuid4().hex[:6]
    audit = AuditLog(Path(environment("GASTOWN_LAB_AUDIT_LOG", HOW)))
    made = Place(running, audit, f"net-{unique}", f"net-{unique}", f"net-{unique}-other")
    for name in (made.namespace, made.other):
        running.create(NAMESPACE, {"metadata": {"name": name}})
    position = audit.end()
    made.create_rig(made.rig)
    made.await_policies(made.namespace, WALL, made.policy)
    # Not to be taken for writes of the test: the API server logs a write after it has answered it.
    eventually(
        lambda: {write.name for write in made.writes(position)} == {WALL, made.policy},
        "their writes in the audit log",
    )
    yield made
    running.delete(RIG, "", made.rig)
    for name in (made.namespace, made.other):
        running.delete(NAMESPACE, "", name)


def test_a_rig_is_told_what_is_not_reached(place: Place) -> None:
    policy = place.policies(place.namespace)[place.policy]
    assert (
        "{cidr: 10.250.0.1/32, ports: [2222]}" in policy["metadata"]["annotations"]["gastown.io/unreachable"]
    )
    eventually(lambda: len(place.told("NetworkBlocked")) == 1, "an Event about what is not reached")
    place.change_rig(REACHED)
    eventually(
        lambda: (
            "gastown.io/unreachable"
            not in place.policies(place.namespace)[place.policy]["metadata"]["annotations"]
        ),
        "nothing is out of reach any more",
    )
    assert len(place.told("NetworkBlocked")) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"ingress": [{}]}},
        {"spec": {"egress": None}},
        {"spec": {"podSelector": {"matchLabels": {"gastown.io/rig": "nobody"}}}},
        {"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}},
    ],
    ids=["opened", "closed", "aimed elsewhere", "hidden"],
)
def test_an_edited_policy_is_put_right_by_one_write(place: Place, change: JSON) -> None:
    before = place.policies(place.namespace)[place.policy]
    position = place.audit.end()
    place.change_policy(change)

    def right() -> bool:
        now = place.policies(place.namespace)[place.policy]
        same = ("labels", "annotations")
        return now["spec"] == before["spec"] and all(
            now["metadata"].get(name) == before["metadata"][name] for name in same
        )

    eventually(right, "the policy is as it was")
    eventually(lambda: place.writes(position), "the write in the audit log")
    assert [write.what for write in place.writes(position)] == ["patch networkpolicies"]


def test_a_deleted_policy_comes_back(place: Place) -> None:
    for name in (WALL, place.policy):
        place.cluster.delete(NETWORK_POLICY, place.namespace, name)
    place.await_policies(place.namespace, WALL, place.policy)


def test_policies_follow_the_allowed_namespaces(place: Place) -> None:
    place.change_rig({"allowedNamespaces": [place.other]})
    place.await_policies(place.other, WALL, place.policy)
    place.change_rig({"allowedNamespaces": None})
    place.await_policies(place.other)
    place.await_policies(place.namespace, WALL, place.policy)


def test_a_namespace_that_comes_later_gets_its_policies(place: Place) -> None:
    late = f"{place.namespace}-late"
    place.change_rig({"allowedNamespaces": [late]})
    place.cluster.create(NAMESPACE, {"metadata": {"name": late}})
    place.await_policies(late, WALL, place.policy)
    place.cluster.delete(NAMESPACE, "", late)


def test_nothing_is_written_once_all_is_right(place: Place) -> None:
    position = place.audit.end()
    place.cluster.client.patch(
        RIG, {"metadata": {"name": place.rig}}, {"metadata": {"annotations": {"a": "b"}}}
    ).object()
    # What comes after the annotation in the queue shows that the annotation was looked at.
    place.change_rig({"allowedNamespaces": [place.other]})
    place.await_policies(place.other, WALL, place.policy)
    eventually(
        lambda: len(place.writes(position)) == len((WALL, place.policy)), "their writes in the audit log"
    )
    assert {write.namespace for write in place.writes(position)} == {place.other}


def test_policies_stay_without_their_rig_until_its_last_pod_has_ended(place: Place) -> None:
    place.change_rig(REACHED)
    polecat = place.sling(place.namespace)
    eventually(polecat.pods, "the polecat has a pod")
    place.cluster.delete(RIG, "", place.rig)
    # The watch tells of this rig after the end of the other one.
    other = f"{place.rig}-next"
    place.create_rig(other)
    policies = place.await_policies(place.namespace, WALL, place.policy, f"gastown-{other}")
    # Nor will the garbage collector take it.
    assert "ownerReferences" not in policies[place.policy]["metadata"]
    # What else was decided when the other policy was written has been done by the time of the next decision.
    place.cluster.client.patch(RIG, {"metadata": {"name": other}}, {"spec": {"network": {"enforce": False}}})
    eventually(
        lambda: place.policies(place.namespace)[f"gastown-{other}"]["spec"]["egress"] == [{}], "it is opened"
    )
    assert place.policy in place.policies(place.namespace)

    polecat.delete()
    place.await_policies(place.namespace, WALL, f"gastown-{other}")
    place.cluster.delete(RIG, "", other)
    place.await_policies(place.namespace)


def test_no_pod_starts_where_the_policy_is_refused_until_it_is_not(place: Place) -> None:
    namespace = place.other
    place.limit_policies(namespace, 0)
    position = place.audit.end()
    place.change_rig({"allowedNamespaces": [place.namespace, namespace], **REACHED})
    polecat = place.sling(namespace)

    (told,) = eventually(lambda: place.told("NetworkPolicyRefused"), "the rig is told")
    assert f'namespace "{namespace}"' in told["note"]
    assert "exceeded quota" in told["note"]
    eventually(
        lambda: condition(polecat.status, "Queued").get("reason") == "NetworkPolicyPending",
        "the polecat waits",
    )
    assert f"kubectl describe rig {place.rig}" in condition(polecat.status, "Ready")["message"]
    # Tried again, said once.
    eventually(
        lambda: [write.status for write in place.writes(position)].count(403) > 1,
        "it is tried again",
    )
    assert len(place.told("NetworkPolicyRefused")) == 1
    assert polecat.pods() == []

    place.cluster.delete(QUOTA, namespace, "none")
    place.await_policies(namespace, WALL, place.policy)
    eventually(polecat.pods, "the pod starts by itself")


def test_a_refused_policy_keeps_no_other_from_being_put_right_or_taken_away(place: Place) -> None:
    before = place.policies(place.namespace)[place.policy]["spec"]
    place.limit_policies(place.namespace, len((WALL, place.policy)))
    # By name, its policy is written before that of the other one.
    early = f"a-{place.rig}"
    place.create_rig(early)
    eventually(lambda: place.told("NetworkPolicyRefused"), "the rigs of the namespace are told")

    place.change_policy({"spec": {"egress": [{}]}})
    eventually(lambda: place.policies(place.namespace)[place.policy]["spec"] == before, "it is put right")

    place.cluster.delete(RIG, "", place.rig)
    eventually(lambda: place.policy not in place.policies(place.namespace), "it is taken away")
    place.cluster.delete(RIG, "", early)
