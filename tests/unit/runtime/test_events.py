"""Events that never get in the way (pitfall 26)."""

from typing import Any

import anyio
import orjson
import pytest
from attrs import define, field
from prometheus_client import CollectorRegistry

from gastown_operator.runtime.client import Client
from gastown_operator.runtime.errors import AlreadyExists, ApiError, Forbidden, NotFound, ServiceUnavailable
from gastown_operator.runtime.events import (
    BURST,
    NOTE_LIMIT,
    QUEUE_LIMIT,
    REFILL,
    SERIES_GAP,
    SERIES_LIMIT,
    SERIES_REFRESH,
    EventRecorder,
)
from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.plan import EventNote, Regarding
from gastown_operator.runtime.testing import VirtualClock

pytestmark = pytest.mark.anyio

POLECAT = Regarding("example.com/v1", "Polecat", ObjectKey("ns", "nux"), "uid-1")
NOTE = EventNote("Warning", "ImagePull", "cannot pull the image")


@define
class Wire:
    """Takes the requests of a client; answers with errors first, if there are any."""

    errors: list[ApiError] = field(factory=list)
    sent: list[tuple[str, str, dict[str, Any]]] = field(factory=list)

    async def request(self, verb: str, path: str, *, body: bytes | None = None, **_: Any) -> bytes:
        self.sent.append((verb, path, orjson.loads(body or b"{}")))
        if self.errors:
            raise self.errors.pop(0)
        return b"{}"


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def recorder(wire: Wire, clock: VirtualClock, metrics: Metrics) -> EventRecorder:
    return EventRecorder(Client(wire, clock), clock, metrics, "tests", instance="host")


def count(registry: CollectorRegistry, outcome: str) -> float | None:
    return registry.get_sample_value("events_recorded_total", {"outcome": outcome})


async def test_a_thousand_identical_failures_are_one_event_and_its_count(
    wire: Wire, recorder: EventRecorder, clock: VirtualClock
) -> None:
    for _ in range(1000):
        recorder.event(POLECAT, NOTE)
        await recorder.flush()
        clock.move(1)
    assert [verb for verb, _, _ in wire.sent].count("POST") == 1
    series = [body["series"]["count"] for verb, _, body in wire.sent if verb == "PATCH"]
    assert series == [2, 302, 602, 902]
    assert (
        wire.sent[1][1]
        == f"/apis/events.k8s.io/v1/namespaces/ns/events/{wire.sent[0][2]['metadata']['name']}"
    )


async def test_an_event_says_everything_the_api_wants(wire: Wire, recorder: EventRecorder) -> None:
    related = Regarding("v1", "Pod", ObjectKey("ns", "polecat-nux"), "uid-2")
    recorder.event(POLECAT, EventNote("Normal", "Started", "é" * 2000, related=related))
    await recorder.flush()
    body = wire.sent[0][2]
    assert body["metadata"]["name"].startswith("nux.")
    assert body["eventTime"] == "2026-01-01T00:00:00.000000Z"
    assert body["action"] == body["reason"] == "Started"
    assert (body["reportingController"], body["reportingInstance"]) == ("tests", "host")
    assert body["regarding"] == {
        "apiVersion": "example.com/v1",
        "kind": "Polecat",
        "namespace": "ns",
        "name": "nux",
        "uid": "uid-1",
    }
    assert body["related"]["kind"] == "Pod"
    assert len(body["note"].encode()) <= NOTE_LIMIT
    assert body["note"].endswith("...")


async def test_a_note_that_is_no_unicode_text_ends_neither_the_recorder_nor_the_event(
    wire: Wire, recorder: EventRecorder
) -> None:
    """What programs say in JSON may hold half of a surrogate pair, and so may names of files."""
    recorder.event(POLECAT, EventNote("Warning", "PushRejected", "no branch \ud800 and no file \udc80"))
    await recorder.flush()
    assert wire.sent[0][2]["note"] == "no branch ? and no file ?"


