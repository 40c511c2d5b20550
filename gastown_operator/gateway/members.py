"""The members of a JSON object, found in its bytes: what is not to be changed is passed on as it came.

Strings are taken as Latin-1, in which every byte is one character: offsets are those of the bytes, and a decoded body takes no more
memory than its bytes, where one emoji would make it four times as large.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from attrs import define, field, frozen

#: What decoding may take: an agent must not be able to fill the memory of the container with braces.
MAXIMUM_DECODED: Final = 64 * 1024 * 1024
#: CPython's objects behind each of these bytes, at most.
_WEIGHTS: Final = ((b"{", 224), (b"[", 112), (b",", 96))
_BLANKS: Final = re.compile(r"[ \t\n\r]*")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_number)


@frozen
class Member:
    """One member of an object.

    Attributes:
        value: decoded, strings as Latin-1.
        name: where its name is.
        raw: where its value is.
    """

    value: Any
    name: slice
    raw: slice


@define
class Members:
    """The outermost members of a JSON object.

    Attributes:
        content: the object.
        found: the last member of each name, which is the one that counts.
        repeated: whether one name was there twice: others may take the first one.
    """

    content: bytes = field(repr=False)
    found: dict[str, Member] = field(init=False, factory=dict)
    repeated: bool = field(init=False, default=False)

    def values(self) -> dict[str, Any]:
        """What the object holds."""
        return {name: member.value for name, member in self.found.items()}

    def replaced(self, changes: Mapping[str, Any]) -> bytes:
        """The object with other values for some names; as it came where nothing is to be changed."""
        if not changes and not self.repeated:
            return self.content
        kept = [
            self.content[member.name] + b":" + self.content[member.raw]
            for name, member in self.found.items()
            if name not in changes
        ]
        changed = [json.dumps({name: value}).encode()[1:-1] for name, value in changes.items()]
        return b"{" + b",".join([*changed, *kept]) + b"}"


def parse(content: bytes) -> Members:
    """Find the members of an object. Raises ValueError and RecursionError where it is none, or would take too much memory."""
    if sum(content.count(byte) * weight for byte, weight in _WEIGHTS) > MAXIMUM_DECODED:
        raise ValueError("too many values")
    if not content.isascii():
        content.decode()  # has to be UTF-8
    members, text = Members(content), content.decode("latin-1")
    at = _after(text, _blanks(text, 0), "{")
    if text[at : at + 1] == "}":
        at += 1
    else:
        at = _all(members, text, at)
    if _blanks(text, at) != len(text):
        raise ValueError("more than one value")
    return members


def _all(members: Members, text: str, at: int) -> int:
    while True:
        begin = at
        name, at = _DECODER.raw_decode(text, begin)
        if not isinstance(name, str):
            raise ValueError("not a name")  # noqa: TRY004 - one kind of error
        its_name = slice(begin, at)
        start = _after(text, _blanks(text, at), ":")
        value, end = _DECODER.raw_decode(text, start)
        members.repeated = members.repeated or name in members.found
        members.found[name] = Member(value, its_name, slice(start, end))
        at = _blanks(text, end)
        if text[at : at + 1] == "}":
            return at + 1
        at = _after(text, at, ",")


def _blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return found.end() if found else at


def _after(text: str, at: int, character: str) -> int:
    if text[at : at + 1] != character:
        raise ValueError(f"{character} is missing")
    return _blanks(text, at + 1)
