"""Named health checks, in the manner of the API server's own /healthz and /readyz.

Otherwise than there, what is wrong is told to everybody who asks: it names kinds and waits, and nothing secret.
"""

from collections.abc import Callable, Collection

from attrs import define, field, frozen

Check = Callable[[], str | None]
"""Returns what is wrong in a few words, or None."""


@frozen
class Report:
    """What a set of checks found; the text follows the API server's `?verbose`."""

    healthy: bool
    text: str


@define
class Checks:
    """The checks of one endpoint (`healthz` or `readyz`)."""

    endpoint: str
    _checks: dict[str, Check] = field(factory=dict)

    def add(self, name: str, check: Check) -> None:
        """Register a check. Raises ValueError if the name is taken."""
        if name in self._checks:
            raise ValueError(f"{self.endpoint} has a check {name!r} already")
        self._checks[name] = check

    def names(self) -> Collection[str]:
        """Return the names of all checks."""
        return self._checks.keys()

    def run(self, *, verbose: bool = False, exclude: Collection[str] = ()) -> Report:
        """Run the checks but the excluded ones. Without any check, `ping` passes."""
        lines, healthy = [], True
        for name, check in (self._checks or {"ping": _ping}).items():
            if name in exclude:
                lines.append(f"[+]{name} excluded: ok")
                continue
            wrong = check()
            lines.append(f"[-]{name} failed: {wrong}" if wrong else f"[+]{name} ok")
            healthy = healthy and not wrong
        unknown = sorted(set(exclude) - (self._checks or {"ping": _ping}).keys())
        if unknown:
            quoted = ",".join(f'"{name}"' for name in unknown)
            lines.append(f"warn: some health checks cannot be excluded: no matches for {quoted}")
        if healthy and not verbose:
            return Report(healthy, "ok")
        verdict = f"{self.endpoint} check {'passed' if healthy else 'failed'}"
        return Report(healthy, "\n".join([*lines, verdict]) + "\n")

    def run_one(self, name: str) -> Report:
        """Run one check. Raises KeyError if there is none of that name."""
        wrong = (self._checks or {"ping": _ping})[name]()
        return Report(not wrong, f"internal server error: {wrong}\n" if wrong else "ok")


def _ping() -> None:
    """Pass: who answers is alive."""
