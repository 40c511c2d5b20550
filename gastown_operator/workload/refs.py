"""Names of the refs that keep a polecat's work safe on the remote."""

import re
from collections.abc import Iterable, Mapping

import attrs


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

    def checkpoint_of(self, attempt: int) -> str:
        """Holds the checkpoint of an attempt that found another, older one still writing to `checkpoint`."""
        return f"{self.checkpoint}-{attempt}"

    def late_checkpoint_of(self, attempt: int) -> str:
        """Holds what an attempt still saved after a newer one had taken over; for people, no attempt resumes from it."""
        return f"{self.checkpoint}-{attempt}-late"

    @property
    def patterns(self) -> tuple[str, str]:
        """What `git ls-remote` is asked for to see the refs of every round."""
        return f"{self.prefix}/wip/{self.key}/*", f"{self.prefix}/done/{self.key}/*"

    @property
    def own(self) -> tuple[str, str]:
        """How the names of every round's refs start."""
        return f"{self.prefix}/wip/{self.key}/", f"{self.prefix}/done/{self.key}/"

    @property
    def done(self) -> str:
        """Exists once the agent of this round ended with exit status 0 and its work was pushed."""
        return f"{self.prefix}/done/{self.key}/{self.round}"


def branch_ref(branch: str) -> str:
    """Full name of a branch."""
    return f"refs/heads/{branch}"


def object_format(advertised: Mapping[str, str]) -> str:
    """The hash that the server's repository uses, by the length of its ids."""
    return "sha256" if any(len(object_id) == 64 for object_id in advertised.values()) else "sha1"


def newest_checkpoint(refs: RecoveryRefs, names: Iterable[str]) -> str | None:
    """The checkpoint ref to go on from: the newest round's up to `refs.round` that did not end well, among `names`."""
    known = set(names)
    for number in range(refs.round, 0, -1):
        earlier = attrs.evolve(refs, round=number)
        if earlier.done in known:
            return None
        found = _newest_of_round(earlier, known)
        if found is not None:
            return found
    return None


def _newest_of_round(refs: RecoveryRefs, known: set[str]) -> str | None:
    """The checkpoint of the highest attempt that has a ref of its own, else the round's."""
    own = re.compile(re.escape(refs.checkpoint) + r"-([0-9]+)")
    attempts = [int(match[1]) for match in map(own.fullmatch, known) if match]
    if attempts:
        return refs.checkpoint_of(max(attempts))
    return refs.checkpoint if refs.checkpoint in known else None
