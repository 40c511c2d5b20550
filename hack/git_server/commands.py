"""Programs that answer at once."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from hack.git_server.errors import GitServerError


def ask(
    *arguments: str,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> str:
    """Run a program and return its output; raise GitServerError with what it said if it fails."""
    answer = subprocess.run(
        arguments, input=stdin, check=False, capture_output=True, env=environment, cwd=directory
    )
    if answer.returncode != 0:
        said = answer.stderr.decode(errors="replace").strip()
        raise GitServerError(f"{' '.join(arguments[:3])} failed with status {answer.returncode}: {said}")
    return answer.stdout.decode(errors="replace")
