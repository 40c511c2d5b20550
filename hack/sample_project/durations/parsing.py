"""From text to seconds."""

import re

from .units import UNITS

PART = re.compile(r"(\d+)([dhms])")
WHOLE = re.compile(r"(\d+[dhms])+")


def parse_duration(text: str) -> int:
    """Return the seconds that `text` stands for; raise ValueError if it is no duration."""
    if not WHOLE.fullmatch(text):
        raise ValueError(f"not a duration: {text!r}")
    seconds = 0
    for amount, unit in PART.findall(text):
        seconds = int(amount) * UNITS[unit]
    return seconds
