"""Follows all objects of a kind: list, then watch, and again from the list whenever that ends."""

import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hack.lab.layout import API_PORT, NODE_ADDRESS
from hack.lab.policies.state import Object

_WATCH_SECONDS = 300
_RETRY_SECONDS = 0.5


@dataclass
class Follower:
    """The newest state of a kind; `changed` is called after each change, `say` with what went wrong."""

    path: str
    tls: ssl.SSLContext
    changed: Callable[[], None]
    say: Callable[[str], None]
    synced: bool = False
    _objects: dict[str, Object] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def objects(self) -> list[Object]:
        """What there is now."""
        with self._lock:
            return list(self._objects.values())

    def run(self) -> None:
        """Follow for ever."""
        while True:
            try:
                self._follow()
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                self.say(f"{self.path}: {error!r}")
                time.sleep(_RETRY_SECONDS)

    def _follow(self) -> None:
        listed = json.loads(self._get(self.path).read())
        with self._lock:
            self._objects = {each["metadata"]["uid"]: each for each in listed["items"]}
        self.synced = True
        self.changed()
        version = listed["metadata"]["resourceVersion"]
        query = f"watch=true&resourceVersion={version}&timeoutSeconds={_WATCH_SECONDS}"
        for line in self._get(f"{self.path}?{query}"):
            event = json.loads(line)
            if event["type"] == "ERROR":
                return
            self._note(event["type"], event["object"])
            self.changed()

    def _note(self, kind: str, value: Object) -> None:
        with self._lock:
            if kind == "DELETED":
                self._objects.pop(value["metadata"]["uid"], None)
            else:
                self._objects[value["metadata"]["uid"]] = value

    def _get(self, path: str) -> Any:
        connection = http.client.HTTPSConnection(
            NODE_ADDRESS, API_PORT, timeout=_WATCH_SECONDS + 30, context=self.tls
        )
        connection.request("GET", path, headers={"User-Agent": "policy-enforcer"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"{answer.status} {answer.read()[:200]!r}")
        return answer
