"""The HTTP server: the routes of models' APIs that agents use."""

import hmac
import json
import select
import socket
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, islice
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from hack.model_server.chat import Chat
from hack.model_server.conversation import PAUSE, Answer, Dialect, HttpError, tokens
from hack.model_server.messages import Messages
from hack.model_server.ollama import Ollama, show
from hack.model_server.responses import Responses
from hack.model_server.script import Fault, Script, ScriptError, load_script, script_file
from hack.model_server.steps import Reply, reply

DIALECTS: Mapping[str, Dialect] = {
    "/v1/messages": Messages(),
    "/chat/completions": Chat(),
    "/responses": Responses(),
    "/api/chat": Ollama(),
}
NOT_FOUND = HttpError(404, "not_found_error", "there is no such route", {})
NO_JSON = HttpError(400, "invalid_request_error", "the body is no JSON object", {})
WRONG_KEY = HttpError(401, "authentication_error", "invalid x-api-key", {})
KEY_HEADERS = ("x-api-key", "authorization")
# Between looks at whether answers are still held.
HOLD_SECONDS = 0.1
# A cut or stalled answer ends after at most so many parts.
CUT_AFTER = 3


@dataclass(frozen=True)
class Way:
    """How something was asked: the path, and the header that carried the key, in lower case; empty where none did."""

    path: str
    header: str


class ModelServer:
    """Answers at `address`: to a model that has the name of a shipped script as that says, else as `script` says.

    A context manager. With `key`, requests that carry another one are refused. `log` gets one line for each answer.
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
        self._server.key = key
        self._server.log = log
        self._server.state = _State(script)
        self.address, self.port = address, int(self._server.server_address[1])
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """What an agent takes as the base URL."""
        return f"http://{self.address}:{self.port}"

    def requests(self, model: str) -> int:
        """Return how many requests for an answer of that model there were."""
        return self._server.state.requests[model]

    def hold(self, model: str) -> None:
        """Give no answer of that model until it is released."""
        self._server.state.held.add(model)

    def release(self, model: str) -> None:
        """Give the answers that were held, and the next ones at once."""
        self._server.state.held.discard(model)

    def ways(self, model: str) -> frozenset[Way]:
        """Return in which ways answers of that model were asked for."""
        return frozenset(self._server.state.ways[model])

    def start(self) -> None:
        """Begin to answer."""
        self._thread = threading.Thread(target=self._server.serve_forever, name="model-server", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop answering, also those that wait for an answer that stalls."""
        self._server.state.stop()
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


