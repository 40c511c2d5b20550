"""What the runtime's unit tests share."""

import pytest
from prometheus_client import CollectorRegistry

from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.testing import VirtualClock


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry)
