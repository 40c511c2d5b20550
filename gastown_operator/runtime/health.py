"""Named health checks, in the manner of the API server's own /healthz and /readyz."""

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

    def run(self, *, verbose: bool = False, exclude: Collection[str] = (), only: str | None = None) -> Report:
        """Run the checks. Raises KeyError if `only` names none."""
        chosen = {only: self._checks[only]} if only is not None else self._checks
        findings = {name: check() for name, check in chosen.items() if name not in exclude}
        healthy = not any(findings.values())
        if healthy and not verbose:
            return Report(healthy, "ok")
        lines = [
            f"[-]{name} failed: {wrong}" if wrong else f"[+]{name} ok" for name, wrong in findings.items()
        ]
        lines += [f"[+]{name} excluded: ok" for name in self._checks if name in exclude]
        verdict = f"{self.endpoint} check {'passed' if healthy else 'failed'}"
        return Report(healthy, "\n".join([*lines, verdict]))
