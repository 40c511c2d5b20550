"""Serves one page over HTTP beside the keeper's work: one connection at a time, each for a few seconds at most."""

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final

from gastown_operator.workload.journal import Journal

#: Seconds for a whole connection: who sends slowly, or does not read, keeps others waiting no longer.
_DEADLINE: Final = 3.0
_WAITING: Final = 8


@contextlib.contextmanager
def serving(
    page: Callable[[], str], port: int, journal: Journal, deadline: float = _DEADLINE
) -> Iterator[int]:
    """Serve `/metrics` in a thread until the end of the block; a port that is taken costs the metrics alone.

    Args:
        page: makes the text; called in the thread.
        port: 0 for any.
        journal: is told where there are no metrics.
        deadline: seconds for a connection.

    Returns:
        The port; 0 where nothing is served.
    """
    try:
        server = _Server(_listening(port), page, deadline)
        _start(server)
    except (OSError, RuntimeError) as error:
        journal("no metrics are served", cause=str(error))
        yield 0
        return
    try:
        yield server.socket.getsockname()[1]
    finally:
        # The thread may be talking to somebody: it is not waited for. It waits for the socket, and so closes it itself.
        server.over = True
        server.socket.shutdown(socket.SHUT_RDWR)


def _start(server: "_Server") -> None:
    """Serve in a thread that gets no signal: these shall interrupt what the main thread does."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        threading.Thread(target=server.run, name="metrics", daemon=True).start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _listening(port: int) -> socket.socket:
    """A socket on all addresses of the pod."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, backlog=_WAITING, dualstack_ipv6=True)
    return socket.create_server(("", port), backlog=_WAITING)


class _Server(HTTPServer):
    """Talks to one client after another.

    Args:
        listening: `HTTPServer` would ask DNS for its own name before it listens.

    Attributes:
        over: whether nobody is answered any more; seen once the socket is shut down.
    """

    over = False

    def __init__(self, listening: socket.socket, page: Callable[[], str], deadline: float) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.page = page
        self.deadline = deadline

    def run(self) -> None:
        """Serve until it is over."""
        while not self.over:
            self.handle_request()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who went away, or was cut off, is nobody's concern."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def setup(self) -> None:
        """Begin a connection, and see to its end."""
        super().setup()
        self.connection.settimeout(self.server.deadline)
        self._cut = threading.Timer(self.server.deadline, self._cut_off)
        self._cut.daemon = True
        self._cut.start()

    def finish(self) -> None:
        """End it."""
        self._cut.cancel()
        super().finish()

    def do_GET(self) -> None:
        """Answer with the page."""
        if self.path != "/metrics":
            self.send_error(404)
            return
        body = self.server.page().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """Which Python this is, is told to nobody."""
        return "keeper"

    def log_message(self, *_: Any) -> None:
        """The log is the keeper's."""

    def _cut_off(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
