"""Sets of recovery keys on their way into a Job: a digest of each, so that thousands fit into its environment."""

import base64
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

import attrs

#: 96 bits: nobody finds another key with the digest of a given one.
_BYTES: Final = 12


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()[:_BYTES]


@attrs.frozen
class Keys:
    """A set of recovery keys that can only be asked for keys that are known."""

    digests: frozenset[bytes] = frozenset()

    def __contains__(self, key: str) -> bool:
        """Whether the key is in the set."""
        return _digest(key) in self.digests

    def encode(self) -> str:
        """As text, the same for the same set."""
        return base64.b64encode(b"".join(sorted(self.digests))).decode("ascii")


def keys(of: Iterable[str]) -> Keys:
    """The set of these keys."""
    return Keys(frozenset(map(_digest, of)))


def decode(text: str) -> Keys:
    """The set that `Keys.encode` wrote.

    Raises:
        ValueError: it did not.
    """
    packed = base64.b64decode(text, validate=True)
    if len(packed) % _BYTES:
        raise ValueError("a set of keys is cut short")
    return Keys(frozenset(packed[at : at + _BYTES] for at in range(0, len(packed), _BYTES)))
