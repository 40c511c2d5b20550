"""The few calls of the Kubernetes API that the lab itself makes."""

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any

from hack.lab.errors import LabError
from hack.lab.layout import API_PORT, NODE_ADDRESS
from hack.lab.netns import NetworkNamespace
from hack.lab.pki import Pki


def answers(netns: NetworkNamespace, port: int, path: str) -> bool:
    """Whether a program inside says 200 on this port of its loopback address."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        with netns.entered():
            connection.connect()
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class ApiError(LabError):
    """The apiserver could not be reached, or refused."""


@dataclass(frozen=True)
class Api:
    """A client with the administrator's certificate; its sockets are made inside the network namespace."""

    netns: NetworkNamespace
    pki: Pki
    timeout: float = 5

    def get(self, path: str) -> Any:
        """The object or list at this path."""
        return json.loads(self._request("GET", path))

    def ready(self) -> bool:
        """Whether the apiserver says that it is."""
        try:
            return self._request("GET", "/readyz") == b"ok"
        except ApiError:
            return False

    def apply(self, path: str, manifest: dict[str, Any], subresource: str = "") -> None:
        """Server-side apply of one object to the path of its collection; `subresource` such as `/status`."""
        path = f"{path}/{manifest['metadata']['name']}{subresource}?fieldManager=lab&force=true"
        self._request("PATCH", path, json.dumps(manifest), "application/apply-patch+yaml")

    def _request(
        self, verb: str, path: str, body: str | None = None, content_type: str = "application/json"
    ) -> bytes:
        connection = http.client.HTTPSConnection(
            NODE_ADDRESS, API_PORT, timeout=self.timeout, context=self._tls()
        )
        try:
            with self.netns.entered():
                connection.connect()
            connection.request(verb, path, body, {"Content-Type": content_type, "User-Agent": "hack/cluster"})
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(f"the apiserver cannot be reached ({error}): see `hack/cluster status`") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise ApiError(f"{verb} {path}: {response.status} {answer[:300].decode(errors='replace')}")
        return answer

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.pki.certificate("ca")))
        context.load_cert_chain(self.pki.certificate("admin"), self.pki.key("admin"))
        return context
