"""What a request says, whichever API it is spoken in, and what it is answered."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

# About right for English and code.
BYTES_PER_TOKEN = 4
DELTA_LENGTH = 40
# A part of a stream that stands for a pause of the script.
PAUSE = b""


@dataclass(frozen=True)
class Conversation:
    """A request: `tools` are the names on offer, `results` what tools answered, `said` the model's earlier texts.

    `everything` is all of its text, system prompt included; `usage_wanted` whether a stream shall end with usage.
    """

    model: str
    tools: Sequence[str]
    results: Sequence[str]
    said: Sequence[str]
    everything: str
    streamed: bool
    usage_wanted: bool = True

    @property
    def identity(self) -> str:
        """An identity that is the same for the same conversation, and no other."""
        return hashlib.sha256(self.everything.encode()).hexdigest()[:24]


@dataclass(frozen=True)
class ToolCall:
    """A tool that the agent shall run."""

    name: str
    input: Mapping[str, Any]


@dataclass(frozen=True)
class Usage:
    """Tokens of an answer; `input` is without what was read from or written to a cache."""

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0

    @property
    def prompt(self) -> int:
        """All that was sent, as APIs count that do not set cached tokens apart."""
        return self.input + self.cache_read + self.cache_write


@dataclass(frozen=True)
class HttpError:
    """An answer that is an error; with `html`, a page as proxies send it."""

    status: int
    type: str
    message: str
    headers: Mapping[str, str]
    html: bool = False


@dataclass(frozen=True)
class Answer:
    """What goes over the wire: texts, with a pause of the script before each but the first, and at most one tool call."""

    model: str
    identity: str
    texts: Sequence[str]
    tool: ToolCall | None
    usage: Usage
    usage_wanted: bool = True

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.texts)

    def deltas(self) -> Iterator[str]:
        """Yield the text in pieces; an empty one is a pause."""
        for number, text in enumerate(self.texts):
            if number:
                yield ""
            yield from pieces(text)


class Dialect(Protocol):
    """One API on the wire."""

    @property
    def content_type(self) -> str:
        """Content type of a stream."""
        ...

    def read(self, request: Mapping[str, Any]) -> Conversation:
        """Return what a request says."""
        ...

    def whole(self, answer: Answer) -> Mapping[str, Any]:
        """Return the answer to a request that wants no stream."""
        ...

    def body(self, answer: Answer) -> Iterator[bytes]:
        """Yield the parts of a stream up to its ending."""
        ...

    def ending(self, answer: Answer) -> Iterator[bytes]:
        """Yield the parts without which a stream is unfinished."""
        ...

    def error(self, error: HttpError) -> Mapping[str, Any]:
        """Return the body of an error answer."""
        ...


def pieces(text: str) -> Iterator[str]:
    """Yield a text in the pieces in which it is streamed."""
    for start in range(0, len(text), DELTA_LENGTH):
        yield text[start : start + DELTA_LENGTH]


def tokens(data: Any) -> int:
    """Return roughly how many tokens JSON data is."""
    return len(json.dumps(data)) // BYTES_PER_TOKEN + 1


def texts_of(value: Any) -> Iterator[str]:
    """Yield every string of JSON data, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_of(item)


def everything(request: Mapping[str, Any], *fields: str) -> str:
    """Return all text of some fields of a request."""
    return "\n".join(text for field in fields for text in texts_of(request.get(field)))


def content_text(content: Any) -> str:
    """Return the text of a message's content: a string, or blocks of which some have a text."""
    if isinstance(content, list):
        return "\n".join(str(block.get("text", "")) for block in content if isinstance(block, Mapping))
    return content if isinstance(content, str) else ""
