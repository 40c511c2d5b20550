"""The errors that the lab shows to its user."""


class LabError(Exception):
    """A situation that the user can resolve: one line that says what to do; the program exits with 2."""


class NotReadyError(LabError):
    """A part of the cluster did not come up in time, or ended; the message names its log."""