class _State:
    """What the server remembers between requests: how many there were, and how often turns went wrong."""

    def __init__(self, script: Script) -> None:
        self._default = script
        self._lock = threading.Lock()
        self._scripts: dict[str, Script] = {}
        self._wrong: Counter[tuple[str, int]] = Counter()
        self.requests: Counter[str] = Counter()
        self.held: set[str] = set()
        self.ways: defaultdict[str, set[Way]] = defaultdict(set)
        # Readable once the server stops: nobody has to look at a clock for that.
        self._stopping, self._stopped = socket.socketpair()
        self._waiting = 0
        self._changed = threading.Condition(self._lock)

    def stop(self) -> None:
        """Wake up whoever waits."""
        with self._changed:
            self._stopping.close()
            self._changed.wait_for(lambda: self._waiting == 0)
            self._stopped.close()

    def count(self, model: str, way: Way) -> None:
        with self._lock:
            self.requests[model] += 1
            self.ways[model].add(way)

    def script(self, model: str) -> Script:
        """Return the script that answers for a model."""
        with self._lock:
            if model not in self._scripts:
                shipped = script_file(model) is not None
                self._scripts[model] = load_script(model) if shipped else self._default
            return self._scripts[model]

    def now(self, said: Reply) -> Reply:
        """Return the turn without what goes wrong in it, once it has gone wrong as often as it shall in this conversation."""
        if not said.turn.times:
            return said
        with self._lock:
            turn = said.answer.identity, said.number
            self._wrong[turn] += 1
            if self._wrong[turn] <= said.turn.times:
                return said
        return replace(said, turn=replace(said.turn, error=None, fault=None))

    def wait(self, connection: socket.socket, seconds: float | None) -> bool:
        """Wait so many seconds, or for ever; whether both the client and the server are still there."""
        with self._changed:
            if self._stopped.fileno() < 0:
                return False
            self._waiting += 1
        try:
            readable, _, _ = select.select([connection, self._stopped], [], [], seconds)
            return not readable
        finally:
            with self._changed:
                self._waiting -= 1
                self._changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    key: str | None
    log: Callable[[str], None]
    state: _State

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

    def do_GET(self) -> None:
        """Answer how many requests each model had; agents do not ask for that."""
        if urlsplit(self.path).path == "/requests":
            self._send_json(200, dict(self.server.state.requests))
        else:
            self._send_error(NOT_FOUND, Messages())

    def do_POST(self) -> None:
        """Answer a request for a message, for a count of tokens, or for what a model can do."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        dialect = next((known for route, known in DIALECTS.items() if path.endswith(route)), None)
        spoken = dialect or Messages()
        if not self._authorized():
            self._send_error(WRONG_KEY, spoken)
            return
        try:
            request = json.loads(body)
        except json.JSONDecodeError:
            request = None
        if not isinstance(request, dict):
            self._send_error(NO_JSON, spoken)
        elif path.endswith("/v1/messages/count_tokens"):
            self._send_json(200, {"input_tokens": tokens(request)})
        elif path.endswith("/api/show"):
            self._send_json(200, show(request.get("model", "")))
        elif dialect is not None:
            self._answer(request, dialect)
        else:
            self._send_error(NOT_FOUND, spoken)

    def _authorized(self) -> bool:
        if self.server.key is None:
            return True
        given = self.headers.get("x-api-key") or self.headers.get("Authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(), self.server.key.encode())

    def _way(self) -> Way:
        header = next((name for name in KEY_HEADERS if name in self.headers), "")
        return Way(urlsplit(self.path).path, header)

    def _answer(self, request: Mapping[str, Any], dialect: Dialect) -> None:
        conversation, state = dialect.read(request), self.server.state
        state.count(conversation.model, self._way())
        try:
            said = state.now(reply(state.script(conversation.model), conversation))
        except ScriptError as problem:
            self._send_error(HttpError(400, "invalid_request_error", str(problem), {}), dialect)
            return
        self.server.log(f"{self.client_address[0]} {conversation.model}: {_summary(said)}")
        if said.turn.fault is Fault.STALL_BEFORE or not (
            self._pause(said) and self._wait(conversation.model)
        ):
            self._stall()
        elif said.turn.error is not None:
            self._send_error(said.turn.error, dialect)
        elif conversation.streamed:
            self._stream(said, dialect)
        elif said.turn.fault is Fault.STALL_MIDDLE:
            self._stall()
        elif said.turn.fault is not None:
            self.close_connection = True
        else:
            self._send_json(200, dialect.whole(said.answer))

    def _stream(self, said: Reply, dialect: Dialect) -> None:
        self.send_response(200)
        self.send_header("Content-Type", dialect.content_type)
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in _parts(said.answer, dialect, said.turn.fault):
            if part != PAUSE:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            elif not self._pause(said):
                self.close_connection = True
                return
        if said.turn.fault is Fault.STALL_MIDDLE:
            self._stall()
        elif said.turn.fault is Fault.CUT:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _pause(self, said: Reply) -> bool:
        """Wait as the turn says; whether there is somebody to go on for."""
        return not said.turn.pause or self.server.state.wait(self.connection, said.turn.pause)

    def _wait(self, model: str) -> bool:
        """Wait while answers of the model are held; whether there is somebody to go on for."""
        state = self.server.state
        while model in state.held:
            if not state.wait(self.connection, HOLD_SECONDS):
                return False
        return True

    def _stall(self) -> None:
        """Say nothing more until the client or the server has gone."""
        self.server.state.wait(self.connection, None)
        self.close_connection = True

    def _send_error(self, error: HttpError, dialect: Dialect) -> None:
        self.server.log(f"{self.client_address[0]} {error.status} {error.type}")
        if error.html:
            page = f"<html><body><h1>{error.status} {error.message}</h1></body></html>\n"
            self._send(error.status, "text/html", page.encode(), error.headers)
        else:
            self._send_json(error.status, dialect.error(error), error.headers)

    def _send_json(
        self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        self._send(status, "application/json", json.dumps(body).encode(), headers or {})

    def _send(self, status: int, content_type: str, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _parts(answer: Answer, dialect: Dialect, fault: Fault | None) -> Iterator[bytes]:
    """The parts of a stream, as far as they come."""
    if fault in {Fault.CUT, Fault.STALL_MIDDLE}:
        return islice(dialect.body(answer), CUT_AFTER)
    if fault is Fault.UNFINISHED:
        return dialect.body(answer)
    return chain(dialect.body(answer), dialect.ending(answer))


def _summary(said: Reply) -> str:
    if said.turn.error is not None:
        return f"turn {said.number + 1}, error {said.turn.error.status}"
    if said.turn.fault is not None:
        return f"turn {said.number + 1}, {said.turn.fault}"
    tool = said.answer.tool
    return f"says {said.answer.text!r}" if tool is None else f"calls {tool.name}"
