"""Which tokens were given, spent and shown: what the server knows, without HTTP."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from attrs import define, evolve, field, frozen


@frozen
class Access:
    """The moments (of `time.time`) from which and until which an access token is good."""

    begins: float
    ends: float


@frozen
class Shown:
    """Somebody has shown an access token, which was good or not; `token` is None where it was never given."""

    at: float
    by: str
    token: str | None
    good: bool


@define
class Ledger:
    """Access tokens live for `lifetime` seconds; a refresh token is good once. Safe for several threads.

    Attributes:
        spent: how often each refresh token was sent.
        shown: every access token that was shown, in order.
    """

    lifetime: float
    spent: Counter[str] = field(factory=Counter)
    shown: list[Shown] = field(factory=list)
    _access: dict[str, Access] = field(factory=dict)
    _refresh: set[str] = field(factory=set)
    _numbers: Iterator[int] = field(factory=lambda: itertools.count(1))
    _lock: threading.Lock = field(factory=threading.Lock)

    @property
    def given(self) -> int:
        """How many pairs were given."""
        return len(self._access)

    @property
    def accesses(self) -> Mapping[str, Access]:
        """The access tokens that were given, in order, by themselves."""
        with self._lock:
            return dict(self._access)

    @property
    def newest(self) -> str:
        """The access token that was given last."""
        return list(self.accesses)[-1]

    @property
    def rejected(self) -> Sequence[Shown]:
        """What was shown and was not good."""
        return [shown for shown in list(self.shown) if not shown.good]

    def give(self, lifetime: float | None = None) -> tuple[str, str]:
        """Return a new access token, which may have a lifetime of its own, and the refresh token for the next."""
        with self._lock:
            number, now = next(self._numbers), time.time()
            access, refresh = f"sk-ant-oat01-{number:06}", f"sk-ant-ort01-{number:06}"
            self._access[access] = Access(now, now + (lifetime or self.lifetime))
            self._refresh.add(refresh)
            return access, refresh

    def spend(self, refresh: str, *, keep: bool = False) -> bool:
        """Whether the refresh token was good; it is not any more, unless it is kept."""
        with self._lock:
            self.spent[refresh] += 1
            good = refresh in self._refresh
            if not keep:
                self._refresh.discard(refresh)
            return good

    def show(self, token: str, by: str = "") -> bool:
        """Whether the access token is good now."""
        with self._lock:
            now, access = time.time(), self._access.get(token)
            good = access is not None and now < access.ends
            self.shown.append(Shown(now, by, token if access is not None else None, good))
            return good

    def expire(self, token: str, seconds: float = 0.0) -> None:
        """Let the life of an access token end so many seconds from now, whatever was promised."""
        with self._lock:
            self._access[token] = evolve(self._access[token], ends=time.time() + seconds)

    def revoke(self) -> None:
        """Let no refresh token be good any more."""
        with self._lock:
            self._refresh.clear()
