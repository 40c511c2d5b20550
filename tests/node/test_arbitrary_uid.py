"""OpenShift's way with ids: pods set none, and run under whatever user the platform gives them, with group 0.

A MutatingAdmissionPolicy does here what restricted-v2 does there: `runAsUser` of the namespace's range, `fsGroup` likewise.
"""

import json
from collections.abc import Iterator, Sequence

import pytest

from tests.apiserver.client import JSON
from tests.support.cluster import kubectl
from tests.support.site import WORKLOAD_IMAGE, Site
from tests.support.waiting import eventually

USER = 1000730000
NAME = "arbitrary-uid"
SERVED = '"mutatingadmissionpolicies"'
#: The agent says who it is, and that it can work: commit, and write to its home.
SCRIPT = """\
echo "ids $(id -u) $(id -g)"
touch "$HOME/mine"
echo done > work.txt && git add work.txt && git commit --quiet --message 'Do the work'
"""


RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def policy(kind: str, spec: JSON) -> JSON:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": NAME},
        "spec": spec,
    }


POLICY = policy(
    "MutatingAdmissionPolicy",
    {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {
            "namespaceSelector": {"matchLabels": {NAME: "true"}},
            "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
            ],
        },
        "mutations": [
            {
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {
                    "expression": "Object{spec: Object.spec{securityContext: Object.spec.securityContext{"
                    f"runAsUser: {USER}, runAsGroup: 0, fsGroup: {USER}}}}}}}"
                },
            }
        ],
    },
)
BINDING = policy("MutatingAdmissionPolicyBinding", {"policyName": NAME})


@pytest.fixture
def openshift(site: Site) -> Iterator[Site]:
    """The installation with an operator that leaves ids alone, on a server that gives them."""
    if SERVED not in kubectl("get", "--raw", "/apis/admissionregistration.k8s.io/v1"):
        pytest.skip("the server has no MutatingAdmissionPolicy in v1 (Kubernetes 1.36)")
    kubectl("apply", "-f", "-", stdin=json.dumps(POLICY))
    kubectl("apply", "-f", "-", stdin=json.dumps(BINDING))
    usual = site.operator.arguments
    restart(site, [*usual, "--platform", "openshift"])
    yield site
    restart(site, usual)
    kubectl("delete", "mutatingadmissionpolicybinding,mutatingadmissionpolicy", NAME)


def restart(site: Site, arguments: Sequence[str]) -> None:
    """Go on with an operator of another command line."""
    assert site.operator.stop() == 0
    site.operator.arguments = arguments
    site.operator.start()


def await_mutation(namespace: str) -> None:
    """The server learns of the policy within a second or two."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {
            "containers": [{"name": "a", "image": WORKLOAD_IMAGE, "securityContext": RESTRICTED}],
        },
    }

    def mutated() -> bool:
        made = kubectl("create", "--dry-run=server", "--output=json", "-f", "-", stdin=json.dumps(pod))
        return bool(json.loads(made)["spec"].get("securityContext", {}).get("runAsUser") == USER)

    eventually(mutated, "the server gives ids", 30)


def test_a_polecat_works_under_an_arbitrary_user_with_group_0(openshift: Site) -> None:
    rig = openshift.rig(NAME)
    kubectl("label", "namespace", rig.namespace, f"{NAME}=true")
    await_mutation(rig.namespace)
    polecat = rig.sling("stranger", SCRIPT)

    status = polecat.tells("Done", "Done", "polecat/stranger")

    (pod,) = polecat.pods()
    given = pod["spec"]["securityContext"]
    assert given["runAsUser"] == USER
    # The operator sets it along with ids of its own.
    assert "fsGroupChangePolicy" not in given
    assert "ids 1000730000 0" in openshift.cluster.log(rig.namespace, "polecat-stranger", "agent")
    assert rig.refs["refs/heads/polecat/stranger"] == status["headCommit"]
