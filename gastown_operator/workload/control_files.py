"""What clone writes for the agent's container into a volume that the agent can only read."""

import os
from importlib.resources import files
from pathlib import Path

from gastown_operator.workload import layout
from gastown_operator.workload.settings import Settings


def write(settings: Settings, control: Path, hints: Path) -> None:
    """Write wrapper, prompt and the files of the agent's adapter; where the sidecars need one, the FIFO that tells of the agent's end.

    Raises:
        OSError: a volume cannot be written.
    """
    wrapper = control / layout.AGENT_WRAPPER.name
    wrapper.unlink(missing_ok=True)
    wrapper.write_bytes(files("gastown_operator.workload").joinpath("agent-wrapper.sh").read_bytes())
    wrapper.chmod(0o555)
    (control / layout.PROMPT.name).write_text(settings.prompt, encoding="utf-8")
    given = control / layout.AGENT_FILES.name
    given.mkdir(exist_ok=True)
    for name, text in settings.agent_files.items():
        (given / name).write_text(text, encoding="utf-8")
    alive = hints / layout.ALIVE.name
    if settings.ended_by_pipe and not alive.exists():
        os.mkfifo(alive, 0o600)


def add_to_prompt(control: Path, text: str) -> None:
    """Write text below the prompt.

    Raises:
        OSError: the volume cannot be written.
    """
    with (control / layout.PROMPT.name).open("a", encoding="utf-8") as prompt:
        prompt.write(text)
