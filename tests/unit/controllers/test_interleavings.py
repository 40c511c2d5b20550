"""The polecat controller against a model of the API server: caches that lag, workers that overlap, an operator that dies.

Whatever the order of events, a rig never has more active pods than it may, a bead never two, a polecat never two; and when the
world comes to rest, everybody who can be done is done, woken by nothing but the controller's own watches.
"""

from collections import defaultdict, deque
from datetime import datetime
from typing import Any

import attrs
import orjson
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gastown_operator.api.core import POD, Pod
from gastown_operator.api.polecat import POLECAT, Polecat
from gastown_operator.api.rig import RIG
from gastown_operator.controllers.polecat.admission import (
    ACTIVE_PODS_BY_RIG,
    PODS_BY_OWNER,
    POLECATS_BY_BEAD,
    POLECATS_BY_RIG,
    Admission,
    active_pods_by_rig,
    pods_by_owner,
    polecats_by_bead,
    polecats_by_rig,
)
from gastown_operator.controllers.polecat.observe import Observed, observe
from gastown_operator.controllers.polecat.plan import plan
from gastown_operator.controllers.polecat.reconciler import Wakeups
from gastown_operator.runtime.controller import Watch, for_object, mapped, owned_by
from gastown_operator.runtime.execution import NotOurs, Refusal
from gastown_operator.runtime.objects import Object, ObjectKey, format_time
from gastown_operator.runtime.plan import Create, Delete, Plan, controller_of
from gastown_operator.runtime.store import Event, Partition, Store
from gastown_operator.runtime.testing import VirtualClock
from gastown_operator.workload.message import Outcome
from tests.unit.controllers.objects import SETTINGS, WORKERS, merged, rig, terminated, word

MAXIMUM = 2
NAMES = ["ash", "birch", "cedar", "dogwood", "elm"]
JSON = dict[str, Any]


@attrs.define
class Server:
    """Objects by kind and key as JSON, and what the watches have not delivered yet."""

    version: int = 1
    objects: dict[str, dict[ObjectKey, JSON]] = attrs.field(factory=lambda: {"Polecat": {}, "Pod": {}})
    undelivered: dict[str, deque[tuple[str, JSON]]] = attrs.field(factory=lambda: defaultdict(deque))
    uids: int = 0
    created_pods: list[str] = attrs.field(factory=list)

    def put(self, kind: str, body: JSON) -> int:
        """Create or change an object; its new version."""
        self.version += 1
        metadata = body["metadata"]
        if "uid" not in metadata:
            self.uids += 1
            metadata = {**metadata, "uid": f"uid-{self.uids:04}"}
        body = {**body, "metadata": {**metadata, "resourceVersion": str(self.version)}}
        body = orjson.loads(orjson.dumps(body))  # what is stored is JSON, whatever was given
        self.objects[kind][ObjectKey(metadata["namespace"], metadata["name"])] = body
        self.undelivered[kind].append(("PUT", body))
        return self.version

    def remove(self, kind: str, key: ObjectKey) -> None:
        """Delete an object for good."""
        self.version += 1
        body = self.objects[kind].pop(key)
        body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        self.undelivered[kind].append(("REMOVE", body))

    def delete_pod(self, key: ObjectKey, now: datetime) -> None:
        """Ask for a pod's deletion; the kubelet ends it later."""
        body = self.objects["Pod"][key]
        if "deletionTimestamp" not in body["metadata"]:
            self.put("Pod", merged(body, {"metadata": {"deletionTimestamp": format_time(now)}}))


@attrs.define
class Flight:
    """A reconcile whose writes have not reached the server yet."""

    observed: Observed
    decided: Plan


