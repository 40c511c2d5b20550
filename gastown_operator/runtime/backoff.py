"""Exponential backoff with jitter that forgets after a healthy while."""

from random import Random

from attrs import define, field

from gastown_operator.runtime.clock import Clock


@define
class Backoff:
    """Delays as client-go's reflector makes them: 0.8 s doubling to 30 s, each up to twice as long, reset after 2 min."""

    _clock: Clock
    _random: Random
    base: float = 0.8
    cap: float = 30.0
    healthy_after: float = 120.0
    _step: int = 0
    _resumed_at: float = field(default=float("-inf"))

    def next(self) -> float:
        """Return the seconds to wait before the next attempt."""
        now = self._clock.monotonic()
        if now - self._resumed_at >= self.healthy_after:
            self._step = 0
        delay = min(self.cap, self.base * 2.0**self._step * (1.0 + self._random.random()))
        self._step = min(self._step + 1, 16)
        self._resumed_at = now + delay
        return delay
