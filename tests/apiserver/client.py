"""A small synchronous client for tests: it speaks to the API server through `kubectl proxy`, so any kubeconfig will do."""

import json
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

from attrs import frozen

from gastown_operator.runtime.objects import Resource
from tests.support.waiting import eventually

JSON = dict[str, Any]

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@frozen
class Response:
    """What the API server answered."""

    status: int
    body: JSON

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def message(self) -> str:
        """Why the server refused."""
        return str(self.body.get("message", ""))

    @property
    def causes(self) -> list[tuple[str, str]]:
        """Field and message of each thing that the server found invalid."""
        causes = self.body.get("details", {}).get("causes", [])
        return [(cause.get("field", ""), cause.get("message", "")) for cause in causes]

    def object(self) -> JSON:
        """Return the object. Raises AssertionError if the server refused."""
        assert self.ok, f"{self.status}: {self.message}"
        return self.body


@frozen
class Client:
    """Requests to the API server at a local port."""

    port: int

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Response:
        """Send one request and read its whole answer."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            headers = {"Content-Type": content_type, "Accept": accept}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            text = answer.read()
        try:
            decoded = json.loads(text)
        except ValueError:
            decoded = {"message": text.decode(errors="replace")}
        return Response(answer.status, decoded)

    def create(self, resource: Resource[Any], body: JSON, *, dry_run: bool = False) -> Response:
        """Create an object in the namespace that its metadata names."""
        path = resource.path(body["metadata"].get("namespace", ""))
        named = {"apiVersion": resource.api_version, "kind": resource.kind}
        return self.request("POST", path + ("?dryRun=All" if dry_run else ""), named | body)

    def get(self, resource: Resource[Any], stored: JSON) -> JSON:
        """Read an object anew."""
        return self.request("GET", path_of(resource, stored)).object()

    def patch(self, resource: Resource[Any], stored: JSON, change: JSON, subresource: str = "") -> Response:
        """Change an object by a JSON merge patch."""
        path = path_of(resource, stored, subresource)
        return self.request("PATCH", path, change, content_type=MERGE_PATCH)

    def apply_status(self, resource: Resource[Any], stored: JSON, status: JSON, manager: str) -> Response:
        """Apply a status on the server as the given field manager."""
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": stored["metadata"]["name"]},
            "status": status,
        }
        path = f"{path_of(resource, stored, 'status')}?fieldManager={manager}&force=true"
        return self.request("PATCH", path, body, content_type=APPLY_PATCH)

    def apply(self, path: str, body: JSON) -> JSON:
        """Apply a whole object on the server."""
        query = "?fieldManager=gastown-tests&force=true"
        return self.request("PATCH", path + query, body, content_type=APPLY_PATCH).object()


def path_of(resource: Resource[Any], stored: JSON, subresource: str = "") -> str:
    """Return the URL path of an object that the server has returned."""
    metadata = stored["metadata"]
    return resource.path(metadata.get("namespace", ""), metadata["name"], subresource)


def await_served(client: Client, crd: JSON) -> None:
    """Wait until the kind is established and its objects can be listed."""
    name, spec = crd["metadata"]["name"], crd["spec"]
    listing = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"

    def served() -> bool:
        conditions = (
            client.request("GET", f"{CRDS}/{name}").object().get("status", {}).get("conditions") or []
        )
        established = any(
            entry["type"] == "Established" and entry["status"] == "True" for entry in conditions
        )
        return established and client.request("GET", listing).ok

    eventually(served, f"{name} is served")
