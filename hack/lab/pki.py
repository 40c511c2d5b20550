"""Certificates and keys of one cluster, made with the openssl program; all live as long as the cluster."""

import base64
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hack.lab.layout import API_PORT, API_SERVICE_ADDRESS, NODE_ADDRESS, NODE_NAME

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
_DAYS = "365"
_CONFIG = "[req]\ndistinguished_name = name\n[name]\n"  # instead of the machine's, which may add extensions


@dataclass(frozen=True)
class Identity:
    """Who a client certificate speaks for: a user and at most one group of Kubernetes."""

    file: str
    user: str
    group: str = ""

    @property
    def subject(self) -> str:
        """The subject as openssl wants it; the group is the organization."""
        return (f"/O={self.group}" if self.group else "") + f"/CN={self.user}"


CLIENTS = (
    Identity("admin", "lab-admin", "system:masters"),
    Identity("kube-apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
    Identity("kube-controller-manager", "system:kube-controller-manager"),
    Identity("kube-scheduler", "system:kube-scheduler"),
    Identity("kube-proxy", "system:kube-proxy"),
    Identity("kubelet", f"system:node:{NODE_NAME}", "system:nodes"),
    Identity("coredns", "system:coredns"),
    Identity("kwok", "kwok", "system:masters"),
)

API_NAMES = (
    "DNS:kubernetes",
    "DNS:kubernetes.default",
    "DNS:kubernetes.default.svc",
    "DNS:kubernetes.default.svc.cluster.local",
    "DNS:localhost",
    "IP:127.0.0.1",
    f"IP:{NODE_ADDRESS}",
    f"IP:{API_SERVICE_ADDRESS}",
)


@dataclass(frozen=True)
class Pki:
    """The files below `directory`: NAME.crt and NAME.key for the authority, the servers and the clients."""

    directory: Path

    def certificate(self, name: str) -> Path:
        """The certificate's file."""
        return self.directory / f"{name}.crt"

    def key(self, name: str) -> Path:
        """The private key's file."""
        return self.directory / f"{name}.key"

    @property
    def _config(self) -> Path:
        return self.directory / "openssl.cnf"

    def create(self) -> None:
        """Make the authority, every certificate, and the key that signs service-account tokens."""
        self.directory.mkdir(mode=0o700)
        self._config.write_text(_CONFIG)
        self._request(
            "ca", "/CN=lab-ca", "basicConstraints=critical,CA:true", "keyUsage=critical,keyCertSign,cRLSign"
        )
        self._serving("kube-apiserver", API_NAMES)
        self._serving("kubelet-server", (f"DNS:{NODE_NAME}", f"IP:{NODE_ADDRESS}", "IP:127.0.0.1"))
        for client in CLIENTS:
            self._request(client.file, client.subject, "extendedKeyUsage=clientAuth", signed=True)
        self._request("service-account", "/CN=service-account")

    def kubeconfig(self, client: str) -> str:
        """A kubeconfig (JSON, which is YAML) with the client's certificate inside; any program may copy it."""
        cluster = {
            "server": f"https://{NODE_ADDRESS}:{API_PORT}",
            "certificate-authority-data": _inline(self.certificate("ca")),
        }
        user = {
            "client-certificate-data": _inline(self.certificate(client)),
            "client-key-data": _inline(self.key(client)),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": client, "user": user}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": client}}],
            "current-context": "lab",
        }
        return json.dumps(config, indent=1)

    def _serving(self, name: str, alternatives: tuple[str, ...]) -> None:
        self._request(
            name,
            f"/CN={name}",
            "extendedKeyUsage=serverAuth",
            f"subjectAltName={','.join(alternatives)}",
            signed=True,
        )

    def _request(self, name: str, subject: str, *extensions: str, signed: bool = False) -> None:
        """One key and one certificate, self-signed or signed by the authority."""
        authority = ["-CA", str(self.certificate("ca")), "-CAkey", str(self.key("ca"))] if signed else []
        leaf = ["basicConstraints=critical,CA:false"] if signed else []
        added = [argument for extension in [*leaf, *extensions] for argument in ("-addext", extension)]
        files = ["-keyout", str(self.key(name)), "-out", str(self.certificate(name))]
        request = [
            "openssl",
            "req",
            "-config",
            str(self._config),
            "-x509",
            *_KEY,
            "-days",
            _DAYS,
            "-subj",
            subject,
        ]
        subprocess.run([*request, *authority, *added, *files], check=True, capture_output=True)


def _inline(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
