"""Brings the agent's work to the remote at the end of an attempt, and proves that it is there."""

from collections.abc import Callable

import attrs

from gastown_operator.workload.agent_end import AgentEnd
from gastown_operator.workload.clone_record import CloneRecord
from gastown_operator.workload.errors import CheckpointRefusedError, GitError
from gastown_operator.workload.git import Git
from gastown_operator.workload.message import Outcome, TerminationMessage
from gastown_operator.workload.refs import branch_ref
from gastown_operator.workload.remote import PushResult, Remote, telling_line
from gastown_operator.workload.salvage import Salvage
from gastown_operator.workload.settings import Settings
from gastown_operator.workload.work import Work, WorkState


@attrs.frozen
class Delivery:
    """Pushes what is left and says what came of it.

    Args:
        remaining: seconds that are left before the container is killed.
    """

    settings: Settings
    record: CloneRecord
    remote: Remote
    git: Git
    work: Work
    salvage: Salvage
    remaining: Callable[[], float]

    def deliver(self, end: AgentEnd) -> TerminationMessage:
        """Commit what is left, push, and read back what the remote holds.

        A run that succeeded gets its uncommitted changes as a commit on the branch, and the round's done ref. Of any other run
        the branch gets the agent's own commits alone; what is uncommitted goes to the checkpoint ref, where the next attempt
        finds it.

        Raises:
            AttemptError: the remote cannot be reached.
            GitError: objects cannot be written.
        """
        state = self.work.look()
        head = self._head(state, end)
        checkpoint = "" if end.succeeded and head != state.head else self.work.checkpoint_commit(state)
        if checkpoint == head:
            checkpoint = ""
        message = TerminationMessage(
            end.outcome,
            end.reason,
            end.text,
            base=self.record.base,
            head=head,
            commits=self.work.count(head),
            checkpoint=checkpoint,
        )
        # Of a run that failed always, so that an older checkpoint never wins over what the branch gets below.
        refused = self._refused_checkpoint(checkpoint or head) if checkpoint or not end.succeeded else None
        if refused is not None:
            message = attrs.evolve(message, checkpoint="")
        message = _say_left_out(message, state)
        message = self._with_commits(message, end) if message.commits else self._without_commits(message, end)
        return self._say_refused(message, refused, checkpoint, end) if refused and checkpoint else message

    def _head(self, state: WorkState, end: AgentEnd) -> str:
        if not (end.succeeded and state.dirty and state.delivered == state.head):
            return state.delivered
        title = self.settings.title or f"Work of {self.settings.polecat}"
        trailers = [f"Polecat: {self.settings.polecat}"]
        if self.settings.bead:
            trailers.append(f"Bead: {self.settings.bead}")
        return self.work.commit(state, f"{title}\n\n" + "\n".join(trailers) + "\n")

    def _without_commits(self, message: TerminationMessage, end: AgentEnd) -> TerminationMessage:
        if not end.succeeded:
            return message
        # The mark keeps a lost message from running the agent a second time.
        self._push({self.settings.refs.done: message.head}, {}, atomic=False)
        text = "the agent ended with exit status 0 but changed nothing; say more in spec.taskDescription, or set spec.allowNoChanges"
        return attrs.evolve(message, outcome=Outcome.NO_CHANGES, reason="NoChanges", message=text)

    def _with_commits(self, message: TerminationMessage, end: AgentEnd) -> TerminationMessage:
        extra = {self.settings.refs.done: message.head} if end.succeeded else {}
        for branch in self._branches(message.head):
            expected = self.record.branch_tip if branch == self.settings.work_branch else ""
            wanted, lease = {branch_ref(branch): message.head}, {branch_ref(branch): expected}
            result = self._push({**wanted, **extra}, lease, atomic=bool(extra))
            if extra and not (result.accepted or result.lease_lost):
                # Some servers take branches alone. Without the mark a lost message costs a second run, and no work.
                result = self._push(wanted, lease, atomic=False)
            if result.accepted:
                return self._proven(message, branch)
            if not result.lease_lost:
                return self._rejected(message, branch, result)
        names = ", ".join(self._branches(message.head))
        return self._rejected(message, names, None)

    def _branches(self, head: str) -> list[str]:
        """The work branch while it is ours, then names beside it that nobody else uses."""
        work, round_number, key = self.settings.work_branch, self.settings.refs.round, self.settings.refs.key
        beside = [
            f"{work}-{round_number}",
            f"{work}-{round_number}-{key[:4]}",
            f"{work}-{round_number}-{head[:8]}",
        ]
        tip = self.record.branch_tip
        if tip and not self.work.descends(head, tip):
            # The agent rewrote what it was given; commits that were on the branch before us are never overwritten.
            return beside
        return [work, *beside]

    def _proven(self, message: TerminationMessage, branch: str) -> TerminationMessage:
        held = self.remote.advertised([branch_ref(branch)], timeout=max(5.0, self.remaining()))
        if held.get(branch_ref(branch)) != message.head:
            text = (
                f"the push to {branch} was accepted, but the server does not show {message.head[:12]} there"
            )
            return attrs.evolve(
                message, outcome=Outcome.INFRASTRUCTURE, reason="PushNotVisible", message=text
            )
        text = message.message
        if branch != self.settings.work_branch:
            text = (
                f"{self.settings.work_branch} was moved by somebody else, so the work is on {branch}; {text}"
            )
        return attrs.evolve(message, branch=branch, pushed=True, message=text)

    def _rejected(
        self, message: TerminationMessage, branch: str, result: PushResult | None
    ) -> TerminationMessage:
        """The server refuses the branch; the checkpoint ref may still be allowed, so that nothing is lost."""
        said = telling_line(result.stderr) if result is not None else "every name tried exists already"
        summaries = (
            [ref.summary for ref in result.refs.values() if not ref.accepted] if result is not None else []
        )
        detail = "; ".join(dict.fromkeys([*summaries, said]))[:240]
        checkpoint = message.checkpoint or message.head
        try:
            self._push_checkpoint(checkpoint)
            where = f"the work is kept under {self.settings.refs.checkpoint}"
        except CheckpointRefusedError:
            where = (
                f"{self.settings.refs.checkpoint} was refused too, so the work {self._salvaged(checkpoint)}"
            )
            checkpoint = ""
        text = f"the server refused the push to {branch}: {detail}; {where}. Allow the push, or set spec.kubernetes.workBranch"
        return attrs.evolve(
            message,
            outcome=Outcome.CONFIG_ERROR,
            reason="PushRejected",
            message=text,
            checkpoint=checkpoint,
            pushed=False,
        )

    def _say_refused(
        self, message: TerminationMessage, refused: CheckpointRefusedError, checkpoint: str, end: AgentEnd
    ) -> TerminationMessage:
        """What was not committed has no place on the server: a person has to know, unless a refused branch is the greater trouble."""
        if message.outcome is Outcome.CONFIG_ERROR:
            return message
        text = f"{message.message}; what was not committed {self._salvaged(checkpoint)}: {refused.message}"
        if end.succeeded:
            return attrs.evolve(message, message=text)
        return attrs.evolve(message, outcome=refused.outcome, reason=refused.reason, message=text)

    def _salvaged(self, commit: str) -> str:
        """Where work is that the server does not take."""
        if self.salvage.write(commit):
            return "is in the log of the keeper as a git bundle (kubectl logs POD -c keeper)"
        return "is lost, being too large for a log"

    def _refused_checkpoint(self, commit: str) -> CheckpointRefusedError | None:
        """Why the server does not take the checkpoint; None when it did."""
        try:
            self._push_checkpoint(commit)
        except CheckpointRefusedError as error:
            return error
        return None

    def _push_checkpoint(self, commit: str) -> None:
        push_checkpoint(self.remote, self.git, self.settings, commit, self.remaining())

    def _push(self, updates: dict[str, str], expected: dict[str, str], *, atomic: bool) -> PushResult:
        return self.remote.push(
            self.git, updates, expected=expected, atomic=atomic, timeout=max(5.0, self.remaining())
        )


