"""The proof: what the git server holds, compared with what the polecat's status says."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from hack.demo_run.checkout import Checkout
from hack.demo_run.errors import PolecatError


@dataclass(frozen=True)
class Result:
    """The last line of the demo."""

    polecat: str
    phase: str
    branch: str
    commit: str
    seconds: float

    def as_json(self) -> str:
        """Return the line."""
        return json.dumps(asdict(self))


def proven_commit(status: dict[str, Any], checkout: Checkout) -> str:
    """Return the commit of the polecat's branch as the server has it; raise PolecatError unless status says the same."""
    phase, branch = status.get("phase", ""), status.get("branch", "")
    if phase != "Done":
        raise PolecatError(f"the polecat ended as {phase}, not as Done: {_ready(status)}")
    commit = checkout.head(branch) if branch else ""
    if not commit:
        raise PolecatError(f"the polecat is Done, but the git server has no branch {branch!r}")
    if commit != status.get("headCommit"):
        raise PolecatError(
            f"the git server has {commit} on {branch}, but the status says {status.get('headCommit')}"
        )
    return commit


def _ready(status: dict[str, Any]) -> str:
    """What the polecat says of itself."""
    conditions = (entry for entry in status.get("conditions", ()) if entry["type"] == "Ready")
    return next(
        (f"{ready['reason']}: {ready['message']}" for ready in conditions), "it has no condition Ready"
    )
