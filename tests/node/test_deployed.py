"""What `make deploy` makes with all of its options: two replicas of the operator's image, in one namespace, with a credential to mirror."""

import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from attrs import frozen

from gastown_operator.api.core import POD
from tests.apiserver.client import JSON
from tests.support.cluster import SECRET, kubectl
from tests.support.installation import NAMESPACE, SERVICE_ACCOUNT, install
from tests.support.site import KNOWN_HOSTS_NAME, WORKLOAD_IMAGE, RigHandle, Site
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
REPLICAS = 2
OURS = "app.kubernetes.io/name=gastown-operator,app.kubernetes.io/component=operator"
READER = "metrics-reader-of-the-test"


@frozen
class Deployed:
    """The operator in the cluster, and a rig whose credential it has."""

    rig: RigHandle
    credential: str


def operators(site: Site) -> list[JSON]:
    """The pods of the deployed operator."""
    return site.cluster.objects(POD, NAMESPACE, labelSelector=OURS)


def make(*words: str) -> str:
    """Return what make prints. Raises AssertionError with its complaint."""
    assert shutil.which("make"), "make is missing: `hack/test unit` installs it"
    command = ["make", "--no-print-directory", *words, f"PYTHON={sys.executable}"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def deployed(site: Site) -> Iterator[Deployed]:
    """In the place of the process beside the tests, which comes back afterwards."""
    kubernetes = {"sshKnownHostsConfigMapRef": {"name": KNOWN_HOSTS_NAME}}
    name = "git-of-the-operator"
    defaults = {"gitSecretRef": {"name": name}, "kubernetes": kubernetes}
    rig = site.rig("deployed", secret={}, spec={"defaults": defaults})
    secret = {"metadata": {"namespace": NAMESPACE, "name": name}, "stringData": {"ssh-privatekey": site.key}}
    site.cluster.create(SECRET, secret)
    certificates = site.git.https.certificates
    kubectl(
        *("--namespace", NAMESPACE, "create", "secret", "tls", "metrics-of-the-test"),
        *(f"--cert={certificates.certificate}", f"--key={certificates.key}"),
    )
    assert site.operator.stop() == 0
    try:
        make(
            "deploy",
            "IMG=localhost/gastown-operator:dev",
            f"WORKLOAD_IMG={WORKLOAD_IMAGE}",
            f"AGENT_IMG={WORKLOAD_IMAGE}",  # the agent's image is large, and this one has a shell
            f"NAMESPACES={rig.namespace}",
            f"CREDENTIALS={name}",
            "METRICS_SECRET=metrics-of-the-test",
        )
        yield Deployed(rig, name)
    finally:
        kubectl("--namespace", NAMESPACE, "delete", "deployment", "gastown-operator", "--ignore-not-found")
        eventually(lambda: not operators(site), "the replicas are gone")
        kubectl("--namespace", NAMESPACE, "delete", "secret", name, "metrics-of-the-test")
        make("withdraw")
        install()
        site.operator.start()


def test_a_credential_of_the_operators_namespace_reaches_a_polecat(deployed: Deployed) -> None:
    rig = deployed.rig
    status = rig.sling("mirrored").until("Done", "Done")
    assert rig.refs["refs/heads/polecat/mirrored"] == status["headCommit"]
    copy = rig.site.cluster.get(SECRET, rig.namespace, deployed.credential)
    assert copy is not None
    source = copy["metadata"]["annotations"]["gastown.io/credential-source"]
    assert source == f"{NAMESPACE}/{deployed.credential}"


def test_both_replicas_are_ready_and_one_of_them_leads(deployed: Deployed) -> None:
    pods = operators(deployed.rig.site)
    assert len(pods) == REPLICAS
    assert [pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods] == [0] * REPLICAS
    names = [pod["metadata"]["name"] for pod in pods]
    held = (
        "get",
        "lease",
        "gastown-operator",
        "--ignore-not-found",
        "--output=jsonpath={.spec.holderIdentity}",
    )
    eventually(
        lambda: kubectl("--namespace", NAMESPACE, *held).startswith(tuple(names)),
        "one of them holds the lease",
    )


def test_its_rights_end_at_its_namespaces_and_its_credentials(deployed: Deployed) -> None:
    account = f"--as=system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"

    def may(*words: str) -> bool:
        return (
            subprocess.run(["kubectl", "auth", "can-i", account, "--quiet", *words], check=False).returncode
            == 0
        )

    work, credential = f"--namespace={deployed.rig.namespace}", f"secret/{deployed.credential}"
    assert may("create", "pods", work)
    assert not may("create", "pods", "--namespace=default")
    assert may("get", credential, f"--namespace={NAMESPACE}")
    assert not may("get", "secret/another", f"--namespace={NAMESPACE}")
    assert not may("list", "secrets", work)


def test_metrics_are_served_over_tls_to_whom_rbac_lets(deployed: Deployed) -> None:
    kubectl("--namespace", NAMESPACE, "create", "serviceaccount", READER)
    role = ("--clusterrole=gastown-operator-metrics-reader", f"--serviceaccount={NAMESPACE}:{READER}")
    kubectl("create", "clusterrolebinding", READER, *role)
    try:
        tokens = {
            name: kubectl("--namespace", NAMESPACE, "create", "token", name).strip()
            for name in (READER, "default")
        }
        address = operators(deployed.rig.site)[0]["status"]["podIP"]
        assert _asked(address, tokens["default"]) == 403
        eventually(lambda: _asked(address, tokens[READER]) == 200, "the reader is let in")
    finally:
        kubectl("delete", "clusterrolebinding", READER)
        kubectl("--namespace", NAMESPACE, "delete", "serviceaccount", READER)


def _asked(address: str, token: str) -> int:
    """Status of a request for the metrics; whose certificate it is does not matter here."""
    unverified = ssl._create_unverified_context()  # noqa: S323 - see above
    connection = HTTPSConnection(address, 8080, timeout=10, context=unverified)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
    status = connection.getresponse().status
    connection.close()
    return status
