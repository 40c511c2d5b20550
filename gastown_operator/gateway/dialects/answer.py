"""Reading one answer while it passes: how much it used, how far it is, whether it broke."""

import json
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final

from attrs import define, field, frozen

from gastown_operator.gateway.framing import Framing, JsonLines, ServerSentEvents, Whole
from gastown_operator.gateway.usage import Reported, Usage, text_tokens

#: What the OpenAI APIs end a stream with.
DONE: Final = b"[DONE]"

#: What is counted of them; no API gives so many.
_MAXIMUM_CHOICES: Final = 1024

JsonObject = Mapping[str, Any]


@define
class Answer:
    """What is known of one answer so far. The dialects' functions fill it in.

    Attributes:
        reported: tokens, as the provider said.
        text_bytes: length of what the model wrote, for an estimate.
        finished: the model has said all; only its accounts may be missing.
        complete: the stream has its proper end.
        broken: what the provider said in place of the rest; None while nothing is wrong.
        overloaded: whether `broken` is of having too much to do.
        progress: how many events were more than a sign of life.
    """

    reported: Reported = field(factory=Reported)
    text_bytes: int = 0
    finished: bool = False
    complete: bool = False
    broken: str | None = None
    overloaded: bool = False
    progress: int = 0
    _going: set[int] = field(init=False, factory=set)
    _ended: set[int] = field(init=False, factory=set)

    def choice(self, index: Any, *, ended: bool) -> None:
        """One of several answers that pass together goes on or ends; all is said when none of them goes on."""
        number = index if type(index) is int else 0
        if len(self._going) + len(self._ended) < _MAXIMUM_CHOICES:
            # The accounts may come with one that has ended, which stays so.
            (self._ended if ended else self._going).add(number)
        self.finished = bool(self._ended) and self._going <= self._ended

    def wrote(self, *texts: Any) -> None:
        """Count what the model wrote; anything but text is nothing."""
        self.text_bytes += sum(
            len(text.encode("utf-8", "replace")) for text in texts if isinstance(text, str)
        )

    def failed(self, error: Any) -> None:
        """The provider says that it cannot go on."""
        kind = str(at(error, "type") or "") + str(at(error, "code") or "")
        message = at(error, "message") if isinstance(error, Mapping) else error
        self.broken = str(message or kind or "the provider reported an error")
        self.overloaded = any(word in kind for word in ("overloaded", "rate_limit", "insufficient_quota"))


@frozen
class Dialect:
    """One model API.

    Attributes:
        name: for logs and metrics.
        cached_apart: whether `Reported.uncached` leaves out what was read from and written to the cache.
        lines: whether a stream is JSON lines, not server-sent events.
        event: takes one event of a stream in.
        whole: takes an answer in that is not a stream.
        streams: whether a request asks for a stream.
        prepare: makes the provider report its usage; whether that changed the request.
        error: body of an error answer, from its kind and message.
        stream_error: what is sent within a stream to say that it broke, from kind and message.
    """

    name: str
    cached_apart: bool
    lines: bool
    event: Callable[[Answer, JsonObject], None]
    whole: Callable[[Answer, JsonObject], None]
    streams: Callable[[JsonObject], bool]
    prepare: Callable[[MutableMapping[str, Any]], bool]
    error: Callable[[str, str], bytes]
    stream_error: Callable[[str, str], bytes]


def at(value: Any, *path: str | int) -> Any:
    """What is at `path` inside decoded JSON, or None."""
    for step in path:
        if isinstance(step, str) and isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and len(value) > step:
            value = value[step]
        else:
            return None
    return value


def encoded(value: Any) -> bytes:
    """JSON without blanks."""
    return json.dumps(value, separators=(",", ":")).encode()


@define
class Reader:
    """Reads an answer as it passes.

    Args:
        dialect: what the events mean.
        streamed: whether it is a stream, by the answer's content type.
    """

    dialect: Dialect
    streamed: bool
    answer: Answer = field(init=False, factory=Answer)
    _framing: Framing = field(init=False)

    def __attrs_post_init__(self) -> None:
        if self.dialect.lines:
            self._framing = JsonLines()
        else:
            self._framing = ServerSentEvents() if self.streamed else Whole()

    def feed(self, data: bytes) -> None:
        """Take in the next bytes, however they are cut."""
        for event in self._framing.feed(data):
            self._take(event)
        if not self.streamed:
            self.answer.progress += 1

    def end(self) -> None:
        """The stream has ended properly, as far as HTTP goes."""
        for event in self._framing.end():
            self._take(event)
        if isinstance(self._framing, Whole) and self._framing.too_long:
            self.answer.text_bytes = self._framing.size
            self.answer.finished = self.answer.complete = True

    def usage(self, asked: int) -> tuple[Usage, bool]:
        """Tokens so far, and whether any are estimated; `asked` stands for the input while that is not reported."""
        said = self.answer.reported
        cached = said.cache_read + said.cache_write
        whole = asked if said.uncached is None else said.uncached + cached * self.dialect.cached_apart
        last_word = said.output is not None and (self.answer.finished or self.answer.complete)
        output = (
            (said.output or 0) if last_word else max(said.output or 0, text_tokens(self.answer.text_bytes))
        )
        guessed = said.uncached is None or not last_word
        return Usage(whole, said.cache_read, said.cache_write, said.cache_write_1h, output), guessed

    def _take(self, event: bytes) -> None:
        if event == DONE:
            self._done()
            return
        try:
            value = json.loads(event)
        except (ValueError, RecursionError):
            return
        if not isinstance(value, dict):
            return
        if isinstance(self._framing, Whole):
            self.dialect.whole(self.answer, value)
            self.answer.finished = self.answer.complete = self.answer.broken is None
        else:
            self.dialect.event(self.answer, value)

    def _done(self) -> None:
        if self.answer.finished:
            self.answer.complete = True
        elif self.answer.broken is None:
            self.answer.broken = "the stream was ended before the model had finished"
