"""What models cost, in USD per million tokens: a built-in table that users override.

A model that is in neither has no price: nothing is ever invented. Sources and date are with the tables.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from attrs import evolve, frozen

_KEYS: Final = ("input", "output", "cache_read", "cache_write", "cache_write_1h")
#: Snapshots of a model are named after it: claude-sonnet-4-5-20250929, gpt-5-2025-08-07.
_SNAPSHOT: Final = re.compile(r"-(?:\d{8}|\d{4}-\d{2}-\d{2}|latest)\Z")


@frozen
class Price:
    """USD per million tokens.

    Attributes:
        input: input that is not from the cache.
        output: output, with what the model thought.
        cache_read: input read from the provider's cache.
        cache_write: input written to the cache for five minutes.
        cache_write_1h: input written to the cache for an hour.
        long_prompt: how many tokens of input make a prompt long; 0 where all prompts cost the same.
        when_long: factors of input and output for all of a request whose prompt is longer.
    """

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal
    cache_write_1h: Decimal
    long_prompt: int = 0
    when_long: tuple[Decimal, Decimal] = (Decimal(1), Decimal(1))

    def of_prompt(self, tokens: int) -> "Price":
        """The price of a request with that many tokens of input, the cached ones included."""
        if not self.long_prompt or tokens <= self.long_prompt:
            return self
        more, output = self.when_long
        return Price(
            self.input * more,
            self.output * output,
            self.cache_read * more,
            self.cache_write * more,
            self.cache_write_1h * more,
        )


def price_of(model: str, overrides: Mapping[str, Price] | None = None) -> Price | None:
    """The price of `model` or of the model that it is a snapshot of; None where it is not known."""
    alias = _SNAPSHOT.sub("", model)
    for table in (overrides or {}, TABLE):
        for name in (model, alias):
            if name in table:
                return table[name]
    return None


@lru_cache(maxsize=4)
def parse_overrides(text: str) -> Mapping[str, Price]:
    """Prices by model from JSON such as `{"my-model": {"input": "3", "output": "15", "cache_read": "0.3"}}`; "" for none.

    `cache_read` and `cache_write` default to `input`, `cache_write_1h` to 1.6 times `cache_write`. The same text is parsed once: each look
    at a polecat with a limit in dollars asks.

    Raises:
        ValueError: it is not that; the message says what is wrong.
    """
    if not text.strip():
        return MappingProxyType({})
    try:
        body = json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"prices are not JSON: {error}") from None
    if not isinstance(body, dict):
        raise ValueError("prices must be an object: model name → prices")  # noqa: TRY004 - one kind of error
    return MappingProxyType({model: _price(model, entry) for model, entry in body.items()})


def _price(model: str, entry: Any) -> Price:
    if not isinstance(entry, dict):
        raise ValueError(f"the price of {model!r} must be an object with {', '.join(_KEYS)}")  # noqa: TRY004
    if unknown := sorted(set(entry) - set(_KEYS)):
        raise ValueError(f"the price of {model!r} has unknown keys: {', '.join(unknown)}")
    if missing := [key for key in ("input", "output") if key not in entry]:
        raise ValueError(f"the price of {model!r} lacks {' and '.join(missing)}")
    numbers = {key: _number(model, key, value) for key, value in entry.items()}
    write = numbers.get("cache_write", numbers["input"])
    return Price(
        numbers["input"],
        numbers["output"],
        numbers.get("cache_read", numbers["input"]),
        write,
        numbers.get("cache_write_1h", write * Decimal("1.6")),
    )


def _number(model: str, key: str, value: Any) -> Decimal:
    try:
        number = Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or not 0 <= number <= 1_000_000:
        raise ValueError(f"the price {key!r} of {model!r} must be a number of USD per million tokens")
    return number


def _anthropic(base: str, output: str, read: str) -> Price:
    """Writing to the cache costs 1.25 times the input for five minutes, twice the input for an hour."""
    price = Decimal(base)
    return Price(price, Decimal(output), Decimal(read), price * Decimal("1.25"), price * 2)


def _openai(base: str, cached: str, output: str, write: str = "1") -> Price:
    """`write` is what writing to the cache costs, in times the input."""
    price = Decimal(base)
    return Price(price, Decimal(output), Decimal(cached), price * Decimal(write), price * Decimal(write))


def _long(price: Price) -> Price:
    """OpenAI's price for prompts of more than 272,000 tokens: twice the input, 1.5 times the output."""
    return evolve(price, long_prompt=272_000, when_long=(Decimal(2), Decimal("1.5")))


#: https://platform.claude.com/docs/en/about-claude/pricing, as of 2026-11-24.
_ANTHROPIC: Final[Mapping[str, Price]] = {
    "claude-fable-5-1": _anthropic("10", "50", "0.25"),
    "claude-fable-5": _anthropic("10", "50", "1"),
    "claude-opus-5-5": _anthropic("4", "20", "0.2"),
    **dict.fromkeys(
        [f"claude-opus-{version}" for version in ("5", "4-8", "4-7", "4-6", "4-5")],
        _anthropic("5", "25", "0.5"),
    ),
    **dict.fromkeys(
        [f"claude-opus-{version}" for version in ("4-1", "4-0", "4")], _anthropic("15", "75", "1.5")
    ),
    "claude-sonnet-5-5": _anthropic("2", "10", "0.1"),
    "claude-sonnet-5": _anthropic("2", "10", "0.2"),
    **dict.fromkeys(
        [f"claude-sonnet-{version}" for version in ("4-6", "4-5", "4-0", "4")], _anthropic("3", "15", "0.3")
    ),
    # Prompts of more than 100,000 tokens cost five times as much, output included.
    "claude-haiku-5-5": evolve(
        _anthropic("0.1", "0.5", "0.01"), long_prompt=100_000, when_long=(Decimal(5), Decimal(5))
    ),
    "claude-haiku-4-5": _anthropic("1", "5", "0.1"),
    "claude-3-5-haiku": _anthropic("0.8", "4", "0.08"),
}

#: Standard prices of https://developers.openai.com/api/docs/pricing as others have written them down, 2026-11-05 the latest. The price of
#: long prompts and of writing to the cache is said on the models' own pages (…/api/docs/models/gpt-5.4, gpt-5.5, gpt-5.6-terra,
#: gpt-6-astra), which were read in copies. A model is here only where several copies agree.
_OPENAI: Final[Mapping[str, Price]] = {
    "gpt-6-astra": _long(_openai("10", "1", "50", "1.25")),
    "gpt-6.1-sol": _long(_openai("2", "0.1", "10", "1.25")),
    "gpt-6-sol": _long(_openai("2", "0.2", "10", "1.25")),
    "gpt-6-luna": _long(_openai("0.1", "0.01", "0.5", "1.25")),
    "gpt-5.6-terra": _long(_openai("2", "0.2", "12", "1.25")),
    "gpt-5.6-luna": _long(_openai("0.2", "0.02", "1.2", "1.25")),
    "gpt-5.5": _long(_openai("5", "0.5", "30")),
    "gpt-5.4": _long(_openai("2.5", "0.25", "15")),
    "gpt-5.4-mini": _openai("0.75", "0.075", "4.5"),
    "gpt-5.4-nano": _openai("0.2", "0.02", "1.25"),
    **dict.fromkeys(["gpt-5", "gpt-5-codex", "gpt-5.1", "gpt-5.1-codex"], _openai("1.25", "0.125", "10")),
}

TABLE: Final[Mapping[str, Price]] = {**_ANTHROPIC, **_OPENAI}
