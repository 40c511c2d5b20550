"""Objects that do not fit: each is reported once, everybody else is served, and nothing ends (issue 4, "Bad input")."""

from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gastown_operator.api.core import POD
from gastown_operator.api.polecat import POLECAT
from gastown_operator.api.rig import RIG
from gastown_operator.controllers.credential.problem import Credentials
from gastown_operator.controllers.credential.settings import CredentialSettings
from gastown_operator.controllers.network.fence import Fence
from gastown_operator.controllers.polecat import reconciler as polecats
from gastown_operator.controllers.rig import reconciler as rigs
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.objects import MalformedObjectError, Resource
from gastown_operator.runtime.testing import VirtualClock
from tests.faults.conftest import Rig, running, until
from tests.faults.scripted_server import Raw, ScriptedServer, bookmark, line, stream
from tests.unit.api.test_core import pod as pod_body
from tests.unit.controllers.objects import SETTINGS, WORKERS, polecat_body, rig_body

EVENTS = f"/apis/events.k8s.io/v1/namespaces/{WORKERS}/events"

#: What an older CRD, a newer operator, or somebody's script may have stored.
MALFORMED: dict[str, tuple[Resource[Any], Raw]] = {
    "spec-list": (POLECAT, {"spec": []}),
    "spec-text": (POLECAT, {"spec": "work"}),
    "rig-number": (POLECAT, {"spec": {"rig": 3}}),
    "rig-null": (POLECAT, {"spec": {"rig": None}}),
    "unknown-state": (POLECAT, {"spec": {"rig": "project", "desiredState": "Paused"}}),
    "unknown-phase": (POLECAT, {"status": {"phase": "Exploded"}}),
    "conditions-text": (POLECAT, {"status": {"conditions": "none"}}),
    "condition-without-type": (POLECAT, {"status": {"conditions": [{"status": "True"}]}}),
    "status-number": (POLECAT, {"status": 7}),
    "no-such-time": (POLECAT, {"status": {"startedAt": "2026-02-30T00:00:00Z"}}),
    "time-without-zone": (POLECAT, {"metadata": {"creationTimestamp": "2026-01-01T00:00:00"}}),
    "labels-list": (POLECAT, {"metadata": {"labels": ["a"]}}),
    "annotation-number": (POLECAT, {"metadata": {"annotations": {"a": 1}}}),
    "kubernetes-list": (POLECAT, {"spec": {"rig": "project", "kubernetes": []}}),
    "rig-settings-text": (RIG, {"spec": {"settings": "many"}}),
    "rig-limit-text": (RIG, {"spec": {"settings": {"maxPolecats": "8"}}}),
    "rig-url-null": (RIG, {"spec": {"gitURL": None}}),
    "rig-status-list": (RIG, {"status": []}),
    "pod-phase": (POD, {"status": {"phase": "Sleeping"}}),
    "pod-statuses-object": (POD, {"status": {"containerStatuses": {}}}),
    "pod-restarts-text": (POD, {"status": {"containerStatuses": [{"name": "a", "restartCount": "3"}]}}),
    "pod-started-soon": (
        POD,
        {"status": {"containerStatuses": [{"state": {"running": {"startedAt": "soon"}}}]}},
    ),
    "pod-owner-text": (POD, {"metadata": {"ownerReferences": ["polecat"]}}),
    "pod-owner-empty": (POD, {"metadata": {"ownerReferences": [{}]}}),
}
BODIES = {POLECAT: polecat_body, RIG: rig_body, POD: pod_body}


def malformed(name: str) -> tuple[str, Raw]:
    """Return the path of a malformed object, and the object."""
    resource, part = MALFORMED[name]
    body = BODIES[resource](name)
    for section, content in part.items():
        body[section] = {**body[section], **content} if section == "metadata" else content
    namespace = WORKERS if resource.namespaced else ""
    if namespace:
        body["metadata"]["namespace"] = namespace
    return resource.path(namespace, name), body


