"""Ending early without leaving anything behind."""

import signal
from types import FrameType


class InterruptedByUser(BaseException):
    """Ctrl-C or SIGTERM; a BaseException, so that only cleaning up comes in its way."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


def raise_on_signals() -> None:
    """Let the first SIGINT, SIGTERM or SIGHUP raise InterruptedByUser; later ones do not disturb the cleaning up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def _interrupt(number: int, _: FrameType | None) -> None:
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Not SIG_IGN: Python complains of a signal that came before but finds no handler, and our children would inherit it.
        signal.signal(other, _disregard)
    raise InterruptedByUser(number)


def _disregard(number: int, frame: FrameType | None) -> None:
    """We are ending already."""
