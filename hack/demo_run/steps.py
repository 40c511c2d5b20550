"""The steps between a cluster that is up and a polecat that is at work; each can be used alone."""

import sys
from dataclasses import dataclass

from hack.demo_run import objects
from hack.demo_run.errors import DemoError
from hack.demo_run.kubectl import Kubectl
from hack.demo_run.programs import stream
from hack.demo_run.servers import Servers

OPERATOR_NAMESPACE = "gastown-system"
WORK_NAMESPACE = "gastown-workers"
OPERATOR = "deployment/gastown-operator"


@dataclass(frozen=True)
class Images:
    """The images that the cluster shall run."""

    operator: str
    workload: str
    agent: str

    def make_arguments(self) -> list[str]:
        """Return them as `make deploy` takes them."""
        return [f"IMG={self.operator}", f"WORKLOAD_IMG={self.workload}", f"AGENT_IMG={self.agent}"]


def install() -> None:
    """Apply the CRDs."""
    _make("install")


def deploy(images: Images) -> None:
    """Deploy the operator under its shipped rights, and return when it is available."""
    try:
        _make("deploy", *images.make_arguments())
    except DemoError as error:
        kubectl = Kubectl(OPERATOR_NAMESPACE)
        pods = kubectl.run("get", "pods", "--output=wide")
        log = kubectl.run("logs", OPERATOR, "--all-pods", "--tail=20", "--ignore-errors")
        raise DemoError(f"the operator does not become available: {error}\n{pods}{log}") from error


def remove_former(kubectl: Kubectl, polecat: str, rig: str) -> None:
    """Remove what an earlier run left. Its git server is gone, so a pod that still tries to push gets no time."""
    kubectl.delete(f"polecat/{polecat}", "--timeout=60s")
    kubectl.delete(f"pod/polecat-{polecat}", "--grace-period=0", "--force")
    kubectl.delete(f"rig/{rig}", "--timeout=60s")
    kubectl.delete(*(f"secret/{name}" for name in (objects.GIT_SECRET, objects.PROVIDER_SECRET)))
    kubectl.delete(f"configmap/{objects.KNOWN_HOSTS}")


def introduce(kubectl: Kubectl, rig: str, servers: Servers) -> None:
    """Make the Rig of the servers' repository, with the credentials that its polecats use."""
    given = [
        objects.git_secret(kubectl.namespace, servers.key.private.read_text()),
        objects.known_hosts(kubectl.namespace, servers.git.known_hosts_line()),
    ]
    if servers.model is not None:
        given.append(objects.provider_secret(kubectl.namespace, servers.model.key))
    endpoint = servers.model.url if servers.model else ""
    kubectl.apply(*given, objects.rig(rig, servers.url, endpoint=endpoint))


def _make(*arguments: str) -> None:
    command = ["make", "--no-print-directory", *arguments, f"PYTHON={sys.executable}"]
    said: list[str] = []
    try:
        stream(command, said.append)
    except DemoError as error:
        # Make's own last line only says that there was one.
        causes = [line for line in said if not line.startswith("make: ")]
        raise DemoError(causes[-1] if causes else str(error)) from error
