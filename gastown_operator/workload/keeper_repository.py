"""The keeper's own repository: no hook or configuration of the agent's reaches it, but it sees the agent's objects (ADR 7)."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from gastown_operator.workload.git import Git


def prepare(keeper: Path, agent: Path, object_format: str) -> Git:
    """Make it, in the place of an earlier one.

    Where a shallow history ends is copied to it now: the agent can write its own list later.

    Args:
        keeper: the bare repository to make.
        agent: the git directory of the agent's clone, which need not exist yet.
        object_format: the hash of the agent's repository.
    """
    if keeper.exists():
        shutil.rmtree(keeper)
    keeper.mkdir()
    git = Git(keeper)
    git.run("init", "--quiet", "--bare", "--template=", f"--object-format={object_format}", ".")
    alternates = keeper / "objects" / "info" / "alternates"
    alternates.parent.mkdir(parents=True, exist_ok=True)
    alternates.write_text(f"{agent}/objects\n")
    ends = agent / "shallow"
    if ends.exists():
        (keeper / "shallow").write_bytes(ends.read_bytes())
    return git


def give(git: Git, keeper: Git, commit: str, without: Sequence[str]) -> None:
    """Copy a commit that no server has, so that it outlives the agent's repository; `without` what these commits contain."""
    revisions = "".join(f"{it}\n" for it in (commit, *(f"^{other}" for other in without)))
    pack = git.run("pack-objects", "--quiet", "--revs", "--stdout", stdin=revisions.encode())
    # Not `unpack-objects`: it writes nothing that can be seen in the agent's repository.
    keeper.run("index-pack", "--stdin", stdin=pack)
