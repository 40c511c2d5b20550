"""Says on the server which rig's the recovery refs of a polecat are, so that its housekeeping knows what it may remove."""

from collections.abc import Callable, Mapping

import attrs

from gastown_operator.workload.journal import Journal
from gastown_operator.workload.remote import PushResult


@attrs.define
class Ownership:
    """The owner ref of one polecat; it is pushed along with the first recovery ref, and never makes that one fail.

    Args:
        ref: its name; empty where the repository is not the rig's, and nobody keeps house.
        settled: whether the server has it, or refuses it.
    """

    ref: str
    journal: Journal
    settled: bool = False

    def push(
        self, push: Callable[[Mapping[str, str]], PushResult], updates: Mapping[str, str], commit: str
    ) -> PushResult:
        """Push `updates`, and the owner ref with them while the server has not got it; what came of `updates`.

        Args:
            push: pushes refs without a lease on the owner ref: whoever set it said the same.
            updates: refs and what they shall hold.
            commit: what the owner ref shall hold: something that is pushed anyway.
        """
        if self.settled or not self.ref:
            return push(updates)
        result = push({**updates, self.ref: commit})
        others = result.without(self.ref)
        own = result.refs.get(self.ref)
        self.settled = own is not None and own.accepted
        if self.settled or others.lease_lost:
            return others
        if not others.accepted:
            # One refused ref may cost all refs of a push.
            others = push(updates)
        if others.accepted:
            self.settled = True
            self.journal(
                "the server refuses to be told whose these refs are; nobody will remove them", ref=self.ref
            )
        return others
