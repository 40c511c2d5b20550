"""Clocks for tests that cannot own the time of the API server."""

from attrs import define

from gastown_operator.runtime.clock import SystemClock


class HastyClock(SystemClock):
    """The machine's clock, for those who wait a second at most, whatever the backoff."""

    async def sleep(self, seconds: float) -> None:
        """Wait, but not long."""
        await super().sleep(min(seconds, 1.0))


@define
class ShiftedClock(SystemClock):
    """The machine's clock, which a test may put forward."""

    ahead: float = 0.0

    def monotonic(self) -> float:
        """Return the machine's time and what was added to it."""
        return super().monotonic() + self.ahead
