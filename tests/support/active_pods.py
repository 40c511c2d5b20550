"""Counts by a watch how many pods of each rig were active at once: none is missed between two looks."""

import json
import socket
import threading
import time
from collections import defaultdict
from http.client import HTTPConnection, HTTPException
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

from attrs import define, field, frozen

from gastown_operator.api import labels
from gastown_operator.api.core import POD, PodPhase
from tests.apiserver.client import JSON
from tests.support.cluster import Cluster

#: Polecats' pods: git jobs take no slot.
SELECTOR = f"{labels.OURS},{labels.POLECAT}"
WATCH_SECONDS = 3600


@frozen
class Moment:
    """How many pods of a rig were active from a moment on (monotonic seconds, as the watch told), and how many had been by then."""

    at: float
    active: int
    seen: int


@define
class ActivePods:
    """Follows every pod of the operator from the moment it is entered; a pod is active until it is terminal or gone."""

    cluster: Cluster
    _active: dict[str, set[str]] = field(init=False, factory=lambda: defaultdict(set))
    _moments: dict[str, list[Moment]] = field(init=False, factory=lambda: defaultdict(list))
    _connection: HTTPConnection = field(init=False)
    _thread: threading.Thread = field(init=False)
    _version: str = field(init=False, default="")
    _leaving: threading.Event = field(init=False, factory=threading.Event)
    _ended: str = field(init=False, default="")

    def most(self, rig: str) -> int:
        """Return the largest number of pods of a rig that were active at once."""
        assert not self._ended, f"the watch ended before its time: {self._ended}"
        return max((moment.active for moment in self._moments[rig]), default=0)

    def active(self, rig: str) -> int:
        """Return how many are active now."""
        return len(self._active[rig])

    def moments(self, rig: str) -> list[Moment]:
        """Return every change of that number, in order."""
        assert not self._ended, f"the watch ended before its time: {self._ended}"
        return list(self._moments[rig])

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
        rig, uid = pod["metadata"]["annotations"][labels.RIG], pod["metadata"]["uid"]
        ended = PodPhase(pod.get("status", {}).get("phase", "Pending")).terminal
        active, moments = self._active[rig], self._moments[rig]
        seen = moments[-1].seen if moments else 0
        before = len(active)
        if kind == "DELETED" or ended:
            active.discard(uid)
        else:
            active.add(uid)
        if len(active) != before:
            moments.append(Moment(time.monotonic(), len(active), seen + max(0, len(active) - before)))
