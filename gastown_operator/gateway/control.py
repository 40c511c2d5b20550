"""The files by which keeper and wrapper hear of the gateway; the agent can only read them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from gastown_operator.gateway.message import MAXIMUM_BYTES, GatewayRecord, decode

_BETWEEN_TOUCHES: Final = 1.0


@frozen
class Paths:
    """Where things are in the pod; `workload.layout` has the same page for the workload's programs."""

    control: Path = Path("/gastown/control")
    credentials: Path = Path("/gastown/model-credentials")
    alive: Path = Path("/gastown/hints/alive")
    termination_log: Path = Path("/dev/termination-log")


@define
class ControlFiles:
    """Writes the record, the stop request and the trace of traffic.

    Args:
        clock: monotonic seconds.
    """

    paths: Paths
    clock: Callable[[], float]
    _touched: float = field(init=False, default=float("-inf"))

    def last(self) -> GatewayRecord | None:
        """The record of this attempt so far: a gateway that was killed goes on with it. None where there is none."""
        try:
            with (self.paths.control / "gateway.json").open("rb") as file:
                return decode(file.read(2 * MAXIMUM_BYTES).decode("ascii", "replace"))
        except FileNotFoundError:
            return None

    def publish(self, record: GatewayRecord) -> None:
        """Replace `gateway.json`."""
        new = self.paths.control / ".gateway.json.new"
        new.write_bytes(record.encode())
        new.replace(self.paths.control / "gateway.json")

    def conclude(self, record: GatewayRecord) -> None:
        """Write the last record, also as the container's termination message."""
        self.publish(record)
        self.paths.termination_log.write_bytes(record.encode())

    def stop(self, cause: str) -> bool:
        """Ask for the end of the agent; False where somebody has done so already: the first cause stays."""
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        try:
            descriptor = os.open(self.paths.control / "stop", flags, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{cause}\n")
        return True

    def traffic(self) -> None:
        """Bytes pass: touch the file, at most once a second."""
        now = self.clock()
        if now - self._touched >= _BETWEEN_TOUCHES:
            self._touched = now
            (self.paths.control / "gateway-traffic").touch()
