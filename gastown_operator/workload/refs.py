"""Names of the refs that keep a polecat's work safe on the remote."""

from collections.abc import Iterable

import attrs

#: `git check-ref-format` forbids the rest; recovery keys are checked by `api.names`.
DEFAULT_PREFIX = "refs/gastown"


@attrs.frozen
class RecoveryRefs:
    """Refs of one round of one polecat; never under refs/heads, so no forge shows or builds them.

    Args:
        prefix: the rig's `refPrefix`.
        key: the polecat's recovery key.
        round: counted from 1; rises when the operator decides to run again for any reason but infrastructure.
    """

    prefix: str
    key: str
    round: int

    @property
    def checkpoint(self) -> str:
        """Holds the newest checkpoint of the work tree."""
        return f"{self.prefix}/wip/{self.key}/{self.round}"

    @property
    def patterns(self) -> tuple[str, str]:
        """What `git ls-remote` is asked for to see the refs of every round."""
        return f"{self.prefix}/wip/{self.key}/*", f"{self.prefix}/done/{self.key}/*"

    @property
    def done(self) -> str:
        """Exists once the agent of this round ended with exit status 0 and its work was pushed."""
        return f"{self.prefix}/done/{self.key}/{self.round}"


def branch_ref(branch: str) -> str:
    """Full name of a branch."""
    return f"refs/heads/{branch}"


def newest_checkpoint(refs: RecoveryRefs, names: Iterable[str]) -> str | None:
    """The checkpoint ref to go on from: the newest round's up to `refs.round` that did not end well, among `names`."""
    known = set(names)
    for number in range(refs.round, 0, -1):
        earlier = attrs.evolve(refs, round=number)
        if earlier.done in known:
            return None
        if earlier.checkpoint in known:
            return earlier.checkpoint
    return None
