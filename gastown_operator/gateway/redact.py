"""Taking secrets out of what providers say: an error message may repeat the key that it refuses."""

import re
from typing import Final

from attrs import define, field

_LIKE_SECRETS: Final = re.compile(r"(?i)\b(bearer\s+[\w.~+/=*-]+|(?:sk|pk|gsk|xai|key)-[\w*.-]{6,})")
_HIDDEN: Final = "[redacted]"
#: A rotated credential may still be in the answer to a request that was sent before.
_KEPT: Final = 4


@define
class Redactor:
    """Knows the credentials that were used lately."""

    _known: list[str] = field(init=False, factory=list, repr=False)

    def know(self, secret: str) -> None:
        """Take this one out from now on."""
        if secret and secret not in self._known:
            self._known = [*self._known, secret][-_KEPT:]

    def text(self, text: str) -> str:
        """`text` without credentials, and without what looks like one."""
        for secret in self._known:
            text = text.replace(secret, _HIDDEN)
        return _LIKE_SECRETS.sub(_HIDDEN, text)

    def holds(self, text: str) -> bool:
        """Whether one of the credentials is in `text`."""
        return any(secret in text for secret in self._known)
