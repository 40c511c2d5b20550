"""What the gateway's fault tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.gateway.bench import Bench, bench


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as made:
        yield made
