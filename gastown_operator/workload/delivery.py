"""Brings the agent's work to the remote at the end of an attempt, and proves that it is there."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

import attrs

from gastown_operator.workload.agent_end import DISK_FULL, MORE_ROOM, AgentEnd
from gastown_operator.workload.background import in_background
from gastown_operator.workload.checkpoints import Checkpoints
from gastown_operator.workload.clone_record import CloneRecord
from gastown_operator.workload.errors import AttemptError, CheckpointRefusedError, GitError
from gastown_operator.workload.local_refs import Tip
from gastown_operator.workload.message import Outcome, TerminationMessage
from gastown_operator.workload.salvage import Salvage
from gastown_operator.workload.settings import Settings
from gastown_operator.workload.volumes import out_of_room
from gastown_operator.workload.work import Commits, Work, WorkState
from gastown_operator.workload.work_branch import BranchRefusedError, WorkBranch

_T = TypeVar("_T")

#: Seconds for a look at the work tree, or beside the branch, before commits are pushed without waiting for it any longer.
PATIENCE = 20.0
#: Seconds kept for the last push and its proof.
_RESERVE = 15.0


@attrs.define
class Delivery:
    """Pushes what is left and says what came of it; what is computed once stays, so that a try can be repeated.

    Args:
        remaining: seconds that are left before the container is killed.
    """

    settings: Settings
    record: CloneRecord
    work: Work
    salvage: Salvage
    checkpoints: Checkpoints
    branch: WorkBranch
    remaining: Callable[[], float]
    _commits: Commits | None = attrs.field(init=False, default=None)
    _looking: Future[WorkState] | None = attrs.field(init=False, default=None)
    _beside: Future[list[Tip]] | None = attrs.field(init=False, default=None)

    def deliver(self, end: AgentEnd) -> TerminationMessage:
        """Push what is committed, then what is not, and read back what the remote holds.

        A run that succeeded gets its uncommitted changes as a commit on the branch, and the round's done ref. Of any other run
        the branch gets the agent's own commits alone; what is uncommitted goes to the checkpoint ref, where the next attempt
        finds it. Uncommitted changes that cannot be read or pushed cost themselves, never the commits.
        """
        try:
            message = self._deliver(end)
        except AttemptError as error:
            message = self._reached(error.outcome, error.reason, f"{end.text}; {error.message}")
        except (GitError, OSError) as error:
            text = f"{end.text}; its work could not be written as git objects: {error}"
            if self._no_room(error):
                message = self._reached(Outcome.RESOURCE_EXCEEDED, DISK_FULL, f"{text}; {MORE_ROOM}")
            else:
                message = self._reached(Outcome.CONFIG_ERROR, "WorkNotSaved", text)
        if self._commits is not None and self._commits.unreadable:
            flat = f"the agent's git repository could not be read, so its files are on top of {self._commits.head[:12]}, without its own history"
            message = attrs.evolve(message, message=f"{message.message}; {flat}")
        if self.work.unsaved:
            lost = f"the newest of {', '.join(self.work.unsaved)} could not all be saved"
            message = attrs.evolve(message, message=f"{message.message}; {lost}")
        return message

    def _deliver(self, end: AgentEnd) -> TerminationMessage:
        if self._commits is None:
            self._commits = self.work.commits()
        try:
            state = self._state(self._commits)
            self._look_beside(self._commits, state)
        except BranchRefusedError as error:
            return self._rejected(end, self._commits.delivered, self._commits.delivered, error)
        except TimeoutError:
            return self._commits_only(end, self._commits, "could not be read in time")
        except (GitError, OSError) as error:
            full = self._no_room(error)
            return self._commits_only(
                end.on_full_disk() if full else end, self._commits, f"was not saved: {error}"
            )
        if state.no_room:
            end = end.on_full_disk()
        message = self._succeeded(end, state) if end.succeeded else self._failed(end, state)
        return _say_left_out(message, state)

    def _no_room(self, error: Exception) -> bool:
        return out_of_room(error, self.salvage.scratch)

    def _state(self, commits: Commits) -> WorkState:
        """The look at the work tree."""
        if self._looking is None:
            self._looking = in_background(lambda: self.work.look(commits))
        return self._awaited(self._looking, commits)

    def _look_beside(self, commits: Commits, state: WorkState) -> None:
        """The look at what the branch cannot hold; without time, an earlier checkpoint's stays."""
        if self._beside is None:
            self._beside = in_background(lambda: self.work.look_beside(state))
        try:
            self.work.beside = self._awaited(self._beside, commits)
        except TimeoutError:
            self.work.beside = self.work.known_beside()

    def _awaited(self, look: Future[_T], commits: Commits) -> _T:
        """What a look finds; where it takes long, what is committed is pushed meanwhile. Raises TimeoutError."""
        try:
            return look.result(max(0.0, min(PATIENCE, self.remaining() - _RESERVE)))
        except TimeoutError:
            if look.done():
                raise
        self._put_commits(commits)
        return look.result(max(0.0, self.remaining() - _RESERVE))

    def _put_commits(self, commits: Commits) -> None:
        """The agent's own commits, where there are any: a push that needs nothing of the work tree."""
        if commits.delivered != self.record.start and self.work.count(commits.delivered):
            self.branch.put(commits.delivered, {})

    def _commits_only(self, end: AgentEnd, commits: Commits, cause: str) -> TerminationMessage:
        try:
            self._put_commits(commits)
        except BranchRefusedError as error:
            return self._rejected(end, commits.delivered, commits.delivered, error)
        where = f"its commits are on {self.branch.name}, but " if self.branch.name else ""
        text = f"{end.text}; {where}what was not committed {cause}"
        if end.succeeded:
            return self._reached(Outcome.CONFIG_ERROR, "LeftoversNotSaved", text)
        return self._reached(end.outcome, end.reason, text)

    def _succeeded(self, end: AgentEnd, state: WorkState) -> TerminationMessage:
        head = self._head(state)
        tips = [tip for tip in self.work.elsewhere(head, saved=False) if tip.commit != head]
        if head == self.record.work_begins or not self.work.count(head):
            return (
                self._elsewhere(end, state, ", ".join(tip.where for tip in tips))
                if tips
                else self._nothing(end, head)
            )
        checkpoint = (
            self.work.checkpoint_commit(state) if tips or (state.dirty and head != state.head) else ""
        )
        refused = self._refused(checkpoint) if checkpoint else None
        try:
            if head != state.delivered:
                self._put_commits(Commits(state.head, state.delivered))
            self.branch.put(head, {self.settings.refs.done: head})
        except BranchRefusedError as error:
            return self._rejected(end, state.delivered, head, error)
        text = end.text
        if tips:
            kept = "could not be saved" if refused else f"is kept under {self.checkpoints.ref}"
            text += f"; what is in {', '.join(tip.where for tip in tips)} is not on the branch and {kept}"
        message = attrs.evolve(
            self._reached(end.outcome, end.reason, text), checkpoint="" if refused else checkpoint
        )
        return self._proven(message)

    def _head(self, state: WorkState) -> str:
        if not (state.dirty and state.delivered == state.head):
            return state.delivered
        title = self.settings.title or f"Work of {self.settings.polecat}"
        trailers = [f"Polecat: {self.settings.polecat}"]
        if self.settings.bead:
            trailers.append(f"Bead: {self.settings.bead}")
        return self.work.commit(state, f"{title}\n\n" + "\n".join(trailers) + "\n")

    def _failed(self, end: AgentEnd, state: WorkState) -> TerminationMessage:
        checkpoint = self.work.checkpoint_commit(state)
        extra = "" if checkpoint == state.delivered else checkpoint
        # Also without anything uncommitted, so that an older checkpoint never wins over what the branch gets below.
        news = extra or self.checkpoints.known or state.delivered != self.record.start
        refused = self._refused(checkpoint) if news else None
        try:
            if self.work.count(state.delivered):
                self.branch.put(state.delivered, {})
        except BranchRefusedError as error:
            return self._rejected(end, state.delivered, checkpoint, error)
        message = attrs.evolve(
            self._reached(end.outcome, end.reason, end.text),
            head=state.delivered,
            checkpoint="" if refused else extra,
        )
        message = self._proven(message) if self.branch.name else message
        if refused is None or not extra:
            return message
        text = f"{message.message}; what was not committed {self._salvaged(extra, '')}: {refused.message}"
        return attrs.evolve(message, outcome=refused.outcome, reason=refused.reason, message=text)

    def _nothing(self, end: AgentEnd, head: str) -> TerminationMessage:
        # The mark keeps a lost message from running the agent a second time; at the base, it says that there is no work.
        self.branch.mark({self.settings.refs.done: self.record.base})
        text = f"{end.text} but changed nothing; say more in spec.taskDescription, or set spec.allowNoChanges"
        count = self.work.count(head)
        if count:
            text += f" (branch {self.settings.work_branch} had {count} commits before, which are not this polecat's)"
        message = self._reached(Outcome.NO_CHANGES, "NoChanges", text)
        return attrs.evolve(message, head=head, commits=count)

    def _elsewhere(self, end: AgentEnd, state: WorkState, where: str) -> TerminationMessage:
        """The agent says it is done, and put its work where nobody delivers it from."""
        commit = self.work.checkpoint_commit(state)
        refused = self._refused(commit)
        kept = f"it {self._salvaged(commit, '')}" if refused else f"it is kept under {self.checkpoints.ref}"
        text = f"{end.text}, with nothing on its branch, but work in {where}; {kept}. Tell the agent to commit to its branch"
        message = self._reached(Outcome.CONFIG_ERROR, "WorkElsewhere", text)
        return attrs.evolve(message, head=state.head, checkpoint="" if refused else commit)

    def _reached(self, outcome: Outcome, reason: str, text: str) -> TerminationMessage:
        """A message with what the remote has of us by now."""
        head = self.branch.commit
        if self.branch.name and self.branch.name != self.settings.work_branch:
            text = f"{self.settings.work_branch} was moved by somebody else, so the work is on {self.branch.name}; {text}"
        return TerminationMessage(
            outcome,
            reason,
            text,
            branch=self.branch.name,
            base=self.record.base,
            head=head,
            commits=self.work.count(head) if head else 0,
            pushed=bool(head),
        )

    def _proven(self, message: TerminationMessage) -> TerminationMessage:
        if self.branch.shown():
            return message
        text = f"the push to {message.branch} was accepted, but the server does not show {message.head[:12]} there"
        return attrs.evolve(
            message,
            branch="",
            pushed=False,
            outcome=Outcome.INFRASTRUCTURE,
            reason="PushNotVisible",
            message=text,
        )

    def _rejected(
        self, end: AgentEnd, delivered: str, commit: str, error: BranchRefusedError
    ) -> TerminationMessage:
        """The server refuses the branch; the checkpoint ref may still be allowed, so that nothing is lost."""
        refused = self._refused(commit)
        where = f"is kept under {self.checkpoints.ref}"
        if refused is not None:
            salvaged = self._salvaged(commit, delivered)
            where = f"{salvaged}, since {self.checkpoints.ref} was refused too"
        if self.branch.name:
            text = f"{end.text}; its commits are on {self.branch.name}, but what was not committed {where}: {error.message}"
            message = self._reached(Outcome.CONFIG_ERROR, "LeftoversRejected", text)
        else:
            text = f"{error.message}; the work {where}. Allow the push, or set spec.kubernetes.workBranch"
            message = self._reached(error.outcome, error.reason, text)
            message = attrs.evolve(message, head=commit, commits=self.work.count(commit))
        return attrs.evolve(message, checkpoint="" if refused else commit)

    def _salvaged(self, commit: str, without_leftovers: str) -> str:
        """Where work is that the server does not take."""
        place = "in the log of the keeper as a git bundle (kubectl logs POD -c keeper)"
        known = ("", commit, self.branch.commit, self.record.start)
        try:
            if self.salvage.write(commit):
                return f"is {place}"
            if without_leftovers not in known and self.salvage.write(without_leftovers):
                return f"is {place}, but what was not committed is lost, being too large for a log"
        except (GitError, OSError) as error:
            return f"is lost: it could not be written to the log of the keeper either ({error})"
        return "is lost, being too large for a log"

    def _refused(self, commit: str) -> CheckpointRefusedError | None:
        """Why the server does not take the checkpoint; None when it did."""
        try:
            self.checkpoints.push(commit, self.remaining() - _RESERVE)
        except CheckpointRefusedError as error:
            return error
        except AttemptError:
            # It may be large, and what is committed small; the first failure is the one to tell.
            with suppress(AttemptError):
                self._put_commits(self._commits or self.work.commits())
            raise
        return None


def _say_left_out(message: TerminationMessage, state: WorkState) -> TerminationMessage:
    if not state.left_out:
        return message
    names = ", ".join(ascii(name) for name in state.left_out[:3])
    what = "store" if state.no_room else "read"
    return attrs.evolve(
        message, message=f"{message.message}; could not {what} {len(state.left_out)} files ({names})"
    )
