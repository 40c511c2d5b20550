"""What a leader that stands still for a moment has sent when it goes on: nothing that it had not sent before."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic, sleep

import pytest
from attrs import define
from prometheus_client import CollectorRegistry

from gastown_operator.runtime.client import Client
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.errors import NotLeader
from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.transport import Transport
from tests.support.audit import Write
from tests.support.cluster import CONFIG_MAP
from tests.support.lab import Lab

pytestmark = pytest.mark.anyio


@define
class ShortLease:
    """A lease that runs out while the process stands still, right after it was asked for.

    `logged` is what the server has of this process: it stands still until that is something, or for `limit` seconds where nothing was
    sent; so what is sent when it goes on is told from what was sent before, however slow the server is.
    """

    logged: Callable[[], Sequence[Write]]
    limit: float = 10.0
    went_on: datetime | None = None

    def may_write(self) -> bool:
        """Say yes, and stop the process before its event loop turns again, as a SIGSTOP at that moment does."""
        if self.went_on is not None:
            return False
        asyncio.get_running_loop().call_soon(self._stand_still)
        return True

    def _stand_still(self) -> None:
        if self.went_on is None:
            end = monotonic() + self.limit
            while not self.logged() and monotonic() < end:
                sleep(0.01)
            self.went_on = datetime.now(UTC)


async def test_a_write_that_was_permitted_is_sent_before_anything_else_happens(
    connection: Connection, namespace: str, lab: Lab
) -> None:
    position = lab.audit.end()

    def logged() -> list[Write]:
        return [write for write in lab.audit.since(position) if write.user_agent == "fenced"]

    lease = ShortLease(logged)
    transport = Transport(connection, Metrics(CollectorRegistry()), "fenced", may_write=lease.may_write)
    client = Client(transport)
    await client.list_page(CONFIG_MAP, namespace)  # so that a connection is open
    with suppress(NotLeader):
        await client.create(CONFIG_MAP, {"metadata": {"name": "x", "namespace": namespace}}, "test")
    await transport.close()
    assert lease.went_on is not None
    assert [write for write in logged() if write.began > lease.went_on] == []