def push_checkpoint(remote: Remote, git: Git, settings: Settings, commit: str, timeout: float) -> None:
    """Set the round's checkpoint ref.

    Raises:
        CheckpointRefusedError: the server's rules forbid it.
        AttemptError: the server cannot be reached.
    """
    name = settings.refs.checkpoint
    result = remote.push(git, {name: commit}, expected={}, atomic=False, timeout=max(5.0, timeout))
    if not result.accepted:
        error = GitError("push", result.status, result.stderr)
        raise CheckpointRefusedError(name, telling_line(error.stderr))


def report_done(record: CloneRecord, git: Git, settings: Settings) -> TerminationMessage:
    """The message of a round whose done ref was on the remote before the attempt started."""
    commits = int(git.line("rev-list", "--count", f"{record.base}..{record.done}"))
    message = TerminationMessage(
        Outcome.SUCCEEDED,
        "Succeeded",
        "an earlier attempt of this round had pushed the work",
        branch=record.done_branch,
        base=record.base,
        head=record.done,
        commits=commits,
        pushed=bool(record.done_branch),
    )
    if commits == 0:
        text = "an earlier attempt of this round ended without a change"
        return attrs.evolve(
            message, outcome=Outcome.NO_CHANGES, reason="NoChanges", message=text, pushed=False
        )
    if not record.done_branch:
        text = f"the done ref {settings.refs.done} is on the server, but no branch holds it any more"
        return attrs.evolve(message, outcome=Outcome.CONFIG_ERROR, reason="BranchMissing", message=text)
    return message


def _say_left_out(message: TerminationMessage, state: WorkState) -> TerminationMessage:
    if not state.left_out:
        return message
    names = ", ".join(ascii(name) for name in state.left_out[:3])
    return attrs.evolve(
        message, message=f"{message.message}; could not read {len(state.left_out)} files ({names})"
    )