class Operator:
    """One life of the operator: caches, admission, and the keys that its watches woke."""

    def __init__(self, server: Server, clock: VirtualClock) -> None:
        self.server = server
        self.clock = clock
        self.polecats: Store[Polecat] = Store(
            POLECAT, {POLECATS_BY_RIG: polecats_by_rig, POLECATS_BY_BEAD: polecats_by_bead}
        )
        self.pods: Store[Pod] = Store(
            POD, {PODS_BY_OWNER: pods_by_owner, ACTIVE_PODS_BY_RIG: active_pods_by_rig}
        )
        self.rigs = Store(RIG)
        self.rigs.partition().put(rig(settings={"maxPolecats": MAXIMUM}))
        self.admission = Admission(self.polecats, self.pods, clock)
        self.woken: dict[ObjectKey, float] = {}
        self.flights: dict[ObjectKey, Flight] = {}
        self.behind: dict[ObjectKey, dict[str, int]] = defaultdict(dict)
        self.partitions: dict[str, Partition[Any]] = {
            "Polecat": self.polecats.partition(),
            "Pod": self.pods.partition(),
        }
        self._watch(Wakeups(self.admission, self.rigs))
        server.undelivered.clear()
        for kind, objects in server.objects.items():
            for body in objects.values():
                self.partitions[kind].put(self.project(kind, body))
            self.partitions[kind].advance(server.version)

    def _watch(self, wakeups: Wakeups) -> None:
        watches: list[tuple[Store[Any], Watch[Any]]] = [
            (self.polecats, for_object(POLECAT)),
            (self.polecats, mapped(POLECAT, wakeups.of_polecat)),
            (self.pods, owned_by(POD, POLECAT)),
            (self.pods, mapped(POD, wakeups.of_pod)),
        ]
        for store, watch in watches:
            store.add_handler(self._waker(watch))

    def _waker(self, watch: Watch[Any]) -> Any:
        def wake(event: Event[Any]) -> None:
            for key in watch.keys(event):
                self.woken[key] = self.clock.monotonic()

        return wake

    @staticmethod
    def project(kind: str, body: JSON) -> Object:
        """The cached form of an object."""
        return (POLECAT if kind == "Polecat" else POD).project(body)

    def deliver(self, kind: str) -> None:
        """Let the cache see the next event of a kind."""
        what, body = self.server.undelivered[kind].popleft()
        cached = self.project(kind, body)
        if what == "PUT":
            self.partitions[kind].put(cached)
        else:
            self.partitions[kind].remove(cached.metadata.key, cached.metadata.resource_version)

    def ready(self) -> list[ObjectKey]:
        """Keys that a worker may take: due, in nobody's hands, and not behind their own writes."""
        now = self.clock.monotonic()
        return [
            key
            for key, due in sorted(self.woken.items())
            if due <= now and key not in self.flights and self._caught_up(key)
        ]

    def _caught_up(self, key: ObjectKey) -> bool:
        return all(
            self.partitions[kind].resource_version >= version for kind, version in self.behind[key].items()
        )

    def take(self, key: ObjectKey) -> None:
        """A worker observes and plans; its writes are under way."""
        del self.woken[key]
        polecat = self.polecats.get(key)
        if polecat is None:
            return
        observed = observe(polecat, self.rigs, self.admission)
        decided = plan(observed, SETTINGS, self.clock.now())
        for action in decided.actions:
            if isinstance(action, Create):
                self.admission.assume(polecat, action.key)
        self.flights[key] = Flight(observed, decided)

    def land(self, key: ObjectKey) -> None:
        """The writes of a worker reach the server."""
        flight = self.flights.pop(key)
        refusal = self._write(flight.observed.polecat, flight.decided)
        if refusal is not None:
            self.admission.refused(flight.observed.polecat)
            refused = attrs.evolve(flight.observed, refusal=refusal)
            self._write(flight.observed.polecat, plan(refused, SETTINGS, self.clock.now()))

    def _write(self, polecat: Polecat, decided: Plan) -> Refusal | None:
        key = polecat.metadata.key
        for action in decided.actions:
            if isinstance(action, Create):
                refusal = self._create(polecat, action)
                if refusal is not None:
                    return refusal
            elif isinstance(action, Delete):
                live = self.server.objects["Pod"].get(action.key)
                if live is not None and live["metadata"]["uid"] == action.uid:
                    self.server.delete_pod(action.key, self.clock.now())
                    self.behind[key]["Pod"] = self.server.version
        stored = self.server.objects["Polecat"].get(key)
        if (
            decided.status is not None
            and stored is not None
            and stored["metadata"]["uid"] == polecat.metadata.uid
        ):
            self.behind[key]["Polecat"] = self.server.put(
                "Polecat", {**stored, "status": dict(decided.status)}
            )
        if decided.requeue_after is not None:
            due = self.clock.monotonic() + decided.requeue_after
            self.woken[key] = min(due, self.woken.get(key, due))
        return None

    def _create(self, polecat: Polecat, action: Create) -> Refusal | None:
        key = polecat.metadata.key
        live = self.server.objects["Pod"].get(action.key)
        if live is None:
            body = {**action.body, "status": {"phase": "Pending"}}
            metadata = {**body["metadata"], "creationTimestamp": format_time(self.clock.now())}
            self.server.created_pods.append(action.key.name)
            version = self.server.put("Pod", {**body, "metadata": metadata})
            self.behind[key]["Pod"] = version
            self.admission.created(polecat, version)
            return None
        ours, theirs = controller_of(action.body), controller_of(live)
        if ours is not None and theirs is not None and ours.uid == theirs.uid:
            self.admission.created(polecat, int(live["metadata"]["resourceVersion"]))
            return None
        return Refusal(action, NotOurs(POD, action.key, theirs))


