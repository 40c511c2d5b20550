"""Which requests are passed on: known pairs of method and path, and nothing else."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from attrs import frozen

from gastown_operator.gateway.dialects import anthropic, ollama, openai_chat, openai_responses
from gastown_operator.gateway.dialects.answer import Dialect


class Kind(Enum):
    """What is done with a request."""

    WORK = auto()
    """The model answers: measured, and counted against the budget."""
    FREE = auto()
    """Passed on; costs nothing."""
    ANSWERED = auto()
    """Answered here: whether somebody listens."""


@frozen
class Route:
    """One pair of method and path.

    Attributes:
        path: below the upstream's base.
    """

    method: str
    path: str
    kind: Kind
    dialect: Dialect


_ROUTES: Final = (
    Route("POST", "/v1/messages", Kind.WORK, anthropic.MESSAGES),
    Route("POST", "/v1/messages/count_tokens", Kind.FREE, anthropic.MESSAGES),
    Route("POST", "/v1/chat/completions", Kind.WORK, openai_chat.CHAT),
    Route("POST", "/v1/responses", Kind.WORK, openai_responses.RESPONSES),
    Route("POST", "/api/chat", Kind.WORK, ollama.CHAT),
    Route("POST", "/api/generate", Kind.WORK, ollama.CHAT),
    Route("POST", "/api/show", Kind.FREE, ollama.CHAT),
    Route("GET", "/v1/models", Kind.FREE, openai_chat.CHAT),
    Route("HEAD", "/", Kind.ANSWERED, openai_chat.CHAT),
)
_TABLE: Final[Mapping[tuple[str, str], Route]] = {(route.method, route.path): route for route in _ROUTES}


def find(method: str, raw_path: str) -> Route | None:
    """The route of a request, by its path as it came, nothing decoded; None where it is not passed on.

    Claude Code with a base URL that ends in /v1 asks for /v1/v1/messages.
    """
    if raw_path.startswith("/v1/v1/"):
        raw_path = raw_path.removeprefix("/v1")
    return _TABLE.get((method, raw_path))
