"""The polecat controller against a model of the API server: caches that lag, workers that overlap, an operator that dies.

Whatever the order of events, a rig never has more active pods than it may, a bead never two, a polecat never two; and when the
world comes to rest, everybody who can be done is done, woken by nothing but the controller's own watches.

Walks are random but for their seed, which a failure names. Uniform choices (hypothesis' rule-based machines were tried) hardly
ever get two workers into the air at once, so the choices have weights.
"""

from collections import defaultdict, deque
from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Any, ClassVar

import attrs
import orjson
import pytest

from gastown_operator.api import labels
from gastown_operator.api.core import POD, Pod
from gastown_operator.api.polecat import POLECAT, Polecat
from gastown_operator.api.rig import RIG, Rig
from gastown_operator.controllers.credential.problem import Credentials
from gastown_operator.controllers.network.fence import Fence
from gastown_operator.controllers.polecat.admission import Admission
from gastown_operator.controllers.polecat.budget import reservation, reserved_by
from gastown_operator.controllers.polecat.observe import POD_INDEXES, POLECAT_INDEXES, Observed, observe
from gastown_operator.controllers.polecat.plan import plan
from gastown_operator.controllers.polecat.reconciler import Wakeups
from gastown_operator.runtime.controller import Watch, for_object, mapped, owned_by
from gastown_operator.runtime.errors import Forbidden
from gastown_operator.runtime.execution import NotOurs, Refusal
from gastown_operator.runtime.objects import Object, ObjectKey, Resource, format_time
from gastown_operator.runtime.plan import Create, Delete, MergePatch, Plan, controller_of
from gastown_operator.runtime.store import Event, Partition, Store
from gastown_operator.runtime.testing import VirtualClock
from gastown_operator.workload.message import Outcome
from tests.unit.controllers.objects import SETTINGS, WORKERS, merged, rig_body, terminated, word

KINDS: dict[str, Resource[Any]] = {"Polecat": POLECAT, "Pod": POD, "Rig": RIG}
NAMES = ["ash", "birch", "cedar", "dogwood"]
JSON = dict[str, Any]