def ending(outcome: Outcome, now: datetime) -> JSON:
    """Status of a pod whose agent ended in one of a few ways."""
    good = outcome in (Outcome.SUCCEEDED, Outcome.NO_CHANGES)
    proof = word(outcome, commits=1 if outcome is Outcome.SUCCEEDED else 0)
    return {
        "phase": "Succeeded" if good else "Failed",
        "initContainerStatuses": [
            {"name": "clone", "state": terminated(at=now)},
            {"name": "keeper", "state": terminated(message=proof, at=now)},
        ],
        "containerStatuses": [{"name": "agent", "state": terminated(0 if good else 143, at=now)}],
    }


class World(RuleBasedStateMachine):
    """Users, kubelet, watches and workers, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.server = Server()
        self.operator = Operator(self.server, self.clock)

    def pods(self) -> list[JSON]:
        return [body for _, body in sorted(self.server.objects["Pod"].items())]

    def active(self) -> list[JSON]:
        return [body for body in self.pods() if body["status"]["phase"] in ("Pending", "Running")]

    @rule(
        name=st.sampled_from(NAMES), bead=st.sampled_from(["", "gt-1", "gt-2"]), priority=st.integers(-1, 1)
    )
    def user_creates(self, name: str, bead: str, priority: int) -> None:
        key = ObjectKey(WORKERS, name)
        if key in self.server.objects["Polecat"]:
            return
        created = format_time(self.clock.now())
        metadata = {"name": name, "namespace": WORKERS, "generation": 1, "creationTimestamp": created}
        spec = {
            "rig": "project",
            "desiredState": "Working",
            "beadID": bead,
            "agent": "custom",
            "agentConfig": {"command": ["true"]},
            "priority": priority,
        }
        self.server.put("Polecat", {"metadata": metadata, "spec": spec, "status": {}})

    @rule(name=st.sampled_from(NAMES))
    def user_deletes(self, name: str) -> None:
        key = ObjectKey(WORKERS, name)
        if key in self.server.objects["Polecat"]:
            self.server.remove("Polecat", key)

    @rule(name=st.sampled_from(NAMES), wanted=st.sampled_from(["Working", "Terminated"]))
    def user_wants(self, name: str, wanted: str) -> None:
        body = self.server.objects["Polecat"].get(ObjectKey(WORKERS, name))
        if body is not None and body["spec"]["desiredState"] != wanted:
            generation = body["metadata"]["generation"] + 1
            changes = {"metadata": {"generation": generation}, "spec": {"desiredState": wanted}}
            self.server.put("Polecat", merged(body, changes))

    @precondition(lambda self: self.pods())
    @rule(data=st.data())
    def kubelet_goes_on(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.server.objects["Pod"])))
        body = self.server.objects["Pod"][key]
        phase = body["status"]["phase"]
        if phase == "Pending" and "deletionTimestamp" not in body["metadata"]:
            self.server.put("Pod", {**body, "status": {"phase": "Running"}})
        elif phase in ("Pending", "Running"):
            outcomes = [Outcome.SUCCEEDED, Outcome.NO_CHANGES, Outcome.INTERRUPTED, Outcome.AGENT_ERROR]
            outcome = data.draw(st.sampled_from(outcomes))
            if "deletionTimestamp" in body["metadata"]:
                outcome = Outcome.INTERRUPTED
            self.server.put("Pod", {**body, "status": ending(outcome, self.clock.now())})
        elif "deletionTimestamp" in body["metadata"]:
            self.server.remove("Pod", key)

    @precondition(lambda self: self.pods())
    @rule(data=st.data())
    def somebody_deletes_a_pod(self, data: st.DataObject) -> None:
        self.server.delete_pod(
            data.draw(st.sampled_from(sorted(self.server.objects["Pod"]))), self.clock.now()
        )

    @rule()
    def garbage_is_collected(self) -> None:
        """A pod whose owner is gone, whether it was created before that or after."""
        living = {body["metadata"]["uid"] for body in self.server.objects["Polecat"].values()}
        for key, body in sorted(self.server.objects["Pod"].items()):
            owner = controller_of(body)
            if owner is None or owner.uid not in living:
                self.server.delete_pod(key, self.clock.now())

    @precondition(lambda self: any(self.server.undelivered.values()))
    @rule(data=st.data())
    def a_watch_delivers(self, data: st.DataObject) -> None:
        kinds = sorted(kind for kind, waiting in self.server.undelivered.items() if waiting)
        self.operator.deliver(data.draw(st.sampled_from(kinds)))

    @precondition(lambda self: self.operator.ready())
    @rule(data=st.data())
    def a_worker_takes(self, data: st.DataObject) -> None:
        self.operator.take(data.draw(st.sampled_from(self.operator.ready())))

    @precondition(lambda self: self.operator.flights)
    @rule(data=st.data())
    def a_worker_lands(self, data: st.DataObject) -> None:
        self.operator.land(data.draw(st.sampled_from(sorted(self.operator.flights))))

    @rule(data=st.data())
    def the_operator_dies_and_comes_back(self, data: st.DataObject) -> None:
        """Some of the writes that were under way still arrive, some never do."""
        for key in sorted(self.operator.flights):
            if data.draw(st.booleans()):
                self.operator.land(key)
        self.operator = Operator(self.server, self.clock)
        for kind in self.server.objects:
            for key in self.server.objects[kind]:
                if kind == "Polecat":
                    self.operator.woken[key] = self.clock.monotonic()

    @rule(seconds=st.sampled_from([1, 10, 400]))
    def time_passes(self, seconds: int) -> None:
        self.clock.move(seconds)

    @invariant()
    def a_rig_never_has_more_active_pods_than_it_may(self) -> None:
        assert len(self.active()) <= MAXIMUM

    @invariant()
    def a_polecat_never_has_two_active_pods(self) -> None:
        owners = [owner.uid for body in self.active() if (owner := controller_of(body)) is not None]
        assert len(owners) == len(set(owners))

    @invariant()
    def done_is_only_what_was_proven(self) -> None:
        for body in self.server.objects["Polecat"].values():
            status = body["status"]
            if status.get("phase") == "Done":
                assert status["headCommit"]
                assert status["attempts"][-1]["class"] == "Succeeded"

    def teardown(self) -> None:
        """The world comes to rest: everybody is done, stuck or terminated, and nothing is written any more."""
        for _ in range(400):
            if not self._step():
                break
        for key, body in self.server.objects["Polecat"].items():
            phase = body["status"].get("phase", "Idle")
            assert phase in ("Done", "Stuck", "Terminated"), (key, body["status"])
        version = self.server.version
        self.clock.move(3600)
        for key in sorted(self.server.objects["Polecat"]):
            self.operator.woken[key] = self.clock.monotonic()
            self.operator.take(key)
            self.operator.land(key)
        assert self.server.version == version, "something is written though nothing changed"

    def _step(self) -> bool:
        """One round of everything that goes on by itself; whether anything did."""
        before = (self.server.version, dict(self.operator.woken), len(self.operator.flights))
        for kind in list(self.server.undelivered):
            while self.server.undelivered[kind]:
                self.operator.deliver(kind)
        for key in self.operator.ready():
            self.operator.take(key)
        for key in sorted(self.operator.flights):
            self.operator.land(key)
        self.garbage_is_collected()
        for body in self.pods():
            self._kubelet_finishes(body)
        pending = any(self.server.undelivered.values())
        changed = before != (self.server.version, dict(self.operator.woken), len(self.operator.flights))
        if not changed and self.operator.woken:
            self.clock.move(400)
            return True
        return changed or pending

    def _kubelet_finishes(self, body: JSON) -> None:
        phase = body["status"]["phase"]
        deleting = "deletionTimestamp" in body["metadata"]
        if phase in ("Pending", "Running"):
            outcome = Outcome.INTERRUPTED if deleting else Outcome.SUCCEEDED
            self.server.put("Pod", {**body, "status": ending(outcome, self.clock.now())})
        elif deleting:
            self.server.remove("Pod", ObjectKey(WORKERS, body["metadata"]["name"]))


World.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=60,
    deadline=None,
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestInterleavings = World.TestCase
