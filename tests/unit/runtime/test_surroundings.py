"""Logs, vitals, helpers: what stands around the controllers."""

import gc
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from gastown_operator.runtime.backoff import Backoff
from gastown_operator.runtime.clock import SystemClock
from gastown_operator.runtime.helpers import (
    add_finalizer,
    controller_reference,
    has_finalizer,
    remove_finalizer,
)
from gastown_operator.runtime.logs import configure_logging, log_context
from gastown_operator.runtime.objects import ObjectKey, ObjectMeta, PartialObject, Resource
from gastown_operator.runtime.testing import VirtualClock
from gastown_operator.runtime.vitals import Vitals, collection_paused

RIG = Resource("example.com", "v1", "Rig", "rigs", namespaced=False, project=PartialObject.project)
THING = Resource("example.com", "v1", "Thing", "things", namespaced=True, project=PartialObject.project)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging("info", stream)
    yield stream
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_log_line_is_json_that_knows_its_reconcile(logged: io.StringIO) -> None:
    logger = logging.getLogger("x")
    with log_context(controller="polecat", name="nux"), log_context(reconcileID="1"):
        logger.info("pod %s", "made", extra={"attempt": 2, "key": ObjectKey("a", "b")})
        logger.debug("not said")
    logger.error("failed", exc_info=RuntimeError("bug"))
    first, second = (json.loads(line) for line in logged.getvalue().splitlines())
    assert first.pop("ts").endswith("Z")
    assert first == {
        "level": "info",
        "logger": "x",
        "msg": "pod made",
        "controller": "polecat",
        "name": "nux",
        "reconcileID": "1",
        "attempt": 2,
        "key": "a/b",
    }
    assert "RuntimeError: bug" in second["error"]
    assert "controller" not in second


def test_a_text_that_is_no_unicode_is_logged_all_the_same(logged: io.StringIO) -> None:
    logging.getLogger("x").info("half a pair: %s", "\ud83d")
    assert json.loads(logged.getvalue())["msg"] == "half a pair: \ud83d"


@pytest.mark.anyio
async def test_loop_lag_and_collections_are_measured(registry: CollectorRegistry) -> None:
    clock = VirtualClock()
    async with anyio.create_task_group() as group:
        group.start_soon(Vitals.on(registry, clock).run)
        await anyio.wait_all_tasks_blocked()
        gc.collect()
        clock.move(4)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert registry.get_sample_value("event_loop_lag_seconds_sum") == 3
    assert (registry.get_sample_value("gc_pause_seconds_count") or 0) >= 1


def test_collection_rests_while_caches_fill() -> None:
    with collection_paused():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    gc.unfreeze()


def test_an_owner_reference_is_one_that_the_garbage_collector_finds() -> None:
    owner = ObjectMeta("o", "ns", "u")
    assert controller_reference(THING, owner) == {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "name": "o",
        "uid": "u",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    assert controller_reference(RIG, ObjectMeta("r", "", "u"), namespace="ns")["kind"] == "Rig"
    with pytest.raises(ValueError, match="cannot own an object in namespace 'other'"):
        controller_reference(THING, owner, namespace="other")
    with pytest.raises(ValueError, match="cannot own an object in namespace ''"):
        controller_reference(THING, owner, namespace="")
    with pytest.raises(ValueError, match="has no UID"):
        controller_reference(THING, ObjectMeta("o", "ns"))


def test_finalizers_of_others_are_kept_and_the_list_is_the_one_that_was_read() -> None:
    """Pitfall 21: the version makes replacing the list safe."""
    metadata = ObjectMeta("o", "ns", "u", resource_version=7, finalizers=("theirs", "ours"))
    removal = remove_finalizer(THING, metadata, "ours", "absent")
    assert removal.key == ObjectKey("ns", "o")
    assert removal.body == {"metadata": {"uid": "u", "resourceVersion": "7", "finalizers": ["theirs"]}}
    addition = add_finalizer(THING, metadata, "more")
    assert addition.body["metadata"]["finalizers"] == ["theirs", "ours", "more"]
    assert has_finalizer(metadata, "ours")
    assert not has_finalizer(metadata, "more")


class Fixed:
    """A random source that always says the same."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


@given(st.floats(0, 1, exclude_max=True))
def test_backoff_doubles_with_jitter_up_to_its_cap_and_forgets_after_health(jitter: float) -> None:
    clock = VirtualClock()
    source: Any = Fixed(jitter)
    backoff = Backoff(clock, source)
    delays = []
    for _ in range(8):
        delays.append(backoff.next())
        clock.move(delays[-1])
    assert delays == [min(30.0, 0.8 * 2**step * (1 + jitter)) for step in range(8)]
    clock.move(119.9)
    assert backoff.next() == min(30.0, 0.8 * 2**8 * (1 + jitter))
    clock.move(30 + 120)
    assert backoff.next() == 0.8 * (1 + jitter)


@pytest.mark.anyio
async def test_the_systems_clock_ends_what_takes_too_long() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    with clock.deadline(0.0) as deadline:
        await anyio.sleep_forever()
    assert deadline.expired
    with clock.deadline(None) as deadline:
        await clock.sleep(-1)
    assert not deadline.expired
    with clock.deadline(30) as deadline:
        deadline.extend(0.0)
        await anyio.sleep_forever()
    assert deadline.expired
    assert 0 <= clock.monotonic() - before < 5
    assert clock.now().tzinfo is not None
