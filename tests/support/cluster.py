"""What tests ask of a cluster beyond single objects: readable lists, logs, and commands of kubectl."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlencode

import pytest
from attrs import frozen

from gastown_operator.runtime.objects import PartialObject, Resource
from tests.apiserver.client import JSON, Client

SECRET = Resource("", "v1", "Secret", "secrets", namespaced=True, project=PartialObject.project)
SERVICE_ACCOUNT = Resource(
    "", "v1", "ServiceAccount", "serviceaccounts", namespaced=True, project=PartialObject.project
)
CONFIG_MAP = Resource("", "v1", "ConfigMap", "configmaps", namespaced=True, project=PartialObject.project)


def kubectl(*arguments: str, stdin: str = "") -> str:
    """Return what kubectl prints. Raises AssertionError with its complaint."""
    ran = subprocess.run(["kubectl", *arguments], input=stdin, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"kubectl {' '.join(arguments)}: {ran.stderr.strip()}"
    return ran.stdout


def environment(name: str, how: str) -> str:
    """Return a variable that `hack/cluster exec` sets; without it the whole run ends with a line that says how to start it."""
    value = os.environ.get(name, "")
    if not value:
        pytest.exit(f"{name} is not set: run `{how}`", 4)
    return value


@frozen
class Cluster:
    """One cluster, as the user of KUBECONFIG sees it."""

    client: Client

    def get(self, resource: Resource[Any], namespace: str, name: str) -> JSON | None:
        """Return an object, or None where there is none."""
        answer = self.client.request("GET", resource.path(namespace, name))
        return None if answer.status == 404 else answer.object()

    def objects(self, resource: Resource[Any], namespace: str, **selectors: str) -> list[JSON]:
        """Return the objects of a namespace that the selectors (`fieldSelector`, `labelSelector`) choose."""
        query = f"?{urlencode(selectors)}" if selectors else ""
        items: list[JSON] = self.client.request("GET", resource.path(namespace) + query).object()["items"]
        return items

    def create(self, resource: Resource[Any], body: JSON) -> JSON:
        """Create an object in the namespace that its metadata names."""
        return self.client.create(resource, body).object()

    def delete(
        self, resource: Resource[Any], namespace: str, name: str, options: Mapping[str, int] | None = None
    ) -> None:
        """Ask for an object's deletion; one that is gone already is as good."""
        answer = self.client.request("DELETE", resource.path(namespace, name), options)
        assert answer.ok or answer.status == 404, answer.message

    def log(self, namespace: str, pod: str, container: str) -> str:
        """Return what a container has printed, or nothing while it has not started."""
        query = urlencode({"container": container})
        with self.open(f"/api/v1/namespaces/{namespace}/pods/{pod}/log?{query}") as answer:
            text = answer.read().decode(errors="replace")
            return text if answer.status == 200 else ""

    @contextmanager
    def open(self, path: str, *, timeout: float = 30) -> Iterator[HTTPResponse]:
        """An answer to be read as it comes."""
        with closing(HTTPConnection("127.0.0.1", self.client.port, timeout=timeout)) as connection:
            connection.request("GET", path)
            yield connection.getresponse()


@contextmanager
def connect() -> Iterator[Cluster]:
    """The cluster of KUBECONFIG, through a `kubectl proxy` of this process."""
    with subprocess.Popen(["kubectl", "proxy", "--port=0"], stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            line = proxy.stdout.readline()
            match = re.search(r":(\d+)\s*$", line)
            assert match, f"kubectl proxy did not start: {line!r}"
            yield Cluster(Client(int(match[1])))
        finally:
            proxy.terminate()
