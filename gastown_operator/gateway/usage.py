"""Counting tokens: what providers say, what is guessed where they say nothing, and what it costs."""

import re
from decimal import Decimal
from typing import Any, Final

from attrs import evolve, frozen

from gastown_operator.agents.prices import Price

_MILLION: Final = Decimal(1_000_000)
#: More cannot be meant; keeps sums and the record small whatever a server says.
_MAXIMUM: Final = 10**12
#: A token is about four bytes of UTF-8, for text and for code.
_BYTES_PER_TOKEN: Final = 4
#: An inlined picture or document; what it costs has nothing to do with its length. Looked for only where one can begin, so that the time
#: for a request grows with its length and no faster.
_ENCODED: Final = re.compile(rb'[",][A-Za-z0-9+/]{1000,}')
_TOKENS_OF_ENCODED: Final = 1600


@frozen
class Usage:
    """Tokens of one answer, or a sum of them.

    Attributes:
        input: all input, with what was read from and written to the cache.
        cache_read: of these, read from the cache.
        cache_write: of these, written to the cache.
        cache_write_1h: of those written, for an hour.
        output: all output.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0

    @property
    def total(self) -> int:
        """What counts for a budget of tokens."""
        return self.input + self.output

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input + other.input,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
            self.cache_write_1h + other.cache_write_1h,
            self.output + other.output,
        )

    def cost(self, price: Price) -> Decimal:
        """In USD."""
        price = price.of_prompt(self.input)
        plain = max(0, self.input - self.cache_read - self.cache_write)
        for_an_hour = min(self.cache_write, self.cache_write_1h)
        return (
            plain * price.input
            + self.cache_read * price.cache_read
            + (self.cache_write - for_an_hour) * price.cache_write
            + for_an_hour * price.cache_write_1h
            + self.output * price.output
        ) / _MILLION


@frozen
class Reported:
    """What a provider has said of one answer so far; None where it has said nothing yet.

    Attributes:
        uncached: input besides the cache, or all input: which one, the dialect knows.
    """

    uncached: int | None = None
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int | None = None

    def updated(self, **counts: Any) -> "Reported":
        """With what is a count among `counts`; anything else leaves what was there. Counts are cumulative, so that none gets smaller."""
        higher = {name: value for name, value in counts.items() if self._is_higher(name, value)}
        return evolve(self, **higher) if higher else self

    def _is_higher(self, name: str, value: Any) -> bool:
        before = getattr(self, name)
        return is_count(value) and (before is None or value > before)


def is_count(value: Any) -> bool:
    """Whether a provider can have meant this as a number of tokens."""
    return type(value) is int and 0 <= value <= _MAXIMUM


def text_tokens(size: int) -> int:
    """About how many tokens a text of `size` bytes has."""
    return -(-size // _BYTES_PER_TOKEN)


def request_tokens(body: bytes) -> int:
    """About how many tokens a request has, inlined pictures and documents counted as one picture each."""
    encoded = _ENCODED.findall(body)
    return text_tokens(len(body) - sum(map(len, encoded))) + _TOKENS_OF_ENCODED * len(encoded)
