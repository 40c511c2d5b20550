"""From seconds to text."""

from .units import UNITS


def format_duration(seconds: int) -> str:
    """Return `seconds` as text that parse_duration reads."""
    if seconds < 0:
        raise ValueError(f"a duration is not negative: {seconds}")
    parts = []
    for unit, length in UNITS.items():
        amount, seconds = divmod(seconds, length)
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0s"
