"""How to reach the API server: in a pod from the mounted service account, elsewhere from a kubeconfig.

In a pod this module does the loading itself: importing any part of kubernetes_asyncio imports its generated client, which
costs 38 MiB of memory. Kubeconfigs, with their exec plugins and auth providers, are left to that library, imported when used.
"""

import logging
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from attrs import define, field, frozen

from gastown_operator.runtime.clock import Clock, SystemClock
from gastown_operator.runtime.errors import ConfigurationError

logger: logging.Logger = logging.getLogger(__name__)

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_PERIOD = 60.0  # seconds between looks at a credential; the kubelet rotates tokens at 80 % of their life


class Credentials(Protocol):
    """Where the Authorization header comes from."""

    async def authorization(self) -> str | None:
        """Return the header's present value, or None if TLS alone authenticates. Raises ConfigurationError."""
        ...

    async def replaced(self, refused: str) -> bool:
        """Tell whether there is another value than the one that the server refused, looking anew if need be."""
        ...


@frozen
class NoCredentials:
    """TLS alone authenticates, or nothing does."""

    async def authorization(self) -> str | None:
        """Return None."""
        return None

    async def replaced(self, refused: str) -> bool:  # noqa: ARG002 - there is nothing to compare
        """Return False: there is nothing else to show."""
        return False


@frozen
class StaticToken:
    """A bearer token that is what it is."""

    value: str = field(repr=False)

    async def authorization(self) -> str | None:
        """Return the token."""
        return f"Bearer {self.value}"

    async def replaced(self, refused: str) -> bool:
        """Tell whether another token was refused."""
        return f"Bearer {self.value}" != refused


@frozen
class Connection:
    """A way to one API server. `namespace` is where this process lives, or the kubeconfig context's namespace."""

    server: str
    tls: ssl.SSLContext | None = None
    credentials: Credentials = NoCredentials()
    tls_server_name: str | None = None
    proxy: str | None = None
    namespace: str = "default"


@define
class TokenFile:
    """A bearer token that is rotated in its file; a failed look keeps the token that we have."""

    _path: Path
    _clock: Clock
    _token: str = ""
    _read_at: float = field(default=float("-inf"))

    async def authorization(self) -> str | None:
        """Return the token, at most `TOKEN_PERIOD` behind the file."""
        now = self._clock.monotonic()
        if now - self._read_at >= TOKEN_PERIOD:
            self._token = self._read() or self._token
            self._read_at = now
        if not self._token:
            raise ConfigurationError(f"no token in {self._path}")
        return f"Bearer {self._token}"

    async def replaced(self, refused: str) -> bool:
        """Read the file at once, in case that the kubelet has rotated the token."""
        if self._token and f"Bearer {self._token}" != refused:
            return True  # another call has looked already
        self._read_at = float("-inf")
        return await self.authorization() != refused

    def _read(self) -> str:
        try:
            token = self._path.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            logger.warning("cannot read the service account token: %s", error)
            return ""
        if not token.isprintable():
            logger.warning("cannot use the service account token: it has control characters")
            return ""
        return token


async def load_connection(
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    environment: Mapping[str, str] = os.environ,
    clock: Clock | None = None,
) -> Connection:
    """Find the API server as kubectl does: `kubeconfig`, $KUBECONFIG, the pod's service account, ~/.kube/config.

    Raises ConfigurationError, with one line that says which file is wrong and how.
    """
    chosen = kubeconfig or environment.get("KUBECONFIG")
    if chosen:
        return await from_kubeconfig(chosen, context, clock or SystemClock())
    if environment.get("KUBERNETES_SERVICE_HOST"):
        return from_service_account(environment, clock or SystemClock())
    usual = Path(environment.get("HOME", "/")) / ".kube" / "config"
    if usual.exists():
        return await from_kubeconfig(str(usual), context, clock or SystemClock())
    raise ConfigurationError(
        "no cluster: not in a pod, KUBECONFIG is not set, and there is no ~/.kube/config"
    )


