"""What the operator tells clone and keeper, through environment variables named GASTOWN_*."""

from collections.abc import Mapping

import attrs

from gastown_operator.workload.refs import RecoveryRefs

_PREFIX = "GASTOWN_"


@attrs.frozen
class Settings:
    """One attempt of one polecat.

    Attributes:
        repository: URL to clone and push to.
        base_branch: the branch that work starts from.
        work_branch: the branch that work is pushed to.
        refs: where checkpoints and the done mark of this round go.
        attempt: counted from 1 over all rounds.
        polecat: `namespace/name`, for messages and commit trailers.
        bead: issue that is worked on; may be empty.
        title: first line of a commit that keeper has to make.
        prompt: given to the agent on its standard input.
        committer_name: identity of commits.
        committer_email: identity of commits.
        git_secret: name of the Secret mounted as git credentials, for messages.
        host_key_checking: OpenSSH's StrictHostKeyChecking.
        checkpoint_interval: seconds between checkpoints.
        deadline: seconds after which the agent is asked to stop; 0 for never.
        ended_by_pipe: whether the end of the agent is seen at a FIFO (sidecar as an ordinary container).
    """

    repository: str
    base_branch: str
    work_branch: str
    refs: RecoveryRefs
    attempt: int
    polecat: str
    bead: str = ""
    title: str = ""
    prompt: str = attrs.field(default="", repr=False)
    committer_name: str = "gastown-polecat"
    committer_email: str = "polecat@gastown.invalid"
    git_secret: str = "git-credentials"  # noqa: S105 - the name of a Secret
    host_key_checking: str = "yes"
    checkpoint_interval: float = 120.0
    deadline: float = 0.0
    ended_by_pipe: bool = False

    def environment(self) -> dict[str, str]:
        """The variables from which `from_environment` reads the same settings."""
        values = {
            "REPOSITORY": self.repository,
            "BASE_BRANCH": self.base_branch,
            "WORK_BRANCH": self.work_branch,
            "REF_PREFIX": self.refs.prefix,
            "RECOVERY_KEY": self.refs.key,
            "ROUND": str(self.refs.round),
            "ATTEMPT": str(self.attempt),
            "POLECAT": self.polecat,
            "BEAD": self.bead,
            "TITLE": self.title,
            "PROMPT": self.prompt,
            "COMMITTER_NAME": self.committer_name,
            "COMMITTER_EMAIL": self.committer_email,
            "GIT_SECRET": self.git_secret,
            "HOST_KEY_CHECKING": self.host_key_checking,
            "CHECKPOINT_INTERVAL": f"{self.checkpoint_interval:g}",
            "DEADLINE": f"{self.deadline:g}",
            "ENDED_BY_PIPE": "true" if self.ended_by_pipe else "false",
        }
        return {_PREFIX + name: value for name, value in values.items()}


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read the settings that `Settings.environment` wrote.

    Raises:
        KeyError: a variable is missing: the pod was not built by this version of the operator.
    """

    def value(name: str) -> str:
        return environment[_PREFIX + name]

    return Settings(
        repository=value("REPOSITORY"),
        base_branch=value("BASE_BRANCH"),
        work_branch=value("WORK_BRANCH"),
        refs=RecoveryRefs(value("REF_PREFIX"), value("RECOVERY_KEY"), int(value("ROUND"))),
        attempt=int(value("ATTEMPT")),
        polecat=value("POLECAT"),
        bead=value("BEAD"),
        title=value("TITLE"),
        prompt=value("PROMPT"),
        committer_name=value("COMMITTER_NAME"),
        committer_email=value("COMMITTER_EMAIL"),
        git_secret=value("GIT_SECRET"),
        host_key_checking=value("HOST_KEY_CHECKING"),
        checkpoint_interval=float(value("CHECKPOINT_INTERVAL")),
        deadline=float(value("DEADLINE")),
        ended_by_pipe=value("ENDED_BY_PIPE") == "true",
    )
