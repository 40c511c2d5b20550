"""A working installation for tests: a cluster with our CRDs and rights, an operator, and a git server beside it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from attrs import define, field

from gastown_operator.api.core import NAMESPACE
from gastown_operator.api.polecat import POLECAT
from gastown_operator.api.rig import RIG
from hack.git_server.openssh import prepare
from hack.git_server.server import GitServer
from hack.git_server.ssh import generate_key
from hack.lab.progress import Progress
from tests.apiserver.client import JSON
from tests.support.cluster import CONFIG_MAP, SECRET, SERVICE_ACCOUNT, Cluster, connect
from tests.support.installation import install, operator_kubeconfig
from tests.support.operator_process import OperatorProcess
from tests.support.polecats import PolecatHandle
from tests.support.waiting import eventually

SECRET_NAME = "git-credentials"
KNOWN_HOSTS_NAME = "known-hosts"
FILES = {"README.md": "A project.\n"}
#: As `hack/images` names it on a lab cluster.
WORKLOAD_IMAGE = "localhost/gastown-workload:dev"
#: The shortest agent that does its work.
WORK = "echo done > work.txt && git add work.txt && git commit --quiet --message 'Do the work'"


def agent(script: str) -> JSON:
    """The part of a Polecat's spec that runs shell text as its agent."""
    return {"agent": "custom", "agentConfig": {"command": ["sh", "-c", script]}}


@define
class RigHandle:
    """A Rig with a namespace of its own, where PodSecurity `restricted` is enforced."""

    site: "Site"
    name: str
    namespace: str
    repository: str

    def sling(self, name: str, script: str = WORK, **spec: Any) -> PolecatHandle:
        """Create a Polecat that shall work; `spec` replaces what it would have by default."""
        body = {
            "metadata": {"namespace": self.namespace, "name": name},
            "spec": {
                "rig": self.name,
                "desiredState": "Working",
                "taskDescription": f"Do what {name} is for.",
                **agent(script),
                **spec,
            },
        }
        stored = self.site.cluster.create(POLECAT, body)
        return PolecatHandle(
            self.site.cluster, self.namespace, name, stored["metadata"]["uid"], self.site.touched
        )

    def secret(self, name: str, data: Mapping[str, str]) -> None:
        """Create a Secret."""
        metadata = {"namespace": self.namespace, "name": name}
        self.site.cluster.create(SECRET, {"metadata": metadata, "stringData": dict(data)})

    @property
    def refs(self) -> dict[str, str]:
        """What the git server holds of its repository."""
        return self.site.git.refs(self.repository)

    def files(self, revision: str) -> set[str]:
        """Return the names of all files in a revision on the git server."""
        return set(self.site.git.git(self.repository, "ls-tree", "-r", "--name-only", revision).splitlines())


@define
class Site:
    """The pieces, and what makes new rigs on them."""

    cluster: Cluster
    git: GitServer
    operator: OperatorProcess
    key: str
    directory: Path
    address: str
    touched: list[PolecatHandle] = field(init=False, factory=list)
    _namespaces: list[str] = field(init=False, factory=list)
    _rigs: list[str] = field(init=False, factory=list)

    def rig(
        self,
        name: str,
        *,
        url: str = "",
        over_https: bool = False,
        secret: Mapping[str, str] | None = None,
        known_hosts: str | None = None,
        spec: Mapping[str, Any] | None = None,
    ) -> RigHandle:
        """Create a Rig with a namespace, a repository and the credential for it.

        Args:
            name: begins the names of all of them.
            url: of the repository; by default a new one's.
            over_https: whether the new one is reached by HTTPS; by SSH otherwise.
            secret: contents of its git Secret; by default the key that the server accepts; empty for no Secret.
            known_hosts: lines of known_hosts; by default the server's; empty for no ConfigMap.
            spec: fields of the Rig's spec that are added or replaced.
        """
        unique = f"{name}-{uuid4().hex[:6]}"
        self.cluster.create(NAMESPACE, _restricted(unique))
        self._namespaces.append(unique)
        self.git.create_repository(unique, FILES)
        # A controller gives it to the new namespace; until then the API server refuses pods, and says so after a second.
        eventually(
            lambda: self.cluster.get(SERVICE_ACCOUNT, unique, "default"), "the namespace's ServiceAccount"
        )
        served = self.git.https_url if over_https else self.git.ssh_url
        rig = RigHandle(self, unique, unique, unique)
        if secret is None or secret:
            rig.secret(SECRET_NAME, secret or {"ssh-privatekey": self.key})
        lines = self.git.known_hosts_line() if known_hosts is None else known_hosts
        if lines:
            metadata = {"namespace": unique, "name": KNOWN_HOSTS_NAME}
            self.cluster.create(CONFIG_MAP, {"metadata": metadata, "data": {"known_hosts": lines}})
        self.cluster.create(RIG, _rig(unique, url or served(unique), self.address, spec or {}))
        self._rigs.append(unique)
        return rig

    def remove(self) -> None:
        """Ask for the deletion of everything that was made, without waiting for it."""
        for name in self._namespaces:
            self.cluster.delete(NAMESPACE, "", name)
        for name in self._rigs:
            self.cluster.delete(RIG, "", name)


def _restricted(name: str) -> JSON:
    return {"metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}


def _rig(name: str, url: str, address: str, spec: Mapping[str, Any]) -> JSON:
    """The servers beside a test are at `address`, which is inside of the ranges that policies block."""
    pods = {"sshKnownHostsConfigMapRef": {"name": KNOWN_HOSTS_NAME}}
    return {
        "metadata": {"name": name},
        "spec": {
            "gitURL": url,
            "beadsPrefix": "gt",
            "workNamespace": name,
            "defaults": {"kubernetes": pods},
            "network": {"allow": [{"cidr": f"{address}/32"}]},
            **spec,
        },
    }


@contextmanager
def open_site(directory: Path, git_address: str, operator_arguments: Sequence[str]) -> Iterator[Site]:
    """Install, start the git server and the operator, and take all of it down at the end."""
    prepare(Progress("git server"))
    install()
    key = generate_key(directory / "key")
    operator = OperatorProcess(operator_kubeconfig(directory), directory / "operator.log", operator_arguments)
    with connect() as cluster, GitServer(directory / "git", git_address) as git:
        git.authorize(key.public)
        operator.start()
        site = Site(cluster, git, operator, key.private.read_text(), directory, git_address)
        try:
            yield site
        finally:
            site.remove()
            status = operator.stop()
            assert status == 0, f"the operator ended with {status}: {operator.tail()}"