async def test_an_event_that_cannot_be_encoded_is_lost_alone(
    wire: Wire, recorder: EventRecorder, registry: CollectorRegistry
) -> None:
    recorder.event(POLECAT, EventNote("Warning", "\udc80", "the reason is no text"))
    recorder.event(POLECAT, NOTE)
    await recorder.flush()
    assert [body["reason"] for _, _, body in wire.sent] == ["ImagePull"]
    assert count(registry, "failed") == 1


async def test_events_of_cluster_scoped_objects_live_in_default(wire: Wire, recorder: EventRecorder) -> None:
    recorder.event(Regarding("example.com/v1", "Rig", ObjectKey("", "r"), "uid"), NOTE)
    await recorder.flush()
    assert wire.sent[0][1] == "/apis/events.k8s.io/v1/namespaces/default/events"
    assert "namespace" not in wire.sent[0][2]["regarding"]


async def test_after_a_quiet_while_a_repetition_is_a_new_event(
    wire: Wire, recorder: EventRecorder, clock: VirtualClock
) -> None:
    for _ in range(2):
        recorder.event(POLECAT, NOTE)
        await recorder.flush()
        clock.move(SERIES_GAP)
    assert [verb for verb, _, _ in wire.sent] == ["POST", "POST"]
    assert SERIES_REFRESH < SERIES_GAP


async def test_an_object_that_says_too_much_is_cut_off_for_a_while(
    wire: Wire, recorder: EventRecorder, clock: VirtualClock, registry: CollectorRegistry
) -> None:
    def say(number: int) -> None:
        recorder.event(POLECAT, EventNote("Normal", "Said", f"thing {number}"))

    for number in range(BURST + 10):
        say(number)
    recorder.event(Regarding("v1", "Pod", ObjectKey("ns", "other"), "uid-2"), NOTE)
    await recorder.flush()
    assert len(wire.sent) == BURST + 1
    assert count(registry, "rate_limited") == 10
    clock.move(REFILL)
    say(100)
    say(101)
    await recorder.flush()
    assert len(wire.sent) == BURST + 2


async def test_a_series_whose_event_is_gone_begins_anew(
    wire: Wire, recorder: EventRecorder, registry: CollectorRegistry
) -> None:
    recorder.event(POLECAT, NOTE)
    await recorder.flush()
    wire.errors.append(NotFound("somebody deleted it", status=404))
    for _ in range(3):
        recorder.event(POLECAT, NOTE)
        await recorder.flush()
    assert [verb for verb, _, _ in wire.sent] == ["POST", "PATCH", "POST", "PATCH"]
    assert count(registry, "failed") == 1


async def test_what_is_remembered_of_series_and_of_who_spoke_has_an_end(recorder: EventRecorder) -> None:
    for number in range(SERIES_LIMIT + 100):
        recorder.event(Regarding("example.com/v1", "Polecat", ObjectKey("ns", "a"), f"uid-{number}"), NOTE)
    await recorder.flush()
    assert len(recorder._series) == len(recorder._buckets) == SERIES_LIMIT


async def test_what_cannot_be_kept_is_dropped_and_counted(
    wire: Wire, recorder: EventRecorder, registry: CollectorRegistry
) -> None:
    for _ in range(QUEUE_LIMIT + 5):
        recorder.event(POLECAT, NOTE)
    assert wire.sent == []
    assert count(registry, "dropped") == 5


@pytest.mark.parametrize(
    ("errors", "outcome", "calls"),
    [
        ([ServiceUnavailable("down", retry_after=1.0), AlreadyExists("it was written")], "created", 2),
        ([ServiceUnavailable("down", retry_after=1.0)] * 3, "failed", 3),
        ([Forbidden("the namespace is terminating")], "failed", 1),
    ],
)
async def test_a_write_is_tried_again_only_if_that_may_help(
    wire: Wire,
    recorder: EventRecorder,
    clock: VirtualClock,
    registry: CollectorRegistry,
    errors: list[ApiError],
    outcome: str,
    calls: int,
) -> None:
    wire.errors = list(errors)
    async with anyio.create_task_group() as group:
        group.start_soon(recorder.run)
        recorder.event(POLECAT, NOTE)
        await clock.advance(5)
        group.cancel_scope.cancel()
    assert count(registry, outcome) == 1
    assert len(wire.sent) == calls
