"""The refs that hold unfinished work on the server; what another attempt saved is never overwritten."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import attrs

from gastown_operator.workload.clone_record import CloneRecord
from gastown_operator.workload.errors import CheckpointRefusedError
from gastown_operator.workload.git import Git
from gastown_operator.workload.journal import Journal
from gastown_operator.workload.ownership import Ownership
from gastown_operator.workload.remote import PushResult, Remote, telling_line
from gastown_operator.workload.settings import Settings

_SHORTEST_PUSH = 5.0


@attrs.define
class Checkpoints:
    """Pushes checkpoints of one attempt.

    A pod whose node was cut off may go on beside its successor. Every push therefore expects what was last seen there. An
    attempt that pushed before and finds another's checkpoint is the older one, and writes to its `late` ref from then on; an
    attempt that never pushed is taken for the newer one.

    Attributes:
        ref: where checkpoints go now.
    """

    settings: Settings
    record: CloneRecord
    remote: Remote
    git: Git
    journal: Journal
    ownership: Ownership
    ref: str = attrs.field(init=False)
    _expected: str = attrs.field(init=False)
    _tried: set[str] = attrs.field(init=False, factory=set)
    _pushed: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        """Clone saw what is there."""
        self.ref = self.settings.refs.checkpoint
        self._expected = self.record.checkpoint

    @property
    def known(self) -> bool:
        """Whether the round has a checkpoint, of this attempt or of an earlier one."""
        return bool(self._expected)

    def push(
        self,
        commit: str,
        timeout: float,
        guard: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Set the ref.

        Args:
            commit: what the ref shall hold.
            timeout: seconds for each request.
            guard: entered while the server is talked to.

        Raises:
            CheckpointRefusedError: the server's rules forbid it.
            AttemptError: the server cannot be reached.
        """
        if commit == self._expected:
            return
        self._tried.add(commit)
        with guard():
            while not self._set(commit, max(_SHORTEST_PUSH, timeout)):
                self._give_way(commit, max(_SHORTEST_PUSH, timeout))
        self._expected = commit
        self._pushed = True

    def _set(self, commit: str, timeout: float) -> bool:
        """Whether the ref holds the commit now; False where somebody else moved it."""
        leases = {self.ref: self._expected}

        def push(updates: Mapping[str, str]) -> PushResult:
            return self.remote.push(self.git, updates, expected=leases, atomic=False, timeout=timeout)

        result = self.ownership.push(push, {self.ref: commit}, commit)
        if result.accepted or result.lease_lost:
            return result.accepted
        raise CheckpointRefusedError(self.ref, telling_line(result.stderr))

    def _give_way(self, commit: str, timeout: float) -> None:
        """Expect our own push whose answer was lost, else go to a ref that is this attempt's alone."""
        found = self.remote.advertised([self.ref], timeout).get(self.ref, "")
        refs, attempt = self.settings.refs, self.settings.attempt
        if found in self._tried or self.ref != refs.checkpoint:
            self._expected = found
            return
        self.ref = refs.late_checkpoint_of(attempt) if self._pushed else refs.checkpoint_of(attempt)
        self._expected = self.remote.advertised([self.ref], timeout).get(self.ref, "")
        self.journal("another attempt saves its work there; going beside it", ref=self.ref, commit=commit)
