"""The branch that work goes to: the work branch while it is ours, else a name beside it that nobody else uses."""

from collections.abc import Callable, Mapping

import attrs

from gastown_operator.workload.clone_record import CloneRecord
from gastown_operator.workload.commits import is_ancestor
from gastown_operator.workload.errors import AttemptError
from gastown_operator.workload.git import Git
from gastown_operator.workload.message import Outcome
from gastown_operator.workload.ownership import Ownership
from gastown_operator.workload.refs import branch_ref
from gastown_operator.workload.remote import PushResult, Remote, telling_line
from gastown_operator.workload.settings import Settings

_SHORTEST_PUSH = 5.0


class BranchRefusedError(AttemptError):
    """The server takes the branch under no name.

    Args:
        branch: what was tried.
        detail: the server's words.
    """

    def __init__(self, branch: str, detail: str) -> None:
        self.detail = detail
        text = f"the server refused the push to {branch}: {detail}"
        super().__init__(Outcome.CONFIG_ERROR, "PushRejected", text)


@attrs.define
class WorkBranch:
    """Pushes to the branch of one attempt; a later push goes on top of an earlier one.

    Attributes:
        name: the branch that holds our work; empty before a push was accepted.
        commit: what it holds.
    """

    settings: Settings
    record: CloneRecord
    remote: Remote
    git: Git
    ownership: Ownership
    remaining: Callable[[], float]
    name: str = attrs.field(init=False, default="")
    commit: str = attrs.field(init=False, default="")

    def put(self, commit: str, mark: Mapping[str, str]) -> None:
        """Set the branch, and the refs in `mark` with it; doing it again after a lost answer changes nothing.

        Raises:
            BranchRefusedError: the server's rules forbid it.
            AttemptError: the server cannot be reached.
        """
        if commit == self.commit and not mark:
            return
        for branch in [self.name] if self.name else self._names(commit):
            result = self._push_to(branch, commit, mark)
            if result is None:
                self.name, self.commit = branch, commit
                return
            if not result.lease_lost:
                raise BranchRefusedError(branch, _detail(result))
        raise BranchRefusedError(", ".join(self._names(commit)), "every name tried exists already")

    def mark(self, refs: Mapping[str, str]) -> None:
        """Set refs beside the branch; a server that takes branches alone refuses them without harm.

        Raises:
            AttemptError: the server cannot be reached.
        """
        self._push_marked(refs, {}, atomic=False)

    def shown(self) -> bool:
        """Whether the server shows our commit there.

        Raises:
            AttemptError: the server cannot be reached.
        """
        return self._holds(self.name, self.commit)

    def _push_to(self, branch: str, commit: str, mark: Mapping[str, str]) -> PushResult | None:
        """None when the branch holds the commit, else what the server said."""
        expected = self.record.branch_tip if branch == self.settings.work_branch else ""
        lease = {branch_ref(branch): self.commit if self.name else expected}
        wanted = {branch_ref(branch): commit}
        push = self._push_marked if mark else self._push
        result = push({**wanted, **mark}, lease, atomic=bool(mark))
        if mark and not (result.accepted or result.lease_lost):
            # Some servers take branches alone. Without the mark a lost message costs a second run, and no work.
            result = self._push(wanted, lease, atomic=False)
        if result.lease_lost and self._holds(branch, commit):
            # An earlier push of ours, whose answer was lost.
            if mark:
                self.mark(mark)
            return None
        return None if result.accepted else result

    def _names(self, head: str) -> list[str]:
        work, round_number = self.settings.work_branch, self.settings.refs.round
        own = self.settings.refs.key.rpartition("/")[2]  # the key begins with the namespace
        beside = [
            f"{work}-{round_number}",
            f"{work}-{round_number}-{own[:4]}",
            f"{work}-{round_number}-{head[:8]}",
        ]
        tip = self.record.branch_tip
        if tip and not is_ancestor(self.git, tip, head):
            # The agent rewrote what it was given; commits that were on the branch before us are never overwritten.
            return beside
        return [work, *beside]

    def _holds(self, branch: str, commit: str) -> bool:
        name = branch_ref(branch)
        return self.remote.advertised([name], timeout=self._timeout()).get(name) == commit

    def _push_marked(
        self, updates: Mapping[str, str], expected: Mapping[str, str], *, atomic: bool
    ) -> PushResult:
        """Push, and say whose the recovery refs are where that is not said yet."""
        commit = next(iter(updates.values()))
        return self.ownership.push(lambda refs: self._push(refs, expected, atomic=atomic), updates, commit)

    def _push(self, updates: Mapping[str, str], expected: Mapping[str, str], *, atomic: bool) -> PushResult:
        return self.remote.push(self.git, updates, expected=expected, atomic=atomic, timeout=self._timeout())

    def _timeout(self) -> float:
        return max(_SHORTEST_PUSH, self.remaining())


def _detail(result: PushResult) -> str:
    summaries = [ref.summary for ref in result.refs.values() if not ref.accepted]
    return "; ".join(dict.fromkeys([*summaries, telling_line(result.stderr)]))[:240]
