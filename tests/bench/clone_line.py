"""A line between a git client and its server: counts what the server sends, and is as slow as it is told to be."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from attrs import define, field

_CHUNK: Final = 64 * 1024


@define
class Line:
    """Connections to one server.

    Attributes:
        port: where the line begins, on loopback.
        received: bytes that came from the server.
    """

    server: tuple[str, int]
    megabits: float
    _listening: socket.socket = field(init=False, repr=False)
    received: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        """Begin to listen."""
        self._listening = socket.create_server(("127.0.0.1", 0))

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return int(self._listening.getsockname()[1])

    def serve(self) -> None:
        """Pass connections on until the line is closed."""
        with suppress(OSError):  # of a socket that `close` has shut
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self.server)
                threading.Thread(target=_pass, args=(client, server), daemon=True).start()
                threading.Thread(target=self._pass_back, args=(server, client), daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _pass_back(self, server: socket.socket, client: socket.socket) -> None:
        due = time.monotonic()
        with suppress(OSError):  # a client that hung up
            while chunk := server.recv(_CHUNK):
                self.received += len(chunk)
                client.sendall(chunk)
                if self.megabits:
                    due = max(due, time.monotonic() - 0.01) + len(chunk) * 8 / (self.megabits * 1e6)
                    time.sleep(max(0.0, due - time.monotonic()))
        client.close()
        server.close()


@contextmanager
def opened(server: tuple[str, int], megabits: float) -> Iterator[Line]:
    """A line of `megabits` per second (0: as fast as the machine) from the server."""
    line = Line(server, megabits)
    serving = threading.Thread(target=line.serve, daemon=True)
    serving.start()
    try:
        yield line
    finally:
        line.close()
        serving.join()


def _pass(client: socket.socket, server: socket.socket) -> None:
    with suppress(OSError):  # a server that hung up
        while chunk := client.recv(_CHUNK):
            server.sendall(chunk)
        server.shutdown(socket.SHUT_WR)
