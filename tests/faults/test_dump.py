"""SIGUSR1: a running process says what it is doing, and goes on."""

import os
import signal

import anyio
import pytest
from attrs import define

from gastown_operator.runtime.clock import SystemClock
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.controller import Controller, Result, for_object
from gastown_operator.runtime.lease import LeaseOptions
from gastown_operator.runtime.manager import Manager, Options
from gastown_operator.runtime.objects import ObjectKey
from tests.faults.conftest import CONFIG_MAP, until
from tests.faults.scripted_server import ScriptedServer

pytestmark = pytest.mark.anyio


@define
class Stuck:
    """Hangs on one object and fails on the others."""

    async def reconcile(self, key: ObjectKey) -> Result:
        if key.name == "hangs":
            await anyio.sleep_forever()
        raise ValueError(key.name)


async def test_a_dump_names_slow_and_failing_keys_caches_the_leader_and_tasks(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    options = Options("tests", lease=LeaseOptions("election", "ns", "me"))
    manager = Manager(Connection(server.url), options, SystemClock())
    manager.add(Controller("stuck", Stuck(), [for_object(CONFIG_MAP)], reconcile_deadline=None))
    for name in ("hangs", "fails"):
        server.put(
            f"/api/v1/namespaces/ns/configmaps/{name}",
            {"metadata": {"name": name, "namespace": "ns"}, "data": {"password": "geheim"}},
        )
    caplog.set_level("INFO")
    async with anyio.create_task_group() as group:
        group.start_soon(manager.run)
        await until(lambda: len(manager.queue.state("stuck").processing) == 1)
        await until(lambda: manager.queue.state("stuck").backing_off)
        os.kill(os.getpid(), signal.SIGUSR1)
        await until(lambda: any(record.message.startswith("dump 4") for record in caplog.records))
        assert not manager.stopping
        group.cancel_scope.cancel()
    sections = {
        vars(record)["section"]: vars(record)
        for record in caplog.records
        if record.message.startswith("dump ")
    }
    assert list(sections["queue"]["slowest"]) == ["ns/hangs"]
    assert list(sections["queue"]["most_failures"]) == ["ns/fails"]
    assert (sections["informer"]["resource"], sections["informer"]["objects"]) == ("configmaps", 2)
    assert sections["election"]["state"] == "ns/election leading, held by me"
    assert sections["events"]["waiting"] == 0
    assert any("Stuck.reconcile" in task for task in sections["tasks"]["tasks"])
    assert "geheim" not in caplog.text