@attrs.define
class Server:
    """Objects by kind and key as JSON, and what the watches have not delivered yet."""

    version: int = 1
    objects: dict[str, dict[ObjectKey, JSON]] = attrs.field(
        factory=lambda: {"Polecat": {}, "Pod": {}, "Rig": {}}
    )
    undelivered: dict[str, deque[tuple[str, JSON]]] = attrs.field(factory=lambda: defaultdict(deque))
    uids: int = 0
    created_pods: list[str] = attrs.field(factory=list)
    quota_is_full: bool = False
    done: set[str] = attrs.field(factory=set)

    def put(self, kind: str, body: JSON) -> int:
        """Create or change an object; its new version."""
        self.version += 1
        metadata = body["metadata"]
        if "uid" not in metadata:
            self.uids += 1
            metadata = {**metadata, "uid": f"uid-{self.uids:04}"}
        body = {**body, "metadata": {**metadata, "resourceVersion": str(self.version)}}
        body = orjson.loads(orjson.dumps(body))  # what is stored is JSON, whatever was given
        self.objects[kind][ObjectKey(metadata.get("namespace", ""), metadata["name"])] = body
        if body.get("status", {}).get("phase") == "Done":
            self.done.add(metadata["name"])
        self.undelivered[kind].append(("PUT", body))
        return self.version

    def remove(self, kind: str, key: ObjectKey) -> None:
        """Delete an object for good."""
        self.version += 1
        body = self.objects[kind].pop(key)
        body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        self.undelivered[kind].append(("REMOVE", body))

    def delete_polecat(self, key: ObjectKey, now: datetime) -> None:
        """Ask for a polecat's deletion, which waits for its finalizers."""
        body = self.objects["Polecat"][key]
        if "deletionTimestamp" not in body["metadata"]:
            generation = body["metadata"]["generation"] + 1
            leaving = {"deletionTimestamp": format_time(now), "generation": generation}
            self.put("Polecat", merged(body, {"metadata": leaving}))
        self.finalized(key)

    def finalized(self, key: ObjectKey) -> None:
        """A polecat that is being deleted goes when nobody holds it up."""
        metadata = self.objects["Polecat"][key]["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            self.remove("Polecat", key)

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
        self.polecats: Store[Polecat] = Store(POLECAT, dict(POLECAT_INDEXES))
        self.pods: Store[Pod] = Store(POD, dict(POD_INDEXES))
        self.rigs: Store[Rig] = Store(RIG)
        self.admission = Admission(self.polecats, self.pods, clock)
        self.woken: dict[ObjectKey, float] = {}
        self.flights: dict[ObjectKey, Any] = {}
        self.behind: dict[ObjectKey, dict[str, int]] = defaultdict(dict)
        self.partitions: dict[str, Partition[Any]] = {
            "Polecat": self.polecats.partition(),
            "Pod": self.pods.partition(),
            "Rig": self.rigs.partition(),
        }
        self.wakeups = Wakeups(self.admission, self.rigs)
        self._watch(self.wakeups)
        server.undelivered.clear()
        for kind, objects in server.objects.items():
            for body in objects.values():
                self.partitions[kind].put(self.project(kind, body))
            self.partitions[kind].advance(server.version)

    def _watch(self, wakeups: Wakeups) -> None:
        watches: list[tuple[Store[Any], Watch[Any]]] = [
            (self.polecats, for_object(POLECAT)),
            (self.polecats, mapped(POLECAT, wakeups.of_polecat)),
            (self.polecats, mapped(POLECAT, wakeups.of_dependency)),
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
        cached: Object = KINDS[kind].project(body)
        return cached

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
        observed = observe(polecat, self.rigs, self.admission, Credentials(), Fence())
        decided = plan(observed, SETTINGS, self.clock.now())
        for action in decided.actions:
            if isinstance(action, Create):
                self.admission.assume(polecat, action.key, reserved_by(reservation(POD.project(action.body))))
        self.flights[key] = Flight(observed, decided)

    def land(self, key: ObjectKey) -> None:
        """The writes of a worker reach the server."""
        flight = self.flights.pop(key)
        refusal = self._write(flight.observed.polecat, flight.decided)
        if refusal is not None:
            self.admission.refused(flight.observed.polecat)
            for other in self.wakeups.next_in_line("project"):
                self.woken[other] = self.clock.monotonic()
            refused = attrs.evolve(flight.observed, refusal=refusal)
            self._write(flight.observed.polecat, plan(refused, SETTINGS, self.clock.now()))

    def _write(self, polecat: Polecat, decided: Plan) -> Refusal | None:
        key = polecat.metadata.key
        for action in decided.actions:
            if isinstance(action, Create):
                refusal = self._create(polecat, action)
                if refusal is not None:
                    return refusal
            elif isinstance(action, MergePatch):
                self._finalize(key, action)
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

    def _finalize(self, key: ObjectKey, action: MergePatch) -> None:
        """Change the finalizers of a polecat, if it is the one that was looked at."""
        stored, wanted = self.server.objects["Polecat"].get(key), action.body["metadata"]
        if stored is None or stored["metadata"]["resourceVersion"] != wanted["resourceVersion"]:
            self.woken[key] = self.clock.monotonic()  # a conflict: the executor tries again
            return
        body = merged(stored, {"metadata": {"finalizers": list(wanted["finalizers"])}})
        self.behind[key]["Polecat"] = self.server.put("Polecat", body)
        self.server.finalized(key)

    def _create(self, polecat: Polecat, action: Create) -> Refusal | None:
        key = polecat.metadata.key
        live = self.server.objects["Pod"].get(action.key)
        if live is None and self.server.quota_is_full:
            return Refusal(action, Forbidden("exceeded quota: pods", status=403))
        if live is None:
            body = {**action.body, "status": {"phase": "Pending"}}
            metadata = {**body["metadata"], "creationTimestamp": format_time(self.clock.now())}
            self.server.created_pods.append(action.key.name)
            missing = set(polecat.spec.depends_on) - self.server.done
            assert not missing, f"{key} starts before {missing}, which it depends on"
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


class World:
    """Users, kubelet, watches and workers, in an order that a seed decides."""

    agent_config: ClassVar[JSON] = {"command": ["true"]}
    rig_spec: ClassVar[JSON] = {}

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - reproducible, not secret
        self.maximum = self.random.choice([1, 2])
        self.clock = VirtualClock()
        self.server = Server()
        self.server.put("Rig", rig_body(settings={"maxPolecats": self.maximum}, **self.rig_spec))
        self.operator = self.starts()
        self.trace: list[str] = []
        self.weights: dict[Callable[[], None], int] = {
            self.user_creates: 6,
            self.user_deletes: 2,
            self.user_changes_a_mind: 2,
            self.kubelet_goes_on: 8,
            self.somebody_deletes_a_pod: 1,
            self.garbage_is_collected: 2,
            self.a_quota_fills_or_frees: 1,
            self.a_watch_delivers: 20,
            self.a_worker_takes: 16,
            self.a_worker_lands: 12,
            self.the_operator_dies_and_comes_back: 1,
            self.time_passes: 3,
        }

    def starts(self) -> Operator:
        """Another life of the operator."""
        return Operator(self.server, self.clock)

    def walk(self, steps: int) -> None:
        """Do some steps, each checked, and come to rest."""
        actions, weights = list(self.weights), list(self.weights.values())
        for action in self.random.choices(actions, weights, k=steps):
            action()
            self.check()
        self.come_to_rest()

    def note(self, action: str, *details: object) -> None:
        """Remember what happened, for a failure's report."""
        self.trace.append(" ".join([action, *map(str, details)]))

    def check(self) -> None:
        """What holds at every moment."""
        active = self.active()
        assert len(active) <= self.maximum, "a rig has more active pods than it may"
        owners = [owner.uid for body in active if (owner := controller_of(body)) is not None]
        assert len(owners) == len(set(owners)), "a polecat has two active pods"
        living = {body["metadata"]["uid"] for body in self.server.objects["Polecat"].values()}
        beads = [
            body["metadata"]["annotations"][labels.BEAD]
            for body in active
            if labels.BEAD in body["metadata"]["annotations"]
            and (owner := controller_of(body)) is not None
            and owner.uid in living
        ]
        assert len(beads) == len(set(beads)), "two polecats work on one bead"
        for body in self.server.objects["Polecat"].values():
            if body["status"].get("phase") == "Done":
                assert body["status"]["headCommit"], "done without proof"

    def pods(self) -> list[JSON]:
        return [body for _, body in sorted(self.server.objects["Pod"].items())]

    def active(self) -> list[JSON]:
        return [body for body in self.pods() if body["status"]["phase"] in ("Pending", "Running")]

    def user_creates(self) -> None:
        name, bead = self.random.choice(NAMES), self.random.choice(["", "gt-1", "gt-1", "gt-2"])
        key = ObjectKey(WORKERS, name)
        if key in self.server.objects["Polecat"]:
            return
        needed = self.random.choice([[], [], [], [self.random.choice(NAMES)], self.random.sample(NAMES, 2)])
        self.note("create", name, bead, needed)
        self.clock.move(1)
        created = format_time(self.clock.now())
        metadata = {"name": name, "namespace": WORKERS, "generation": 1, "creationTimestamp": created}
        spec = {
            "rig": "project",
            "desiredState": "Working",
            "beadID": bead,
            "agent": "custom",
            "agentConfig": self.agent_config,
            "priority": self.random.choice([-1, 0, 1]),
            "dependsOn": needed,
            "retry": self.random.choice([{}, {"classes": ["AgentError"], "maxAttempts": 2}]),
        }
        self.server.put("Polecat", {"metadata": metadata, "spec": spec, "status": {}})

    def user_deletes(self) -> None:
        key = self._any("Polecat")
        if key is not None:
            self.note("delete", key)
            self.server.delete_polecat(key, self.clock.now())

    def user_changes_a_mind(self) -> None:
        key = self._any("Polecat")
        if key is None:
            return
        body = self.server.objects["Polecat"][key]
        states = {"Working", "Terminated", "Idle"} - {body["spec"]["desiredState"]}
        wanted = self.random.choice(["Working", *sorted(states)] if "Working" in states else sorted(states))
        self.note("want", key, wanted)
        generation = body["metadata"]["generation"] + 1
        changes = {"metadata": {"generation": generation}, "spec": {"desiredState": wanted}}
        self.server.put("Polecat", merged(body, changes))

    def kubelet_goes_on(self) -> None:
        key = self._any("Pod")
        if key is None:
            return
        body = self.server.objects["Pod"][key]
        phase, deleting = body["status"]["phase"], "deletionTimestamp" in body["metadata"]
        self.note("kubelet", key, phase)
        if phase == "Pending" and not deleting:
            self.server.put("Pod", {**body, "status": {"phase": "Running"}})
        elif phase in ("Pending", "Running"):
            ways = [Outcome.SUCCEEDED, Outcome.NO_CHANGES, Outcome.INTERRUPTED, Outcome.AGENT_ERROR]
            outcome = Outcome.INTERRUPTED if deleting else self.random.choice(ways)
            self.ends(body, outcome)
        elif deleting:
            self.server.remove("Pod", key)

    def ends(self, body: JSON, outcome: Outcome) -> None:
        """All of its containers have ended."""
        self.server.put("Pod", {**body, "status": ending(outcome, self.clock.now())})

    def somebody_deletes_a_pod(self) -> None:
        key = self._any("Pod")
        if key is not None:
            self.note("delete pod", key)
            self.server.delete_pod(key, self.clock.now())

    def garbage_is_collected(self) -> None:
        """A pod whose owner is gone goes, whether it was created before that or after."""
        living = {body["metadata"]["uid"] for body in self.server.objects["Polecat"].values()}
        for key, body in sorted(self.server.objects["Pod"].items()):
            owner = controller_of(body)
            if owner is None or owner.uid not in living:
                self.server.delete_pod(key, self.clock.now())

    def a_quota_fills_or_frees(self) -> None:
        self.server.quota_is_full = not self.server.quota_is_full
        self.note("quota", "full" if self.server.quota_is_full else "free")

    def a_watch_delivers(self) -> None:
        kinds = sorted(kind for kind, waiting in self.server.undelivered.items() if waiting)
        if kinds:
            kind = self.random.choice(kinds)
            self.note("deliver", kind)
            self.operator.deliver(kind)

    def a_worker_takes(self) -> None:
        ready = self.operator.ready()
        if ready:
            key = self.random.choice(ready)
            self.note("take", key)
            self.operator.take(key)

    def a_worker_lands(self) -> None:
        if self.operator.flights:
            key = self.random.choice(sorted(self.operator.flights))
            self.note("land", key)
            self.operator.land(key)

    def the_operator_dies_and_comes_back(self) -> None:
        """Some of the writes that were under way still arrive, some never do."""
        self.note("restart")
        for key in sorted(self.operator.flights):
            if self.random.random() < 0.5:
                self.operator.land(key)
        self.operator = self.starts()
        for key in self.server.objects["Polecat"]:
            self.operator.woken[key] = self.clock.monotonic()

    def time_passes(self) -> None:
        self.clock.move(self.random.choice([1, 10, 400]))

    def _any(self, kind: str) -> ObjectKey | None:
        keys = sorted(self.server.objects[kind])
        return self.random.choice(keys) if keys else None

    def come_to_rest(self) -> None:
        """Let everything go on by itself: everybody ends, and then nothing is written any more."""
        self.server.quota_is_full = False
        for _ in range(400):
            if not self._step():
                break
            self.check()
        for key, body in self.server.objects["Polecat"].items():
            phase = body["status"].get("phase", "Idle")
            ended = phase in ("Done", "Stuck", "Terminated")
            assert ended or self.rests(body), f"{key} never ends: {body['status']}"
        version = self.server.version
        self.clock.move(3600)
        for key in sorted([*self.server.objects["Polecat"], *self.server.objects["Rig"]]):
            self.operator.woken[key] = self.clock.monotonic()
            self.operator.take(key)
            if key in self.operator.flights:
                self.operator.land(key)
        assert self.server.version == version, "something is written though nothing changed"

    def rests(self, body: JSON) -> bool:
        """Whether nothing that goes on by itself would let it work: nobody wants it to, or what it depends on is not there."""
        if body["spec"]["desiredState"] == "Idle":
            return True
        there = {
            key.name: other["status"].get("phase") for key, other in self.server.objects["Polecat"].items()
        }
        return any(there.get(name) != "Done" for name in body["spec"]["dependsOn"])

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
            self.clock.move(max(1.0, min(self.operator.woken.values()) - self.clock.monotonic()))
            return True
        return changed or pending

    def _kubelet_finishes(self, body: JSON) -> None:
        phase = body["status"]["phase"]
        deleting = "deletionTimestamp" in body["metadata"]
        if phase in ("Pending", "Running"):
            outcome = Outcome.INTERRUPTED if deleting else Outcome.SUCCEEDED
            self.ends(body, outcome)
        elif deleting:
            self.server.remove("Pod", ObjectKey(WORKERS, body["metadata"]["name"]))


WALKS = 150
STEPS = 250


@pytest.mark.parametrize("first", range(0, WALKS, 25))
def test_whatever_the_order_of_events_limits_hold_and_everybody_ends(first: int) -> None:
    for seed in range(first, first + 25):
        world = World(seed)
        try:
            world.walk(STEPS)
        except AssertionError as error:
            steps = "\n".join(world.trace[-60:])
            pytest.fail(f"seed {seed}: {error}\n{steps}")
