"""The gateway's record: how the provider answered and what was used.

The same JSON is the container's termination message and the file `gateway.json` that the keeper reads.
The kubelet shares 12 KiB among a pod's containers, so a record is ASCII JSON of at most 1 KiB.
https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
"""

import json
from enum import StrEnum
from typing import Any, Final

import attrs

VERSION: Final = 1
MAXIMUM_BYTES: Final = 1024
MAXIMUM_TEXT: Final = 300
#: Model names come from the agent or from users; a longer one is cut.
_MAXIMUM_NAME: Final = 120


class ModelOutcome(StrEnum):
    """How the last request of the work itself ended."""

    NONE = "None"
    """There was no request yet."""
    OK = "Ok"
    """The provider answered, to the end."""
    AUTH = "Auth"
    """The provider refused the credential."""
    BUDGET = "Budget"
    """The budget of this attempt is used up."""
    RATE_LIMITED = "RateLimited"
    """The provider said 429 or 529, to the end."""
    UNAVAILABLE = "Unavailable"
    """The provider failed, was out of reach, took too long, or broke off."""
    REFUSED = "Refused"
    """The provider refused the request, or the gateway did."""
    CONFIG = "Config"
    """Something that only a person can change: no credential, no price, a certificate that is not trusted."""


@attrs.frozen
class GatewayRecord:
    """What the gateway knows of an attempt so far.

    Attributes:
        outcome: of the last request that was settled, side requests aside.
        reason: CamelCase, stable.
        message: one sentence for a person; free of secrets and of control characters.
        requests: how many were sent on that cost something.
        input_tokens: all input, with what was read from and written to the cache.
        cache_read_tokens: of these, read from the cache.
        cache_write_tokens: of these, written to the cache.
        output_tokens: all output.
        cost_usd: a decimal; None where no price is known.
        estimated: whether a part of the tokens is an estimate, because an answer broke off before it said them.
        stopped: "budget" where the gateway has stopped the agent, else "".
        model: the model that was asked last.
        status: the provider's last status, 0 where it gave none.
        unpriced: whether a part of the tokens has no known price, so that `cost_usd` is a lower bound.
    """

    outcome: ModelOutcome = ModelOutcome.NONE
    reason: str = ""
    message: str = ""
    requests: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    cost_usd: str | None = None
    estimated: bool = False
    stopped: str = ""
    model: str = ""
    status: int = 0
    unpriced: bool = False

    def encode(self) -> bytes:
        """ASCII JSON of at most 1 KiB; the message is shortened to fit, never the rest."""
        text, model = clean(self.message), clean(self.model, _MAXIMUM_NAME)
        while True:
            body = {"v": VERSION, **attrs.asdict(self), "message": text, "model": model}
            encoded = json.dumps(body, separators=(",", ":"), ensure_ascii=True).encode("ascii")
            if len(encoded) <= MAXIMUM_BYTES or not (text or model):
                return encoded
            text, model = (text[: len(text) // 2], model) if text else ("", model[: len(model) // 2])


def clean(text: str, limit: int = MAXIMUM_TEXT) -> str:
    """`text` as one line without control characters, not longer than `limit`."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def decode(text: str) -> GatewayRecord | None:
    """The record in `text`, or None where it is absent, cut short, of another version, or not ours."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict) or body.get("v") != VERSION:
        return None
    return _structure(body)


_TYPES: Final[dict[str, tuple[type, ...]]] = {
    **dict.fromkeys(("reason", "message", "stopped", "model"), (str,)),
    **dict.fromkeys(("requests", "input_tokens", "cache_read_tokens"), (int,)),
    **dict.fromkeys(("cache_write_tokens", "output_tokens", "status"), (int,)),
    "cost_usd": (str, type(None)),
    **dict.fromkeys(("estimated", "unpriced"), (bool,)),
}


def _structure(body: dict[str, Any]) -> GatewayRecord | None:
    values = {name: body[name] for name in _TYPES if name in body}
    if body.get("outcome") not in list(ModelOutcome):
        return None
    if any(type(value) not in _TYPES[name] for name, value in values.items()):
        return None
    return GatewayRecord(outcome=ModelOutcome(body["outcome"]), **values)
