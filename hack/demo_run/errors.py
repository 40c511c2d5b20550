"""What the demo raises."""


class DemoError(Exception):
    """The demo cannot go on, or did not prove what it should; the message says what to do, or what was said."""


class PolecatError(DemoError):
    """The polecat did not get to where it should; the cluster knows more."""
