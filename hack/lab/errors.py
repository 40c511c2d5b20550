"""The errors that the lab shows to its user."""


class LabError(Exception):
    """A situation that the user can resolve: one line that says what to do; the program exits with 2."""


class NotReadyError(LabError):
    """A part of the cluster did not come up in time, or ended; the message names its log."""


def last_line(text: str) -> str:
    """The last line that is not empty: where programs put the reason."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
