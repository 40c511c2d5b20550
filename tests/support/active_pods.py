"""Counts by a watch how many pods of each rig were active at once: none is missed between two looks."""

import json
import socket
import threading
from collections import defaultdict
from http.client import HTTPConnection, HTTPException
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

from attrs import define, field

from gastown_operator.api import labels
from gastown_operator.api.core import POD, PodPhase
from tests.apiserver.client import JSON
from tests.support.cluster import Cluster

SELECTOR = f"{labels.MANAGED_BY}={labels.OPERATOR}"
WATCH_SECONDS = 3600


@define
class ActivePods:
    """Follows every pod of the operator from the moment it is entered; a pod is active until it is terminal or gone."""

    cluster: Cluster
    _active: dict[str, set[str]] = field(init=False, factory=lambda: defaultdict(set))
    _most: dict[str, int] = field(init=False, factory=lambda: defaultdict(int))
    _connection: HTTPConnection = field(init=False)
    _thread: threading.Thread = field(init=False)
    _version: str = field(init=False, default="")
    _leaving: threading.Event = field(init=False, factory=threading.Event)
    _ended: str = field(init=False, default="")

    def most(self, rig: str) -> int:
        """Return the largest number of pods of a rig that were active at once."""
        assert not self._ended, f"the watch ended before its time: {self._ended}"
        return self._most[rig]

    def active(self, rig: str) -> int:
        """Return how many are active now."""
        return len(self._active[rig])

    def __enter__(self) -> Self:
        selected = urlencode({"labelSelector": SELECTOR})
        listed = self.cluster.client.request("GET", f"{POD.path()}?{selected}").object()
        for pod in listed["items"]:
            self._note("ADDED", pod)
        self._version = listed["metadata"]["resourceVersion"]
        self._connect()
        self._thread = threading.Thread(target=self._follow, name="active pods", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        connected = self._connection.sock
        if connected is not None:
            connected.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()

    def _connect(self) -> None:
        query = {
            "labelSelector": SELECTOR,
            "watch": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        self._connection = HTTPConnection("127.0.0.1", self.cluster.client.port)
        self._connection.request("GET", f"{POD.path()}?{urlencode(query)}")

    def _follow(self) -> None:
        """A server that is busy ends watches that it cannot serve; from the last version on, nothing is missed."""
        try:
            while not self._leaving.is_set():
                with self._connection.getresponse() as answer:
                    for line in answer:
                        event = json.loads(line)
                        self._note(event["type"], event["object"])
                        self._version = event["object"]["metadata"]["resourceVersion"]
                if not self._leaving.is_set():
                    self._connection.close()
                    self._connect()
        except (OSError, HTTPException, ValueError, KeyError) as error:
            # `__exit__` ends it like that; when a test did not, `most` says so. An expired version has no annotations.
            self._ended = repr(error)

    def _note(self, kind: str, pod: JSON) -> None:
        rig = pod["metadata"]["annotations"][labels.RIG]
        ended = PodPhase(pod.get("status", {}).get("phase", "Pending")).terminal
        if kind == "DELETED" or ended:
            self._active[rig].discard(pod["metadata"]["uid"])
        else:
            self._active[rig].add(pod["metadata"]["uid"])
        self._most[rig] = max(self._most[rig], len(self._active[rig]))
