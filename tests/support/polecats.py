"""A Polecat in a test: what is asked of it, and what is printed when it disappoints."""

import json
from collections.abc import Sequence
from typing import Any

from attrs import define, field

from gastown_operator.api.core import POD
from gastown_operator.api.polecat import POLECAT
from gastown_operator.runtime.events import EVENT
from gastown_operator.runtime.objects import Resource, parse_time
from tests.apiserver.client import JSON
from tests.support.cluster import Cluster, kubectl
from tests.support.waiting import eventually

CONTAINERS = ("clone", "keeper", "agent")


@define
class PolecatHandle:
    """One Polecat on the cluster.

    Args:
        touched: takes the handles that a test has waited for, so that a failure can print them.
    """

    cluster: Cluster
    namespace: str
    name: str
    uid: str
    touched: "list[PolecatHandle]" = field(repr=False)
    seconds: float = field(init=False, default=0.0)
    last_seen: tuple[str, str] = field(init=False, default=("", ""))

    def ref(self, kind: str, round_number: int = 1) -> str:
        """Return the name of a recovery ref: `wip` or `done`."""
        return f"refs/gastown/{kind}/{self.namespace}/{self.uid}/{round_number}"

    def read(self) -> JSON:
        """Return the object as it is now."""
        found = self.cluster.get(POLECAT, self.namespace, self.name)
        assert found is not None, f"Polecat {self.name} is gone"
        return found

    @property
    def status(self) -> JSON:
        """Its status as it is now."""
        status: JSON = self.read().get("status", {})
        return status

    def until(self, phase: str, reason: str = "", *, seconds: float = 90.0) -> JSON:
        """Wait for the phase, and for the reason of `Ready`; return the status then."""
        self.touched.append(self)

        def reached() -> JSON | None:
            polecat = self.read()
            status: JSON = polecat.get("status", {})
            ready = condition(status, "Ready")
            self.last_seen = (status.get("phase", ""), ready.get("reason", ""))
            if status.get("phase") == phase and reason in ("", ready.get("reason")):
                told = status.get("finishedAt") or ready["lastTransitionTime"]
                self.seconds = _seconds_between(polecat["metadata"]["creationTimestamp"], told)
                return status
            ended = status.get("finishedAt") and status["phase"] in ("Done", "Terminated")
            assert not ended, f"{self.name} ended as {status['phase']}: {ready.get('message')}"
            return None

        return eventually(reached, f"{self.name} is {phase} {reason}", seconds, self._condition)

    def _condition(self) -> str:
        """What its status says, in one line."""
        status = self.status
        return f"(it is {status.get('phase')}: {condition(status, 'Ready').get('message')})"

    def tells(self, phase: str, reason: str, *words: str, seconds: float = 90.0) -> JSON:
        """Wait for the phase and its reason, and check that the user is told: a condition that helps, and one Event.

        `words` is what the message must contain: the cause, and the thing to change.
        """
        status = self.until(phase, reason, seconds=seconds)
        ready = condition(status, "Ready")
        assert [word for word in words if word not in ready["message"]] == [], ready["message"]
        if phase == "Stuck":
            degraded = condition(status, "Degraded")
            assert (degraded["status"], degraded["reason"]) == ("True", reason)
        told = self.until_event(reason)
        assert len(told) == 1, [event["note"] for event in told]
        assert "series" not in told[0], f"said {told[0]['series']['count']} times"
        assert told[0]["regarding"]["name"] == self.name
        return status

    def until_agent_says(self, words: str, *, pod: str = "", seconds: float = 90.0) -> None:
        """Wait until the agent has printed `words`."""
        self.touched.append(self)
        name = pod or f"polecat-{self.name}"
        eventually(
            lambda: words in self.cluster.log(self.namespace, name, "agent"),
            f"the agent of {self.name} says {words}",
            seconds,
        )

    def until_gone(self, resource: Resource[Any], name: str, *, seconds: float = 90.0) -> None:
        """Wait until an object of its namespace does not exist any more."""
        eventually(
            lambda: self.cluster.get(resource, self.namespace, name) is None,
            f"{resource.kind} {name} is gone",
            seconds,
        )

    def events(self, reason: str = "") -> list[JSON]:
        """Return the Events about it, of one reason if one is given."""
        return [
            event
            for event in self.cluster.objects(EVENT, self.namespace)
            if event["regarding"].get("uid") == self.uid and reason in ("", event["reason"])
        ]

    def until_event(self, reason: str) -> list[JSON]:
        """Wait for the Events of a reason: they are written beside the status, and may come after it."""
        return eventually(lambda: self.events(reason), f"an Event with reason {reason}")

    def pods(self) -> list[JSON]:
        """Return its pods, oldest first."""
        pods = [
            pod
            for pod in self.cluster.objects(POD, self.namespace)
            if any(owner["uid"] == self.uid for owner in pod["metadata"].get("ownerReferences", []))
        ]
        return sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def patch(self, spec: JSON) -> None:
        """Change its spec by a merge patch."""
        stored = {"metadata": {"namespace": self.namespace, "name": self.name}}
        self.cluster.client.patch(POLECAT, stored, {"spec": spec}).object()

    def delete(self) -> None:
        """Delete it, as `kubectl delete` does."""
        self.cluster.delete(POLECAT, self.namespace, self.name)

    def describe(self) -> str:
        """Return everything that helps to see why it is not where a test wants it."""
        get = ("--namespace", self.namespace, "get", "--ignore-not-found")
        parts = [
            kubectl(*get, "polecat", self.name, "--output=yaml"),
            kubectl(*get, "events.v1.events.k8s.io", "--sort-by=.metadata.creationTimestamp"),
            *(json.dumps(pod.get("status"), indent=1) for pod in self.pods()),
        ]
        for pod in self.pods():
            name = pod["metadata"]["name"]
            parts += [
                f"# log of {name} {container}\n{self.cluster.log(self.namespace, name, container)}"
                for container in CONTAINERS
            ]
        return "\n".join(parts)


def condition(status: JSON, type_: str) -> JSON:
    """Return the condition of that type, or an empty one."""
    conditions: Sequence[JSON] = status.get("conditions", [])
    return next((entry for entry in conditions if entry["type"] == type_), {})


def _seconds_between(former: str, later: str) -> float:
    """Whole seconds, as the API stores times."""
    return (parse_time(later) - parse_time(former)).total_seconds()
