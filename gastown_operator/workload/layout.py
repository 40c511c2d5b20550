"""Where things are inside a polecat pod; the pod builder and the programs in its containers share this page."""

from pathlib import Path

WORKSPACE = Path("/workspace")
#: The clone, and the agent's working directory.
REPOSITORY = WORKSPACE / "repo"

#: Written by clone and keeper, read-only in the agent.
CONTROL = Path("/gastown/control")
PROMPT = CONTROL / "prompt.md"
AGENT_WRAPPER = CONTROL / "agent-wrapper"

#: Written by the agent's container, so it is a hint and never evidence.
HINTS = Path("/gastown/hints")
#: A FIFO that the wrapper holds open, where sidecars are ordinary containers.
ALIVE = HINTS / "alive"

#: Only clone and keeper mount these two.
KEEPER = Path("/gastown/keeper")
KEEPER_GIT_DIR = KEEPER / "repository.git"
KEEPER_INDEX = KEEPER / "index"
CLONE_RECORD = KEEPER / "clone.json"
#: Signatures of the files that clone checked out.
CLONE_FILES = KEEPER / "files.jsonl"
KEEPER_SCRATCH = KEEPER / "scratch"
GIT_CREDENTIALS = Path("/gastown/git-credentials")

KNOWN_HOSTS = Path("/gastown/known-hosts")
#: The agent's HOME; agent programs do nothing useful where it cannot be written.
HOME = Path("/gastown/home")
#: Memory-backed and private to one container: the only place where a credential is ever copied to.
PRIVATE = Path("/tmp")  # noqa: S108 - a volume of the container's own is mounted there
TERMINATION_LOG = Path("/dev/termination-log")
