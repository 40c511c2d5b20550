"""The units and their lengths in seconds, the longest first."""

UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
