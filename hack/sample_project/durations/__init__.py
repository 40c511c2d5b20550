"""Durations as people write them."""

from .formatting import format_duration
from .parsing import parse_duration

__all__ = ["format_duration", "parse_duration"]
