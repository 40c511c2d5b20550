"""The HTTPS side: git's own `http-backend` behind TLS and basic authentication."""

import base64
import binascii
import hmac
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from socketserver import TCPServer
from typing import IO, Any
from urllib.parse import urlsplit

from hack.git_server.certificates import Certificates
from hack.git_server.errors import GitServerError
from hack.git_server.repositories import ENVIRONMENT

CHUNK = 64 * 1024
# A client that says nothing for this long is gone.
IDLE_SECONDS = 60


class HttpsServer:
    """Serves `repositories` at `address` to the users of `accounts` (name to password)."""

    def __init__(self, repositories: Path, address: str, port: int, certificates: Certificates) -> None:
        self.accounts: dict[str, str] = {}
        self.certificates = certificates
        self.address = address
        self._server = _TlsServer((address, port), _Handler, certificates)
        self._server.repositories = repositories
        self._server.accounts = self.accounts
        self.port = int(self._server.server_address[1])
        self._thread: threading.Thread | None = None

    def url(self, name: str) -> str:
        """Return the URL of a repository."""
        return f"https://{self.address}:{self.port}/{name}.git"

    def start(self) -> None:
        """Begin to answer."""
        self._thread = threading.Thread(target=self._server.serve_forever, name="git-https", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the requests that run and close."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()


class _TlsServer(ThreadingHTTPServer):
    daemon_threads = True
    repositories: Path
    accounts: dict[str, str]

    def __init__(
        self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], certificates: Certificates
    ) -> None:
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificates.certificate, certificates.key)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind without asking for the address's name, as HTTPServer does: where no name server answers that takes 10 s."""
        TCPServer.server_bind(self)

    def get_request(self) -> tuple[socket, Any]:
        """Accept a connection; its handshake happens with its first read, in the thread of the connection."""
        connection, client = super().get_request()
        connection.settimeout(IDLE_SECONDS)
        return self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), client

    def shutdown_request(self, request: Any) -> None:
        """Say goodbye as TLS wants it, since the end of the connection is the end of the answer."""
        with suppress(OSError):  # the client may have gone first
            request.unwrap()
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that do not trust us or leave early are what tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _TlsServer

    def do_GET(self) -> None:
        """Serve one request of git's smart protocol."""
        self.close_connection = True
        user = self._user()
        if user is None:
            self._refuse(HTTPStatus.UNAUTHORIZED)
            return
        with tempfile.TemporaryFile() as body:
            for chunk in self._body():
                body.write(chunk)
            size = body.tell()
            body.seek(0)
            self._serve(user, body, size)

    def do_POST(self) -> None:
        """Serve one request of git's smart protocol."""
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the program that starts us has its own log."""

    def _user(self) -> str | None:
        kind, _, encoded = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "basic":
            return None
        try:
            name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        expected = self.server.accounts.get(name)
        return (
            name
            if expected is not None and hmac.compare_digest(expected.encode(), password.encode())
            else None
        )

    def _refuse(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("WWW-Authenticate", 'Basic realm="git"')
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    def _body(self) -> Iterator[bytes]:
        """Yield the request's body; git sends a large push in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left and (chunk := self.rfile.read(min(left, CHUNK))):
            left -= len(chunk)
            yield chunk

    def _serve(self, user: str, body: IO[bytes], size: int) -> None:
        # The body comes from a file, so the program and we never wait for each other.
        with subprocess.Popen(
            [http_backend()],
            stdin=body,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment(user, size),
        ) as backend:
            assert backend.stdout is not None  # noqa: S101 - says to mypy what PIPE means
            self._answer(backend.stdout)

    def _answer(self, output: IO[bytes]) -> None:
        status, headers = 200, []
        while line := output.readline().strip():
            name, _, value = line.decode().partition(":")
            if name.lower() == "status":
                status = int(value.split()[0])
            else:
                headers.append((name, value.strip()))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        shutil.copyfileobj(output, self.wfile)

    def _environment(self, user: str, size: int) -> dict[str, str]:
        """Return what CGI (RFC 3875) and git's http-backend want to know."""
        url = urlsplit(self.path)
        return {
            **ENVIRONMENT,
            "GIT_PROJECT_ROOT": str(self.server.repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": url.path,
            "QUERY_STRING": url.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(size) if self.command == "POST" else "",
            "REMOTE_USER": user,
            "REMOTE_ADDR": self.client_address[0],
            "SERVER_PROTOCOL": "HTTP/1.1",
        }


def http_backend() -> str:
    """Return the path of git's CGI program."""
    programs = subprocess.run(
        ["git", "--exec-path"], check=True, capture_output=True, text=True
    ).stdout.strip()
    path = Path(programs) / "git-http-backend"
    if not os.access(path, os.X_OK):
        raise GitServerError(f"{path} is missing: install git completely")
    return str(path)
