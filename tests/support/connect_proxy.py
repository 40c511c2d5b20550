"""A small proxy for https: CONNECT (RFC 9110 §9.3.6), with a password if one is given."""

import base64
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self


class ConnectProxy:
    """Serves on loopback; a context manager. `targets` are the hosts and ports that clients were connected to."""

    def __init__(self, account: str = "") -> None:
        self.targets: list[str] = []
        self.refused = 0
        self._account = account
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, name="proxy", daemon=True)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """The proxy's URL, with the account that it wants."""
        return f"http://{self._account}@{self.address}" if self._account else f"http://{self.address}"

    def admits(self, header: str) -> bool:
        """Whether a Proxy-Authorization header is the one that is wanted."""
        wanted = base64.b64encode(self._account.encode()).decode()
        return not self._account or header == f"Basic {wanted}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: ConnectProxy

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # not HTTPServer's: it asks for the address's name

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients leave as they like."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def do_CONNECT(self) -> None:
        owner = self.server.owner
        if not owner.admits(self.headers.get("Proxy-Authorization", "")):
            owner.refused += 1
            self.send_response(407)
            self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return  # and the client asks again on this connection
        self.close_connection = True
        owner.targets.append(self.path)
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), 10) as upstream:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pump, args=(upstream, self.connection), daemon=True)
            back.start()
            _pump(self.connection, upstream)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Copy until the source ends, and tell the target so."""
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return  # one of the two has gone
