"""The HTTP server: the routes of the Messages API that agents use."""

import hmac
import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from hack.model_server.messages import error_body, events, message, tokens
from hack.model_server.script import HttpError, Script, Turn

NOT_FOUND = HttpError(404, "not_found_error", "there is no such route", {})
NO_JSON = HttpError(400, "invalid_request_error", "the body is no JSON object", {})
WRONG_KEY = HttpError(401, "authentication_error", "invalid x-api-key", {})
# A cut answer ends after this many events.
CUT_AFTER = 3


class ModelServer:
    """Answers at `address` as `script` says; a context manager.

    With `key`, requests that carry another one are refused. `log` gets one line for each answer.
    """

    def __init__(
        self,
        script: Script,
        address: str = "127.0.0.1",
        port: int = 0,
        *,
        key: str | None = None,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._server = _Server((address, port), _Handler)
        self._server.script = script
        self._server.key = key
        self._server.log = log
        self.address, self.port = address, int(self._server.server_address[1])
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """What an agent takes as the base URL."""
        return f"http://{self.address}:{self.port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread = threading.Thread(target=self._server.serve_forever, name="model-server", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop answering."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    script: Script
    key: str | None
    log: Callable[[str], None]

    def server_bind(self) -> None:
        """Bind without asking for the address's name, as HTTPServer does: where no name server answers that takes 10 s."""
        TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class calls it so
        """Note a connection that broke: agents are killed in the middle of answers."""
        self.log(f"{client_address[0]} broke its connection")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the server's `log` is told what matters."""

    def do_HEAD(self) -> None:
        """Answer the agent's first question: is anybody there."""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        """Answer a request for a message or for a count of tokens."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        if not self._authorized():
            self._send_error(WRONG_KEY)
            return
        try:
            request = json.loads(body)
        except json.JSONDecodeError:
            self._send_error(NO_JSON)
            return
        if path.endswith("/v1/messages/count_tokens"):
            self._send_json(200, {"input_tokens": tokens(request)})
        elif path.endswith("/v1/messages"):
            self._answer(request)
        else:
            self._send_error(NOT_FOUND)

    def _authorized(self) -> bool:
        if self.server.key is None:
            return True
        given = self.headers.get("x-api-key") or self.headers.get("Authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(), self.server.key.encode())

    def _answer(self, request: Mapping[str, Any]) -> None:
        turn = self.server.script.answer(request)
        if turn.error is not None:
            self._send_error(turn.error)
            return
        self.server.log(f"{self.client_address[0]} {_summary(turn)}")
        answer = message(request, turn)
        if request.get("stream"):
            self._stream(answer, cut=turn.cut)
        elif turn.cut:
            self.close_connection = True
        else:
            self._send_json(200, answer)

    def _stream(self, answer: Mapping[str, Any], *, cut: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, event in enumerate(events(answer)):
            if cut and number == CUT_AFTER:
                self.close_connection = True
                return
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        self.wfile.write(b"0\r\n\r\n")

    def _send_error(self, error: HttpError) -> None:
        self.server.log(f"{self.client_address[0]} {error.status} {error.type}")
        self._send_json(error.status, error_body(error), error.headers)

    def _send_json(
        self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _summary(turn: Turn) -> str:
    if turn.cut:
        return "cut"
    return f"says {turn.say!r}" if turn.tool is None else f"calls {turn.tool.name}"
