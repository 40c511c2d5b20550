"""Where things are inside a polecat pod; the pod builder and the programs in its containers share this page."""

from pathlib import Path

WORKSPACE = Path("/workspace")
#: The clone, and the agent's working directory.
REPOSITORY = WORKSPACE / "repo"

#: Written by clone and keeper, read-only in the agent.
CONTROL = Path("/gastown/control")
PROMPT = CONTROL / "prompt.md"
AGENT_WRAPPER = CONTROL / "agent-wrapper"

#: Holds the cause for which the agent is asked to stop; the first one stays.
STOP = CONTROL / "stop"
#: Files of the agent's adapter, by the names that `Launch.files` gives them.
AGENT_FILES = CONTROL / "agent"
#: The gateway's record, and an empty file that it touches while bytes pass.
GATEWAY_RECORD = CONTROL / "gateway.json"
GATEWAY_TRAFFIC = CONTROL / "gateway-traffic"

#: Written by the agent's container, so it is a hint and never evidence.
HINTS = Path("/gastown/hints")
#: What the agent printed, and the CPU time of its container.
TRANSCRIPT = HINTS / "transcript"
CPU = HINTS / "cpu"
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
#: There while the agent was active within the threshold; the keeper's readiness probe reads it.
ACTIVE = KEEPER / "active"
GIT_CREDENTIALS = Path("/gastown/git-credentials")
#: Only the gateway mounts this one.
MODEL_CREDENTIALS = Path("/gastown/model-credentials")
#: Files of the user's ConfigMap for the agent's program.
AGENT_CONFIG = Path("/gastown/agent-config")
#: A read-only mirror of the repository, and a volume for caches of the setup command.
MIRROR = Path("/gastown/mirror")
CACHE = Path("/gastown/cache")
#: A ConfigMap with `ca.crt`.
CERTIFICATE_AUTHORITIES = Path("/gastown/ca")

KNOWN_HOSTS = Path("/gastown/known-hosts")
#: The agent's HOME; agent programs do nothing useful where it cannot be written.
HOME = Path("/gastown/home")
#: Memory-backed and private to one container: the only place where a credential is ever copied to.
PRIVATE = Path("/tmp")  # noqa: S108 - a volume of the container's own is mounted there
TERMINATION_LOG = Path("/dev/termination-log")
