"""The platform is asked for until the server answers."""

import asyncio
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import pytest
from attrs import define, field

from gastown_operator.controllers.platform import Platform, detect
from gastown_operator.runtime.backoff import Backoff
from gastown_operator.runtime.errors import (
    ApiError,
    ConfigurationError,
    Forbidden,
    NotFound,
    TooManyRequests,
    Unauthorized,
)
from gastown_operator.runtime.testing import VirtualClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@define
class Server:
    """Answers as it was told to, one after another."""

    answers: Iterator[ApiError | None]
    paths: list[str] = field(factory=list)

    async def request(self, verb: str, path: str, **_: Any) -> bytes:
        """Take one answer."""
        assert verb == "GET"
        self.paths.append(path)
        answer = next(self.answers)
        if answer is not None:
            raise answer
        return b"{}"


async def detected(*answers: ApiError | None) -> tuple[Platform, Sequence[str]]:
    clock, server = VirtualClock(), Server(iter(answers))
    asking = asyncio.create_task(detect(server, Backoff(clock, Random(0)), clock))  # noqa: S311
    while not asking.done():
        await clock.advance(60.0)
    return await asking, server.paths


async def test_a_server_with_security_context_constraints_is_openshift() -> None:
    assert await detected(None) == (Platform.OPENSHIFT, ["/apis/security.openshift.io"])


async def test_a_server_without_them_is_kubernetes() -> None:
    found, _ = await detected(NotFound("no such group"))
    assert found is Platform.KUBERNETES


async def test_a_server_that_does_not_answer_is_asked_again() -> None:
    found, paths = await detected(
        ApiError("refused"), Unauthorized("not yet"), TooManyRequests("later"), None
    )
    assert (found, len(paths)) == (Platform.OPENSHIFT, 4)


async def test_a_server_that_does_not_tell_needs_the_option() -> None:
    with pytest.raises(ConfigurationError, match="--platform kubernetes or openshift"):
        await detected(Forbidden("no"))
