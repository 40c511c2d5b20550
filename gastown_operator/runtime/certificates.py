"""The certificate of a TLS server: read from files, and read again when they change, while the server runs."""

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Self

from attrs import define, field, frozen
from prometheus_client import CollectorRegistry, Counter

from gastown_operator.runtime.clock import Clock
from gastown_operator.runtime.errors import ConfigurationError

CERTIFICATE = "tls.crt"  # the names in a Secret of type kubernetes.io/tls
KEY = "tls.key"
CHECK_INTERVAL = 10.0
"""Seconds between two looks at the files (controller-runtime pkg/certwatcher)."""

logger: logging.Logger = logging.getLogger(__name__)


class _UnusablePairError(Exception):
    """The files cannot be served; the text says why."""


@frozen
class _Pair:
    """A certificate and its key as they are on disk, and a digest that tells them from others."""

    certificate: Path
    key: Path
    digest: bytes

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read both files; from one version of a mounted Secret, which the kubelet swaps as a whole (`..data`)."""
        version = directory / "..data"
        root = version.resolve() if version.exists() else directory
        certificate, key = root / CERTIFICATE, root / KEY
        with _explained(directory):
            text = b"\0".join((certificate.read_bytes(), key.read_bytes()))
        return cls(certificate, key, sha256(text).digest())

    def context(self) -> ssl.SSLContext:
        """Return a server context of this pair: TLS 1.2 or later, HTTP/1.1."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        with _explained(self.certificate.parent):
            # Without a password callback, OpenSSL would ask the terminal for the password of an encrypted key.
            context.load_cert_chain(self.certificate, self.key, password=lambda: "")
        return context


@frozen
class _Reads:
    """controller-runtime's counters of its certificate watcher."""

    reads: Counter
    errors: Counter

    @classmethod
    def on(cls, registry: CollectorRegistry) -> Self:
        return cls(
            Counter("certwatcher_read_certificate", "Reads of the certificate", registry=registry),
            Counter(
                "certwatcher_read_certificate_errors",
                "Reads of the certificate that found nothing usable",
                registry=registry,
            ),
        )


@define(eq=False, repr=False)
class ServingCertificate:
    """Gives each TLS handshake the pair that is in the directory; a broken new pair leaves the old one in place.

    The files are looked at when somebody connects, `CHECK_INTERVAL` after the last look: no task to supervise, and
    nothing to do while nobody asks. A pair gets a context of its own, because a context that loads a pair of
    another key type keeps the old one beside it.
    """

    _directory: Path
    _clock: Clock
    _reads: _Reads
    _digest: bytes
    _current: ssl.SSLContext
    _checked: float
    _problem: str = ""
    context: ssl.SSLContext = field(init=False)

    @classmethod
    def load(cls, directory: Path, clock: Clock, registry: CollectorRegistry) -> Self:
        """Read the first pair. Raises ConfigurationError if it cannot be served."""
        reads = _Reads.on(registry)
        reads.reads.inc()
        try:
            pair = _Pair.read(directory)
            context = pair.context()
        except _UnusablePairError as error:
            raise ConfigurationError(
                f"cannot serve TLS: {error}. Mount a Secret of type kubernetes.io/tls there "
                "(cert-manager makes and renews one), or serve without TLS"
            ) from error
        return cls(directory, clock, reads, pair.digest, context, clock.monotonic())

    def __attrs_post_init__(self) -> None:
        """Make the context that a listener keeps: it hands over to the current one in each handshake."""
        self.context = self._current
        self.context.sni_callback = self._hand_over

    def refresh(self) -> None:
        """Take a changed pair into use. What is wrong with it is counted each time, and logged once."""
        now = self._clock.monotonic()
        if now - self._checked < CHECK_INTERVAL:
            return
        self._checked = now
        self._reads.reads.inc()
        try:
            self._take(_Pair.read(self._directory))
        except _UnusablePairError as error:
            self._reads.errors.inc()
            if str(error) != self._problem:
                logger.error("the certificate in use stays: %s", error)  # noqa: TRY400 - the text is the cause
            self._problem = str(error)
        else:
            self._problem = ""

    def _take(self, pair: _Pair) -> None:
        if pair.digest == self._digest:
            return
        self._current = pair.context()
        self._digest = pair.digest
        logger.info("serving with the new certificate in %s", self._directory)

    def _hand_over(
        self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _: ssl.SSLContext
    ) -> None:
        """OpenSSL calls this in every handshake, also for a client that names no server."""
        self.refresh()
        connection.context = self._current


@contextmanager
def _explained(directory: Path) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        raise _UnusablePairError(
            f"{CERTIFICATE} and {KEY} in {directory} are no pair in PEM: {reason}"
        ) from error
    except OSError as error:
        raise _UnusablePairError(f"{error.filename}: {error.strerror}") from error
