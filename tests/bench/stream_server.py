"""A scripted API server in a process of its own that serves pods and then changes them at a given rate.

It answers discovery, paged lists, watches and watch-lists of pods under any path that ends with `/pods`. `POST /start` sends
MODIFIED events to every watch that is open, one frame each at equal distances and each pod in turn, and answers, when the time is
over, how many there were. Everything is encoded beforehand, and threads do blocking writes at absolute due times: the server takes
few per cent of a core, and keeps its rate however busy the reader is, as long as the sockets hold what is not read yet.

    python -m tests.bench.stream_server 2000      # pods; prints its URL and ends with its standard input
"""

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, islice
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import orjson
from attrs import asdict, define, field, frozen

from tests.bench.stream_server_pods import FIRST_VERSION, EncodedPod, encoded_pods

INITIAL_BATCH: Final = 16  # the API server flushes initial events when its buffer is full, not one by one


def _discovered(plural: str, singular: str, kind: str, *, namespaced: bool) -> Mapping[str, Any]:
    verbs = ["get", "list", "watch", "patch"]
    names = {"name": plural, "singularName": singular, "kind": kind}
    return {**names, "namespaced": namespaced, "verbs": verbs}


_DISCOVERY: Final[Mapping[str, Any]] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.2"},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            _discovered("pods", "pod", "Pod", namespaced=True),
            # kopf waits until it has seen this kind.
            _discovered("namespaces", "namespace", "Namespace", namespaced=False),
        ],
    },
}


@frozen
class Sent:
    """What one start came to: events, and the moment (CLOCK_MONOTONIC, ns) just before each was written."""

    seconds: float
    cpu_seconds: float
    first_version: int
    moments: list[int]


@define(eq=False)
class Cluster:
    """The pods and their watches."""

    pods: list[EncodedPod]
    version: int = FIRST_VERSION
    _watches: list[Any] = field(factory=list)
    _lock: threading.Lock = field(factory=threading.Lock)

    def page(self, start: int, limit: int) -> bytes:
        """Return a page of the list, from the pod `start` on; all of them for a limit of 0."""
        end = start + limit if limit else len(self.pods)
        more = b"%d" % end if end < len(self.pods) else b""
        items = b",".join(pod.at(FIRST_VERSION) for pod in self.pods[start:end])
        return (
            b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"%d","continue":"%s"},"items":[%s]}'
            % (self.version, more, items)
        )

    def initial(self) -> Iterator[bytes]:
        """Return the events with which a watch-list begins, in frames."""
        pods = iter(self.pods)
        while batch := list(islice(pods, INITIAL_BATCH)):
            yield frame(b"".join(event(b"ADDED", pod.at(FIRST_VERSION)) for pod in batch))
        annotations = b'"annotations":{"k8s.io/initial-events-end":"true"}'
        text = b'{"kind":"Pod","metadata":{"resourceVersion":"%d",%s}}' % (self.version, annotations)
        yield frame(event(b"BOOKMARK", text))

    def register(self, writer: Any) -> None:
        """Add an open watch, whose `write` sends a frame."""
        with self._lock:
            self._watches.append(writer)

    def send(self, rate: float, seconds: float) -> Sent:
        """Change the pods in turn, at a rate, for some time."""
        first, moments = self.version + 1, []
        begin, cpu = time.monotonic_ns(), time.process_time()
        end, distance = begin + int(seconds * 1e9), 1e9 / rate
        for number in count():
            due = begin + int(number * distance)
            now = time.monotonic_ns()
            if max(due, now) >= end:
                break
            if due > now:
                time.sleep((due - now) / 1e9)
            round_, pod = divmod(number, len(self.pods))
            self.version += 1
            sent = frame(event(b"MODIFIED", self.pods[pod].at(self.version, round_ + 1)))
            moments.append(time.monotonic_ns())
            self._write(sent)
        return Sent((time.monotonic_ns() - begin) / 1e9, time.process_time() - cpu, first, moments)

    def _write(self, sent: bytes) -> None:
        with self._lock:
            for watch in list(self._watches):
                try:
                    watch.write(sent)
                except OSError:
                    self._watches.remove(watch)


def event(kind: bytes, text: bytes) -> bytes:
    """Return a line of a watch."""
    return b'{"type":"%s","object":%s}\n' % (kind, text)


def frame(text: bytes) -> bytes:
    """Return a chunk of a chunked answer (RFC 9112, 7.1)."""
    return b"%x\r\n%s\r\n" % (len(text), text)


def handler(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    """Return the class that answers requests, as http.server wants it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = dict(parse_qsl(url.query))
            if not url.path.endswith("/pods"):
                self._say(_DISCOVERY.get(url.path), 200 if url.path in _DISCOVERY else 404)
            elif query.get("watch") in {"1", "true", "True"}:
                self._watch(initial=query.get("sendInitialEvents") == "true")
            else:
                self._answer(cluster.page(int(query.get("continue") or 0), int(query.get("limit") or 0)), 200)

        def do_POST(self) -> None:
            query = dict(parse_qsl(urlsplit(self.path).query))
            sent = cluster.send(float(query["rate"]), float(query["seconds"]))
            self._say(asdict(sent), 200)

        def _watch(self, *, initial: bool) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for sent in cluster.initial() if initial else ():
                self.wfile.write(sent)
            cluster.register(self.wfile)
            with suppress(ConnectionError):
                self.connection.recv(1)  # until the reader leaves
            self.close_connection = True

        def _say(self, answer: Any, code: int) -> None:
            status = {"kind": "Status", "code": code, "reason": "NotFound", "message": self.path}
            self._answer(orjson.dumps(answer if answer is not None else status), code)

        def _answer(self, text: bytes, code: int) -> None:
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


def main() -> None:
    """Serve until standard input ends."""
    cluster = Cluster(encoded_pods(int(sys.argv[1])))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(cluster))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)  # noqa: T201 - whoever started it reads this
    sys.stdin.read()


if __name__ == "__main__":
    main()