def operator(server: ScriptedServer, clock: VirtualClock) -> Manager:
    """Return the operator's controllers on the server."""
    manager = Manager(Connection(server.url), Options("tests"), clock)
    polecats.register(manager, SETTINGS, clock, Credentials(CredentialSettings()), Fence())
    rigs.register(manager, clock, Credentials(CredentialSettings()), Fence())
    return manager


def has_pod(server: ScriptedServer, polecat: str) -> bool:
    return POD.path(WORKERS, f"polecat-{polecat}") in server.objects


def reported(server: ScriptedServer) -> list[str]:
    """Return whose malformation was told by an event."""
    events = [request.body for request in server.sent(verb="POST") if request.path.endswith("/events")]
    return sorted(event["regarding"]["name"] for event in events if event["reason"] == "MalformedObject")


@pytest.mark.anyio
async def test_each_object_that_does_not_fit_is_reported_once_and_the_others_are_served(
    server: ScriptedServer,
) -> None:
    clock = VirtualClock()
    manager = operator(server, clock)
    for name in MALFORMED:
        server.put(*malformed(name))
    server.put(RIG.path("", "project"), rig_body())
    server.put(POLECAT.path(WORKERS, "well"), polecat_body("well"))
    large = {"annotations": {"tests.example.com/note": "x" * 1024 * 1024}}
    server.put(POLECAT.path(WORKERS, "large"), polecat_body("large", metadata=large))
    async with running(manager):
        await until(lambda: has_pod(server, "well") and has_pod(server, "large"))
        await until(lambda: len(reported(server)) == len(MALFORMED))
        for name in MALFORMED:  # touched, and as malformed as before
            server.put(*malformed(name))
        server.put(POLECAT.path(WORKERS, "late"), polecat_body("late"))
        await until(lambda: has_pod(server, "late"))
        assert manager.readyz.run().healthy
        server.put(POLECAT.path(WORKERS, "rig-null"), polecat_body("rig-null"))
        await until(lambda: has_pod(server, "rig-null"))
    assert reported(server) == sorted(MALFORMED)
    for resource in (POLECAT, RIG, POD):
        count = sum(each is resource for each, _ in MALFORMED.values())
        sample = manager.registry.get_sample_value
        assert sample("informer_malformed_objects_total", {"resource": str(resource)}) == count


@pytest.mark.anyio
async def test_an_object_too_deep_for_the_parser_hides_nobody(rig: Rig) -> None:
    """A user may store 10,000 levels in a field without a schema."""
    metadata = b'{"name":"deep","namespace":"ns","resourceVersion":"105"}'
    deep = b'{"type":"ADDED","object":{"metadata":%s,"spec":%s1%s}}\n' % (
        metadata,
        b'{"a":' * 9000,
        b"}" * 9000,
    )
    well = line("ADDED", {"metadata": {"name": "well", "namespace": "ns", "resourceVersion": "106"}})
    late = line("ADDED", {"metadata": {"name": "late", "namespace": "ns", "resourceVersion": "111"}})
    start = [deep, well, line("BOOKMARK", bookmark(110, end=True))]
    rig.server.script("GET", stream(*start, deep.replace(b"105", b"112"), late, then="stall"), watches=True)
    async with anyio.create_task_group() as group:
        group.start_soon(rig.reflector.run)
        await until(lambda: rig.names() == ["deep", "late", "well"])
        group.cancel_scope.cancel()


