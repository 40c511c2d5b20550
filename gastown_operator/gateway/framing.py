"""Cutting a stream of bytes into events: server-sent events and JSON lines.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from collections.abc import Iterator
from typing import Final, Protocol

from attrs import define, field

#: A longer line is passed on but not read; a whole answer in one event is the longest there is.
MAXIMUM_LINE: Final = 4 * 1024 * 1024


class Framing(Protocol):
    """Finds the events in a stream."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The data of the events that end within `data`."""
        ...

    def end(self) -> Iterator[bytes]:
        """What is left at the end of the stream, where that is an event."""
        ...


@define
class Lines:
    """Lines of any length up to the maximum, whatever pieces they come in; ended by LF, CR LF or CR."""

    maximum: int = MAXIMUM_LINE
    _parts: list[bytes] = field(init=False, factory=list)
    _size: int = field(init=False, default=0)
    _skipping: bool = field(init=False, default=False)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that end within `data`, without their ends; a CR LF may give an empty line more."""
        *ended, rest = data.replace(b"\r", b"\n").split(b"\n")
        for part in ended:
            self._keep(part)
            if (line := self._taken()) is not None:
                yield line
        self._keep(rest)

    def end(self) -> Iterator[bytes]:
        """The last line, if it has no end."""
        if line := self._taken():
            yield line

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self.maximum:
            self._parts.clear()
            self._skipping = True
        elif part:
            self._parts.append(part)

    def _taken(self) -> bytes | None:
        line = None if self._skipping else b"".join(self._parts)
        self._parts.clear()
        self._size, self._skipping = 0, False
        return line


@define
class ServerSentEvents:
    """The `data` of server-sent events. One event is one line of data with every provider, so each line is one event."""

    lines: Lines = field(factory=Lines)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The data lines that end within `data`."""
        return filter(None, map(_data, self.lines.feed(data)))

    def end(self) -> Iterator[bytes]:
        """Nothing: an event that is not ended does not count."""
        return iter(())


@define
class JsonLines:
    """One JSON value in each line."""

    lines: Lines = field(factory=Lines)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that end within `data`."""
        return filter(None, self.lines.feed(data))

    def end(self) -> Iterator[bytes]:
        """The last line: nobody ends it when there is only one."""
        return self.lines.end()


@define
class Whole:
    """One JSON value that is the whole answer."""

    maximum: int = MAXIMUM_LINE
    size: int = field(init=False, default=0)
    _parts: list[bytes] = field(init=False, factory=list)

    @property
    def too_long(self) -> bool:
        """Whether the answer is longer than the maximum, so that it is not read."""
        return self.size > self.maximum

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Nothing before the end."""
        self.size += len(data)
        if self.too_long:
            self._parts.clear()
        else:
            self._parts.append(data)
        return iter(())

    def end(self) -> Iterator[bytes]:
        """The answer, if it is not longer than the maximum."""
        if self._parts:
            yield b"".join(self._parts)


def _data(line: bytes) -> bytes:
    return line[5:].strip() if line.startswith(b"data:") else b""
