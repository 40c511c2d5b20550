"""What the operator tells clone and keeper, through environment variables named GASTOWN_*."""

import json
from collections.abc import Mapping
from typing import Any

import attrs

from gastown_operator.workload.refs import RecoveryRefs
from gastown_operator.workload.rig_refs import RigRefs

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
        agent: which adapter made the agent's command, so that its output can be read; empty where that is not known.
        agent_files: text by file name, for the agent to read below `layout.AGENT_FILES`.
        gateway: whether the pod has a gateway, whose record then tells how the model's provider answered.
        idle_limit: seconds without any activity after which the agent is asked to stop; 0 for never.
        stall_threshold: seconds without any activity after which the keeper is not ready.
        bases: branch and commit of every dependency that the work goes on from; none for the base branch.
        agent_config: name of the ConfigMap with files for the agent's program, for messages; empty for none.
        mirror: whether a mirror of the repository is mounted.
        full_clone_limit: MiB of history above which the clone is shallow; 0 for never.
        rig: UID of the Rig whose housekeeping removes the refs one day; empty where the repository is not the Rig's.
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
    agent: str = ""
    agent_files: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    gateway: bool = False
    idle_limit: float = 0.0
    stall_threshold: float = 900.0
    bases: tuple[tuple[str, str], ...] = ()
    agent_config: str = ""
    mirror: bool = False
    full_clone_limit: int = 0
    rig: str = ""

    @property
    def namespace(self) -> str:
        """Where the pod is."""
        return self.polecat.partition("/")[0]

    @property
    def owner_ref(self) -> str:
        """Says on the server whose the recovery refs are; empty where nobody is to remove them."""
        return RigRefs(self.refs.prefix, self.rig).owner(self.refs.key) if self.rig else ""

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
            "ENDED_BY_PIPE": _of_bool(self.ended_by_pipe),
            "AGENT": self.agent,
            "AGENT_FILES": json.dumps(dict(self.agent_files)),
            "GATEWAY": _of_bool(self.gateway),
            "IDLE_LIMIT": f"{self.idle_limit:g}",
            "STALL_THRESHOLD": f"{self.stall_threshold:g}",
            "BASES": json.dumps(self.bases),
            "AGENT_CONFIG": self.agent_config,
            "MIRROR": _of_bool(self.mirror),
            "FULL_CLONE_LIMIT": str(self.full_clone_limit),
            "RIG": self.rig,
        }
        return {_PREFIX + name: value for name, value in values.items()}


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read the settings that `Settings.environment` wrote.

    What a pod of an older operator does not have yet gets its default.

    Raises:
        KeyError: a variable is missing that every version of the operator sets.
        ValueError: a variable is not what `Settings.environment` writes.
    """

    def value(name: str, default: str | None = None) -> str:
        return environment[_PREFIX + name] if default is None else environment.get(_PREFIX + name, default)

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
        agent=value("AGENT", ""),
        agent_files=_texts(json.loads(value("AGENT_FILES", "{}"))),
        gateway=value("GATEWAY", "false") == "true",
        idle_limit=float(value("IDLE_LIMIT", "0")),
        stall_threshold=float(value("STALL_THRESHOLD", "900")),
        bases=tuple((str(branch), str(commit)) for branch, commit in json.loads(value("BASES", "[]"))),
        agent_config=value("AGENT_CONFIG", ""),
        mirror=value("MIRROR", "false") == "true",
        full_clone_limit=int(value("FULL_CLONE_LIMIT", "0")),
        rig=value("RIG", ""),
    )


def _of_bool(value: bool) -> str:
    return "true" if value else "false"


def _texts(files: dict[str, Any]) -> dict[str, str]:
    return {name: str(text) for name, text in files.items()}
