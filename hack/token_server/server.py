"""The HTTP server: `/v1/oauth/token` refreshes, everything else is a model that wants a good access token.

The model speaks the Messages API, without streams. Whoever asks is known by the User-Agent.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from hack.model_server.conversation import Answer, HttpError, Usage
from hack.model_server.messages import Messages
from hack.token_server.ledger import Ledger

PATH: Final = "/v1/oauth/token"
CLIENT_ID: Final = "test-client"
EXPIRED: Final = HttpError(401, "authentication_error", "expired", {})


class Fault(StrEnum):
    """What a call to the token endpoint meets instead of an honest answer."""

    REFUSE = "refuse"  # 400 invalid_grant, the token is not spent
    ERROR = "error"  # 500
    BUSY = "busy"  # 429 with `busy_for` as Retry-After
    SLOW = "slow"  # the answer comes when `release` is called
    LOST = "lost"  # the token is spent, and the connection ends without an answer
    ODD = "odd"  # 200, and no JSON
    KEEP = "keep"  # honest, but the refresh token is not replaced and stays good


class TokenServer:
    """Serves at `address`; a context manager. `faults` are met by the next calls, one each. `says` is what the model answers."""

    def __init__(self, lifetime: float, address: str = "127.0.0.1", port: int = 0) -> None:
        self.ledger = Ledger(lifetime)
        self.faults: deque[Fault] = deque()
        self.released = threading.Event()
        self.calls = 0
        self.busy_for = 30
        self.says = "ok"
        self._server = _Server((address, port), _Handler)
        self._server.owner = self
        self.address, self.port = address, int(self._server.server_address[1])
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """The model's endpoint."""
        return f"http://{self.address}:{self.port}"

    @property
    def url(self) -> str:
        """The token endpoint."""
        return self.base_url + PATH

    def credentials_file(self, lifetime: float | None = None) -> str:
        """Return what a person who has just logged in has at `~/.claude/.credentials.json`."""
        access, refresh = self.ledger.give(lifetime)
        inner = {
            "accessToken": access,
            "refreshToken": refresh,
            "expiresAt": int((time.time() + (lifetime or self.ledger.lifetime)) * 1000),
            "scopes": ["user:inference", "user:profile"],
            "subscriptionType": "max",
        }
        return json.dumps({"claudeAiOauth": inner})

    def __enter__(self) -> Self:
        """Start."""
        self._thread = threading.Thread(target=self._server.serve_forever, name="token-server", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.released.set()
        self._server.shutdown()
        if self._thread is not None:
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    owner: TokenServer

    def server_bind(self) -> None:
        """Bind without asking for the address's name, as HTTPServer does: where no name server answers that takes 10 s."""
        TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that leave early are what tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def do_POST(self) -> None:
        """Refresh a token, or play the model."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if urlsplit(self.path).path == PATH:
            self._refresh(body)
        elif self._authorized():
            self._send(200, Messages().whole(self._answer(body)))
        else:
            self._send(EXPIRED.status, Messages().error(EXPIRED))

    def _authorized(self) -> bool:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return self.server.owner.ledger.show(token, self.headers.get("User-Agent", ""))

    def _answer(self, body: bytes) -> Answer:
        model = str(json.loads(body).get("model", ""))
        return Answer(model, "answer", [self.server.owner.says], None, Usage(input=1, output=1))

    def _refresh(self, body: bytes) -> None:
        owner = self.server.owner
        owner.calls += 1
        fault = owner.faults.popleft() if owner.faults else None
        request = json.loads(body)
        if fault is Fault.REFUSE:
            self._invalid()
        elif fault is Fault.ERROR:
            self._send(500, {"error": "server_error"})
        elif fault is Fault.BUSY:
            said = {"error": {"type": "rate_limit_error", "message": "slow down"}}
            self._send(429, said, {"Retry-After": str(owner.busy_for)})
        elif fault is Fault.ODD:
            self._send_bytes(200, b"<html>hello</html>", {})
        else:
            self._honest(request, fault)

    def _honest(self, request: Mapping[str, Any], fault: Fault | None) -> None:
        owner = self.server.owner
        if request.get("grant_type") != "refresh_token" or request.get("client_id") != CLIENT_ID:
            self._send(400, {"error": "invalid_request"})
            return
        if not owner.ledger.spend(str(request.get("refresh_token")), keep=fault is Fault.KEEP):
            self._invalid()
            return
        access, refresh = owner.ledger.give()
        if fault is Fault.LOST:
            self.close_connection = True
            return
        if fault is Fault.SLOW:
            owner.released.wait()
        answer = {"token_type": "Bearer", "access_token": access, "expires_in": owner.ledger.lifetime}
        self._send(200, answer if fault is Fault.KEEP else {**answer, "refresh_token": refresh})

    def _invalid(self) -> None:
        self._send(400, {"error": "invalid_grant", "error_description": "Refresh token not found or invalid"})

    def _send(self, status: int, answer: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        typed = {"Content-Type": "application/json", **(headers or {})}
        self._send_bytes(status, json.dumps(answer).encode(), typed)

    def _send_bytes(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