INTEGERS = st.integers(-(2**63), 2**64 - 1)
JUNK: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            False,
            0,
            -1,
            2**63,
            1.5,
            "",
            "x",
            "\x00",
            "\u2028",
            "x" * 70_000,
            [],
            {},
            [None],
            [[]],
            {"": None},
        ]
    ),
    st.sampled_from(
        ["0000-00-00T00:00:00Z", "9999-12-31T23:59:59+14:00", "2026-01-01", "now", "1e9", "-5m", "1h1h"]
    ),
    st.text(max_size=20),
    st.dictionaries(st.text(max_size=5), st.none() | INTEGERS | st.text(max_size=5), max_size=3),
    st.lists(st.none() | INTEGERS | st.text(max_size=5), max_size=3),
)
FULL_POLECAT = {
    **polecat_body(
        "odd",
        metadata={"labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["e/f"]},
        beadID="gt-1",
        ttlSecondsAfterFinished=60,
        dependsOn=["other"],
        priority=3,
        retry={"maxAttempts": 2},
        resources={"limits": {"cpu": "1", "memory": 1024}},
        kubernetes={
            "gitBranch": "main",
            "activeDeadlineSeconds": 600,
            "nodeSelector": {"a": "b"},
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "workspace": {"size": "1Gi"},
        },
    ),
    "status": {
        "phase": "Working",
        "podName": "polecat-odd",
        "podActive": True,
        "round": 1,
        "attempt": 1,
        "attempts": [{"podUID": "u", "class": "Infrastructure", "finishedAt": "2026-01-01T00:00:00Z"}],
        "startedAt": "2026-01-01T00:00:00Z",
        "conditions": [
            {
                "type": "Ready",
                "status": "False",
                "reason": "Working",
                "message": "m",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
                "observedGeneration": 1,
            }
        ],
    },
}
FULL_POD = pod_body("polecat-odd")
FULL_POD["metadata"]["namespace"] = WORKERS
FULL_POD["metadata"]["ownerReferences"][0] |= {"name": "odd", "uid": "odd-uid"}
FULL_RIG = {
    **rig_body("odd", policy={"podLabels": True}, checkpoint={"interval": "2m"}),
    "status": {"phase": "Ready", "polecatCount": 1},
}
EXAMPLES: dict[str, tuple[Resource[Any], Raw]] = {
    "polecat": (POLECAT, FULL_POLECAT),
    "rig": (RIG, FULL_RIG),
    "pod": (POD, FULL_POD),
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every part of a JSON value."""
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, member in members:
        yield (*path, key)
        yield from places(member, (*path, key))


@st.composite
def spoiled(draw: st.DrawFn, example: Raw) -> Raw:
    """Take a real-looking object and replace, or leave out, one to three parts of it."""
    body = deepcopy(example)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(body)) or [()]))
        if not path:
            continue
        parent: Any = body
        for key in path[:-1]:
            parent = parent[key]
        if draw(st.booleans()):
            parent[path[-1]] = deepcopy(draw(JUNK))
        else:
            del parent[path[-1]]
    return body


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_examples_themselves_fit(kind: str) -> None:
    resource, example = EXAMPLES[kind]
    assert resource.project(example).metadata.name in {"odd", "polecat-odd"}


@pytest.mark.parametrize("kind", EXAMPLES)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_whatever_is_stored_fits_or_is_refused(kind: str, data: st.DataObject) -> None:
    resource, example = EXAMPLES[kind]
    body = data.draw(spoiled(example))
    with suppress(MalformedObjectError):
        resource.project(body)


@given(odd_polecat=spoiled(FULL_POLECAT), odd_rig=spoiled(FULL_RIG), odd_pod=spoiled(FULL_POD))
@settings(max_examples=30, deadline=None)
def test_whatever_is_stored_others_get_their_pods_and_no_reconcile_panics(
    odd_polecat: Raw, odd_rig: Raw, odd_pod: Raw
) -> None:
    async def scenario() -> float | None:
        async with ScriptedServer().running() as server:
            server.objects[RIG.path("", "odd")] = odd_rig
            server.objects[POLECAT.path(WORKERS, "odd")] = odd_polecat
            server.objects[POD.path(WORKERS, "polecat-odd")] = odd_pod
            server.put(RIG.path("", "project"), rig_body())
            server.put(POLECAT.path(WORKERS, "well"), polecat_body("well"))
            manager = operator(server, VirtualClock())
            async with running(manager):
                await until(lambda: has_pod(server, "well"))
                await until(lambda: not manager.queue.state("polecat").ready_by_priority)
                await until(lambda: not manager.queue.state("polecat").processing)
            return sum(
                manager.registry.get_sample_value(
                    "controller_runtime_reconcile_panics_total", {"controller": name}
                )
                or 0
                for name in ("polecat", "rig")
            )

    assert anyio.run(scenario) == 0
