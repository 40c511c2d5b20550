"""The termination message of housekeeping."""

import attrs

from gastown_operator.workload.message import VERSION, Outcome, bounded, parsed


@attrs.frozen
class HousekeepingReport:
    """What came of one run.

    Attributes:
        outcome: `SUCCEEDED`, `CONFIG_ERROR` where only a person can help, `INFRASTRUCTURE` where trying again may.
        reason: CamelCase, stable; becomes the reason of a condition.
        message: for a person, with the next step where one is needed; free of secrets.
        deleted: refs of polecats that the run removed.
        remaining: refs of the rig's polecats that are there after it.
    """

    outcome: Outcome
    reason: str
    message: str = ""
    deleted: int = 0
    remaining: int = 0

    def encode(self) -> bytes:
        """ASCII JSON of at most 1 KiB; the message text is shortened to fit."""
        return bounded({"v": VERSION, **attrs.asdict(self)})


def decode(text: str) -> HousekeepingReport | None:
    """The report in `text`; None where it is absent, cut short, of another version, or not ours."""
    body = parsed(text)
    if body is None:
        return None
    types: dict[str, type] = {"reason": str, "message": str, "deleted": int, "remaining": int}
    if body.get("outcome") not in list(Outcome) or not body.get("reason"):
        return None
    values = {name: body.get(name) for name in types}
    if any(type(value) is not types[name] for name, value in values.items()):
        return None
    return HousekeepingReport(outcome=Outcome(body["outcome"]), **values)  # type: ignore[arg-type] # checked above
