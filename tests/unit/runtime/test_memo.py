"""Answers are kept within their time and number, and a question is asked once for all who want to know."""

from collections.abc import Awaitable, Callable

import anyio
import pytest
from attrs import define, field

from gastown_operator.runtime.memo import ExpiringMap, SingleFlight
from gastown_operator.runtime.testing import VirtualClock


def test_a_value_is_kept_for_its_time_and_remembered_as_seen(clock: VirtualClock) -> None:
    kept: ExpiringMap[str, int] = ExpiringMap(clock, 10.0, 2)
    kept.put("a", 1)
    clock.move(9.9)
    assert kept.get("a") == 1
    clock.move(0.1)
    assert kept.get("a") is None
    assert "a" in kept
    kept.discard("a")
    kept.discard("a")
    assert "a" not in kept


def test_the_oldest_gives_way_and_what_is_put_again_is_young(clock: VirtualClock) -> None:
    kept: ExpiringMap[str, int] = ExpiringMap(clock, 10.0, 2)
    kept.put("a", 1)
    kept.put("b", 2)
    kept.put("a", 3)
    kept.put("c", 4)
    assert (kept.get("a"), kept.get("b"), kept.get("c"), len(kept)) == (3, None, 4, 2)


@define
class Oracle:
    """Answers when it is told to."""

    released: anyio.Event = field(factory=anyio.Event)
    error: Exception | None = None
    asked: int = 0

    async def answer(self) -> int:
        self.asked += 1
        number = self.asked
        await self.released.wait()
        if self.error is not None:
            raise self.error
        return number


@define
class Crowd:
    """Several tasks that ask the same."""

    question: Callable[[], Awaitable[int]]
    flight: SingleFlight[str, int] = field(factory=SingleFlight)
    answers: list[int | Exception] = field(factory=list)

    async def ask(self) -> None:
        try:
            self.answers.append(await self.flight.ask("key", self.question))
        except RuntimeError as error:
            self.answers.append(error)


@pytest.mark.anyio
async def test_all_who_wait_get_the_one_answer_and_the_next_asks_anew() -> None:
    oracle = Oracle()
    crowd = Crowd(oracle.answer)
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(crowd.ask)
        await anyio.wait_all_tasks_blocked()
        oracle.released.set()
    assert crowd.answers == [1] * 5
    await crowd.ask()
    assert crowd.answers[-1] == 2


@pytest.mark.anyio
async def test_all_who_wait_hear_of_the_failure() -> None:
    oracle = Oracle(error=RuntimeError("no"))
    crowd = Crowd(oracle.answer)
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(crowd.ask)
        await anyio.wait_all_tasks_blocked()
        oracle.released.set()
    assert crowd.answers == [oracle.error] * 3
    assert oracle.asked == 1


@pytest.mark.anyio
async def test_another_asks_when_the_one_who_asked_is_gone() -> None:
    oracle = Oracle()
    crowd = Crowd(oracle.answer)
    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as first:

            async def leave() -> None:
                await anyio.wait_all_tasks_blocked()
                group.start_soon(crowd.ask)
                group.start_soon(crowd.ask)
                await anyio.wait_all_tasks_blocked()
                first.cancel()

            group.start_soon(leave)
            await crowd.ask()
        await anyio.wait_all_tasks_blocked()
        oracle.released.set()
    assert crowd.answers == [2, 2]
