"""The way to the provider: proxies of the environment, and whom to trust."""

import ssl
from collections.abc import Mapping
from urllib.request import getproxies_environment

from attrs import frozen
from yarl import URL


@frozen
class Proxies:
    """Proxies by scheme, and the hosts that are reached without.

    Args:
        by_scheme: as `urllib.request.getproxies_environment` returns them, with the key `no`.
    """

    by_scheme: Mapping[str, str]

    @classmethod
    def from_environment(cls) -> "Proxies":
        """HTTPS_PROXY, HTTP_PROXY and NO_PROXY (names and suffixes, not ranges), in either case."""
        return cls(getproxies_environment())

    def proxy_for(self, url: URL) -> URL | None:
        """The proxy through which `url` is reached; None for none."""
        proxy = self.by_scheme.get(url.scheme)
        if not proxy or _bypassed(url, self.by_scheme.get("no", "")):
            return None
        return URL(proxy if "://" in proxy else f"http://{proxy}")


def trust(ca_file: str) -> ssl.SSLContext:
    """The system's authorities (or those of SSL_CERT_FILE), and those of `ca_file` besides.

    Raises:
        ValueError: the file cannot be read, or has no certificate; the message names it.
    """
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:
            said = f"GASTOWN_CA_FILE {ca_file} cannot be used ({error}); put certificates under ca.crt into the CA ConfigMap"
            raise ValueError(said) from error
    return context


def _bypassed(url: URL, no_proxy: str) -> bool:
    """Whether NO_PROXY names the host: `*`, a name with all that is below it, either with a port."""
    host = url.host or ""
    names = [name.strip().lower().removeprefix("*").removeprefix(".") for name in no_proxy.split(",")]
    if "*" in no_proxy.split(","):
        return True
    ours = (host, f"{host}:{url.port}")
    return any(one == name or one.endswith(f".{name}") for name in filter(None, names) for one in ours)
