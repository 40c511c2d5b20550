"""Answers that cost a call: kept for a while, and asked for once however many want one."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio
from attrs import define, field

from gastown_operator.runtime.clock import Clock

K = TypeVar("K")
V = TypeVar("V")


@define(eq=False, repr=False)
class ExpiringMap(Generic[K, V]):
    """Keeps at most `size` values, each for `lifetime` seconds; when it is full, the oldest gives way.

    What has expired stays until it is displaced, so that `in` tells who was seen before.
    """

    _clock: Clock
    _lifetime: float
    _size: int
    _entries: dict[K, tuple[float, V]] = field(factory=dict, init=False)

    def get(self, key: K) -> V | None:
        """Return the value if there is one and it is fresh."""
        entry = self._entries.get(key)
        if entry is None or self._clock.monotonic() >= entry[0]:
            return None
        return entry[1]

    def put(self, key: K, value: V) -> None:
        """Keep a value as the youngest."""
        self.discard(key)
        while len(self._entries) >= self._size:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (self._clock.monotonic() + self._lifetime, value)

    def discard(self, key: K) -> None:
        """Forget a key."""
        self._entries.pop(key, None)

    def __contains__(self, key: K) -> bool:
        """Whether there is a value, be it fresh or not."""
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)


@define(eq=False)
class _Flight(Generic[V]):
    """A question that somebody is asking; without an outcome at its end, the asker was cancelled."""

    ended: anyio.Event = field(factory=anyio.Event)
    answers: list[V] = field(factory=list)
    error: Exception | None = None


@define(eq=False, repr=False)
class SingleFlight(Generic[K, V]):
    """Lets one task ask for a key while the others wait for its answer (Go's singleflight).

    The asker works in its own task. If that is cancelled, one of those who wait asks instead.
    """

    _flights: dict[K, _Flight[V]] = field(factory=dict, init=False)

    async def ask(self, key: K, question: Callable[[], Awaitable[V]]) -> V:
        """Return the answer to the question. Raises what the question raises, for everybody who waited."""
        while (flight := self._flights.get(key)) is not None:
            await flight.ended.wait()
            if flight.error is not None:
                raise flight.error
            if flight.answers:
                return flight.answers[0]
        flight = self._flights[key] = _Flight()
        try:
            answer = await question()
        except Exception as error:
            flight.error = error
            raise
        else:
            flight.answers.append(answer)
            return answer
        finally:
            del self._flights[key]
            flight.ended.set()
