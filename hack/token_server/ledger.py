"""Which tokens were given, spent and shown: what the server knows, without HTTP."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator

from attrs import define, field


@define
class Ledger:
    """Access tokens live for `lifetime` seconds; a refresh token is good once. Safe for several threads.

    Attributes:
        spent: how often each refresh token was sent.
        rejected: moments (of `time.time`) at which an access token was shown that was not good.
        accepted: how often a good one was shown.
        given: how many pairs were given.
    """

    lifetime: float
    spent: Counter[str] = field(factory=Counter)
    rejected: list[float] = field(factory=list)
    accepted: int = 0
    given: int = 0
    _access: dict[str, float] = field(factory=dict)
    _refresh: set[str] = field(factory=set)
    _numbers: Iterator[int] = field(factory=lambda: itertools.count(1))
    _lock: threading.Lock = field(factory=threading.Lock)

    def give(self) -> tuple[str, str]:
        """Return a new access token and the refresh token for the next."""
        with self._lock:
            number = next(self._numbers)
            access, refresh = f"sk-ant-oat01-{number:06}", f"sk-ant-ort01-{number:06}"
            self._access[access] = time.time() + self.lifetime
            self._refresh.add(refresh)
            self.given += 1
            return access, refresh

    def spend(self, refresh: str, *, keep: bool = False) -> bool:
        """Whether the refresh token was good; it is not any more, unless it is kept."""
        with self._lock:
            self.spent[refresh] += 1
            good = refresh in self._refresh
            if not keep:
                self._refresh.discard(refresh)
            return good

    def show(self, access: str) -> bool:
        """Whether the access token is good now."""
        with self._lock:
            good = time.time() < self._access.get(access, 0.0)
            if good:
                self.accepted += 1
            else:
                self.rejected.append(time.time())
            return good

    def revoke(self) -> None:
        """Let no refresh token be good any more."""
        with self._lock:
            self._refresh.clear()
