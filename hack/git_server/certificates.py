"""A certificate authority of the server's own, and the certificate that it gives the server."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from hack.git_server.commands import ask

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
DAYS = "30"


@dataclass(frozen=True)
class Certificates:
    """PEM files: the authority, which clients trust, and the server's certificate with its key."""

    authority: Path
    certificate: Path
    key: Path


def ensure_certificates(directory: Path, address: str) -> Certificates:
    """Return the certificates in `directory` for a server at `address`, made on the first call."""
    files = Certificates(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    if files.certificate.exists():
        return files
    directory.mkdir(parents=True, exist_ok=True)
    authority_key = directory / "ca.key"
    ask(
        *("openssl", "req", "-x509", *NEW_KEY, "-days", DAYS, "-subj", "/CN=Gas Town test authority"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        *("-keyout", str(authority_key), "-out", str(files.authority)),
    )
    ask(
        *("openssl", "req", "-x509", *NEW_KEY, "-days", DAYS, "-subj", "/CN=git server"),
        *("-CA", str(files.authority), "-CAkey", str(authority_key)),
        *("-addext", f"subjectAltName={_name(address)}"),
        *("-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth"),
        *("-keyout", str(files.key), "-out", str(files.certificate)),
    )
    return files


def _name(address: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(address)}"
    except ValueError:
        return f"DNS:{address}"
