"""Certificates for tests of TLS servers: self-signed, for 127.0.0.1, made with the openssl program."""

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Literal

from attrs import frozen

_KINDS = {"ec": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), "rsa": ("rsa:2048",)}


@frozen
class KeyPair:
    """A certificate and its key."""

    certificate: Path
    key: Path

    def trusting(self) -> ssl.SSLContext:
        """Return a client's context that trusts this certificate alone."""
        return ssl.create_default_context(cafile=str(self.certificate))


def make_pair(directory: Path, name: str, kind: Literal["ec", "rsa"] = "ec", password: str = "") -> KeyPair:
    """Make a pair whose certificate is named so."""
    directory.mkdir(exist_ok=True)
    pair = KeyPair(directory / f"{name}.crt", directory / f"{name}.key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", *_KINDS[kind], "-days", "1", "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *(("-passout", f"pass:{password}") if password else ("-nodes",)),
            *("-keyout", str(pair.key), "-out", str(pair.certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return pair


@frozen
class MountedSecret:
    """A directory as the kubelet makes it of a Secret: links into `..data`, itself a link that is swapped at once."""

    directory: Path

    def write(self, version: str, certificate: Path | None, key: Path | None) -> None:
        """Swap to a version with these files."""
        files = {"tls.crt": certificate, "tls.key": key}
        folder = self.directory / f"..{version}"
        folder.mkdir(parents=True)
        for name, source in files.items():
            if source is not None:
                shutil.copy(source, folder / name)
            if not (self.directory / name).is_symlink():
                (self.directory / name).symlink_to(Path("..data") / name)
        swapped = self.directory / "..data_tmp"
        swapped.symlink_to(folder.name)
        swapped.replace(self.directory / "..data")
