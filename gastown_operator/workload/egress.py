"""The way to the git server over https: proxies of the environment, and whom to trust besides the system's authorities.

For ssh there is no proxy. A proxy's password is in the environment alone: git passes it to nobody, and prints the proxy's host at most.
"""

import ssl
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from gastown_operator.workload import layout

CA_FILE: Final = "GASTOWN_CA_FILE"
#: Read where Python's own path is not there, as on other distributions than the image's.
_SYSTEM: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_PROXIES: Final = ("https_proxy", "http_proxy", "no_proxy")


def egress_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What git and curl are to know of the surroundings: curl reads `http_proxy` in small letters alone."""
    found = {name: environment.get(name) or environment.get(name.upper(), "") for name in _PROXIES}
    found["SSL_CERT_FILE"] = environment.get("SSL_CERT_FILE", "")
    return {name: text for name, text in found.items() if text}


def egress_configuration(environment: Mapping[str, str], private: Path = layout.PRIVATE) -> dict[str, str]:
    """Git's setting for the authorities of GASTOWN_CA_FILE and the system's; a setting for one URL goes before it.

    Nothing where the file is not there: the ConfigMap is optional, and git's own message then says that the server is not trusted.
    """
    own = Path(environment.get(CA_FILE) or "/nonexistent")
    try:
        changed = own.stat().st_mtime_ns
    except OSError:
        return {}
    system = Path(environment.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or _SYSTEM)
    return {"http.sslCAInfo": str(_bundle(own, changed, system, private))}


@lru_cache(maxsize=4)
def _bundle(own: Path, _changed: int, system: Path, private: Path) -> Path:
    """A file with the authorities of both, since git takes one file alone; it is written again when ours has changed."""
    parts = [path.read_bytes().rstrip() + b"\n" for path in (system, own) if path.is_file()]
    bundle, fresh = private / "authorities.crt", private / ".authorities.crt.new"
    fresh.write_bytes(b"".join(parts))
    fresh.rename(bundle)
    return bundle
