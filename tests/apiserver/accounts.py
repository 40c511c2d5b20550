"""ServiceAccounts with rights that a test gives, takes away and gives back, and their tokens as a pod has them."""

import base64
import json
from pathlib import Path
from urllib.parse import urlsplit

import anyio
from attrs import define

from gastown_operator.runtime.client import Client
from gastown_operator.runtime.clock import Clock, SystemClock
from gastown_operator.runtime.configuration import Connection, from_service_account
from gastown_operator.runtime.objects import ObjectKey, PartialObject, Raw, Resource
from tests.apiserver.rights import REVIEW, allowed, questions
from tests.support.cluster import SERVICE_ACCOUNT, kubectl

RBAC = "rbac.authorization.k8s.io"
ROLE = Resource(RBAC, "v1", "Role", "roles", namespaced=True, project=PartialObject.project)
BINDING = Resource(RBAC, "v1", "RoleBinding", "rolebindings", namespaced=True, project=PartialObject.project)
BLOCK_DELETION: Raw = {"apiGroups": [""], "resources": ["configmaps/finalizers"], "verbs": ["update"]}
COPIER_RULES: tuple[Raw, ...] = (
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch", "create"]},
    BLOCK_DELETION,
    {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
)


@define
class Account:
    """A ServiceAccount and the one Role that it has, in its namespace."""

    admin: Client
    namespace: str
    name: str = "copier"

    @property
    def user(self) -> str:
        """What the API server calls it."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    async def create(self, *rules: Raw) -> None:
        """Make it, with a Role of these rules, which it has when this returns."""
        metadata = {"name": self.name, "namespace": self.namespace}
        await self.admin.create(SERVICE_ACCOUNT, {"metadata": metadata}, "test")
        await self.admin.create(ROLE, {"metadata": metadata, "rules": list(rules)}, "test")
        await self.give()
        for question in questions(self.user, rules, self.namespace):
            await self._until_allowed(question)

    async def _until_allowed(self, question: Raw) -> None:
        with anyio.fail_after(60):
            while True:
                if allowed(await self.admin.create(REVIEW, question, "test")):
                    return
                await anyio.sleep(0.02)

    async def give(self) -> None:
        """Give it its Role."""
        metadata = {"name": self.name, "namespace": self.namespace}
        role = {"apiGroup": RBAC, "kind": "Role", "name": self.name}
        subject = {"kind": "ServiceAccount", "name": self.name, "namespace": self.namespace}
        body = {"metadata": metadata, "roleRef": role, "subjects": [subject]}
        await self.admin.create(BINDING, body, "test")

    async def take(self) -> None:
        """Take its Role away."""
        await self.admin.delete(BINDING, ObjectKey(self.namespace, self.name))

    async def limit(self, *rules: Raw) -> None:
        """Change what its Role allows."""
        await self.admin.merge_patch(
            ROLE, ObjectKey(self.namespace, self.name), {"rules": list(rules)}, "test"
        )

    def token(self, secret: str = "") -> str:
        """Return a new token; one that is bound to a Secret is void once that is deleted."""
        bound = ("--bound-object-kind=Secret", f"--bound-object-name={secret}") if secret else ()
        return kubectl("create", "token", self.name, f"--namespace={self.namespace}", *bound).strip()

    def mounted(self, directory: Path, direct: Connection, clock: Clock | None = None) -> Connection:
        """Return the connection of a pod that has this account and a token of it mounted at `directory`."""
        config = json.loads(kubectl("config", "view", "--minify", "--raw", "--flatten", "--output=json"))
        authority = config["clusters"][0]["cluster"]["certificate-authority-data"]
        (directory / "ca.crt").write_bytes(base64.b64decode(authority))
        (directory / "namespace").write_text(self.namespace)
        mount(directory, self.token())
        address = urlsplit(direct.server)
        environment = {
            "KUBERNETES_SERVICE_HOST": address.hostname or "",
            "KUBERNETES_SERVICE_PORT": str(address.port),
        }
        return from_service_account(environment, clock or SystemClock(), directory)


def mount(directory: Path, token: str) -> None:
    """Put a token where the mounted one is, as the kubelet does: at once."""
    fresh = directory / "token.new"
    fresh.touch(mode=0o600)
    fresh.write_text(token)
    fresh.rename(directory / "token")