def from_service_account(
    environment: Mapping[str, str], clock: Clock, directory: Path = SERVICE_ACCOUNT
) -> Connection:
    """Use the service account that is mounted into this pod. Raises ConfigurationError."""
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment.get("KUBERNETES_SERVICE_PORT", "443")
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    server = f"https://{authority}"
    try:
        tls = ssl.create_default_context(cafile=directory / "ca.crt")
        namespace = (directory / "namespace").read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"service account in {directory}: {error}") from error
    return Connection(server, tls, TokenFile(directory / "token", clock), None, _proxy(server), namespace)


async def from_kubeconfig(paths: str, context: str | None, clock: Clock) -> Connection:
    """Use a kubeconfig (several, separated by `:`, are merged). Raises ConfigurationError."""
    if not any(map(os.path.exists, paths.split(os.pathsep))):
        raise ConfigurationError(f"kubeconfig {paths}: no such file")
    from kubernetes_asyncio.client import Configuration  # noqa: PLC0415 - 38 MiB that a pod need not pay
    from kubernetes_asyncio.config import load_kube_config  # noqa: PLC0415

    configuration = Configuration()
    try:
        loader = await load_kube_config(
            config_file=paths, context=context, client_configuration=configuration, persist_config=False
        )
        tls = _tls(configuration)
        namespace = str(loader.current_context["context"].get("namespace") or "default")
    except Exception as error:  # the library reports a bad file by whatever exception it stumbles over
        problem = (
            " ".join(str(error).split()) or type(error).__name__
        )  # a YAML parser's message has several lines
        raise ConfigurationError(f"kubeconfig {paths}: {problem}") from error
    server = str(configuration.host).rstrip("/")
    return Connection(
        server=server,
        tls=tls,
        credentials=KubeconfigCredentials(loader, clock),
        tls_server_name=getattr(configuration, "tls_server_name", None),
        proxy=configuration.proxy or _proxy(server),
        namespace=namespace,
    )


@define
class KubeconfigCredentials:
    """The token of a kubeconfig's user; one from an exec plugin or auth provider is renewed before it expires."""

    _loader: Any
    _clock: Clock
    _checked_at: float = field(default=float("-inf"))

    async def authorization(self) -> str | None:
        """Return the header's value; None where the user has a client certificate instead."""
        now = self._clock.monotonic()
        if now - self._checked_at >= TOKEN_PERIOD:
            self._checked_at = now
            await self._renew()
        token: str | None = getattr(self._loader, "token", None)
        return token

    async def replaced(self, refused: str) -> bool:
        """Let the library look at once; it may keep what it has."""
        if getattr(self._loader, "token", None) != refused:
            return True
        self._checked_at = float("-inf")
        return await self.authorization() != refused

    async def _renew(self) -> None:
        """Let the library decide whether the token is due; it runs the plugin only near the expiry."""
        try:
            if self._loader.provider == "gcp":
                await self._loader.load_gcp_token()
            elif hasattr(self._loader, "exec_plugin_expiry"):
                await self._loader.load_from_exec_plugin()
        except Exception as error:  # noqa: BLE001 - whatever a plugin does, the present token may still be good
            logger.warning("cannot renew the kubeconfig's token: %s", error)


def _tls(configuration: Any) -> ssl.SSLContext | None:
    if not str(configuration.host).startswith("https://"):
        return None
    tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
    if configuration.cert_file:
        tls.load_cert_chain(configuration.cert_file, configuration.key_file)
    if not configuration.verify_ssl:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    return tls


def _proxy(server: str) -> str | None:
    """Return the proxy of the environment for this server, looked up once rather than at every request."""
    address = urlsplit(server)
    if address.hostname is None or proxy_bypass(address.netloc):
        return None
    return getproxies().get(address.scheme)
